// --trace: the kept steps of a profile in the Trace Event Format (JSON), which Perfetto and
// speedscope open. Times there are in microseconds; three decimals keep every nanosecond. Kernels
// and barriers follow each other without a gap, but end a nanosecond early: to a reader who adds
// durations to times in doubles, one would else end behind the next one's begin.
#include "runtime/main/profile.h"

namespace ingot::runtime {
namespace {

struct Trace {
  Writer &out;
  uint64_t origin; ///< of the time axis
  bool first = true;

  void separate() {
    out.text(first ? "\n" : ",\n");
    first = false;
  }
  void microseconds(uint64_t nanoseconds) {
    out.number(static_cast<int64_t>(nanoseconds / 1000)).text(".");
    const char digits[] = {static_cast<char>('0' + nanoseconds / 100 % 10),
                           static_cast<char>('0' + nanoseconds / 10 % 10),
                           static_cast<char>('0' + nanoseconds % 10)};
    out.bytes(digits, sizeof digits);
  }
  /// Leaves the event open for its arguments.
  Writer &slice(const char *name, const char *category, int32_t thread, uint64_t begin,
                uint64_t end) {
    separate();
    out.text("{\"ph\":\"X\",\"pid\":1,\"tid\":").number(thread).text(",\"ts\":");
    microseconds(begin - origin);
    out.text(",\"dur\":");
    microseconds(end - begin);
    return out.text(",\"cat\":\"").text(category).text("\",\"name\":").json_string(name);
  }
  void metadata(const char *what, int32_t thread, const char *name, int32_t number) {
    separate();
    out.text("{\"ph\":\"M\",\"pid\":1,\"tid\":")
        .number(thread)
        .text(",\"name\":\"")
        .text(what)
        .text("\",\"args\":{\"name\":");
    char text[128];
    Writer label(text, sizeof text - 1);
    label.text(name);
    if (number >= 0)
      label.text(" ").number(number);
    out.json_string(text, label.used).text("}}");
  }
};

uint64_t before(uint64_t begin, uint64_t next) { return next > begin ? next - 1 : begin; }

void write_thread(Trace &trace, const ingot_profile &profile, const TracedStep &run,
                  int32_t thread) {
  const manifest::Manifest &manifest = *profile.manifest;
  const manifest::Step &step = *manifest.steps()->Get(static_cast<uint32_t>(run.step));
  const uint64_t *stamp = stamps_of(run) + static_cast<int64_t>(thread) *
                                               (static_cast<int64_t>(step.launches()->size()) + 1);
  trace.slice(step.name()->c_str(), "step", thread, *stamp, run.end)
      .text(",\"args\":{\"tokens\":")
      .number(run.tokens)
      .text(",\"position\":")
      .number(run.position)
      .text("}}");
  for (const manifest::Launch *launch : *step.launches()) {
    const uint64_t begin = *stamp++;
    if (launch->kernel() < 0) {
      trace.slice("barrier", "barrier", thread, begin, before(begin, *stamp)).text("}");
      continue;
    }
    const manifest::Kernel &kernel =
        *manifest.kernels()->Get(static_cast<uint32_t>(launch->kernel()));
    const CostFactors &factors = run.cost.of(kernel, *launch);
    trace.slice(kernel.name()->c_str(), "kernel", thread, begin, before(begin, *stamp))
        .text(",\"args\":{\"layer\":");
    if (launch->layer() >= 0)
      trace.out.number(launch->layer());
    else
      trace.out.text(launch->layer() == -1 ? "\"embedding\"" : "\"output\"");
    const uint64_t bytes = evaluate(kernel.weight_bytes(), factors) +
                           evaluate(kernel.cache_bytes(), factors) +
                           evaluate(kernel.activation_bytes(), factors);
    trace.out.text(",\"bytes\":")
        .number(static_cast<int64_t>(bytes))
        .text(",\"macs\":")
        .number(static_cast<int64_t>(evaluate(kernel.macs(), factors)))
        .text("}}");
  }
  trace.slice("barrier", "barrier", thread, *stamp, before(*stamp, run.end)).text("}");
}

} // namespace

void print_trace(Writer &out, const ingot_profile &profile) {
  const TracedStep *run = next_traced(profile, nullptr);
  Trace trace{out, run ? run->begin : 0};
  const flatbuffers::String *name = profile.manifest->model()->name();
  out.text("{\"displayTimeUnit\":\"ns\",\"otherData\":{\"steps_left_out\":")
      .number(static_cast<int64_t>(profile.steps_left_out))
      .text("},\"traceEvents\":[");
  trace.metadata("process_name", 0, name ? name->c_str() : "model", -1);
  for (int32_t thread = 0; thread < profile.threads; ++thread)
    trace.metadata("thread_name", thread, "thread", thread);
  uint64_t end = trace.origin;
  for (; run; run = next_traced(profile, run)) {
    for (int32_t thread = 0; thread < profile.threads; ++thread)
      write_thread(trace, profile, *run, thread);
    end = run->end;
  }
  if (profile.steps_left_out) {
    trace.slice("the trace is full: later steps are left out", "trace", 0, end, end)
        .text(",\"args\":{\"steps\":")
        .number(static_cast<int64_t>(profile.steps_left_out))
        .text("}}");
  }
  out.text("\n]}\n");
}

} // namespace ingot::runtime
