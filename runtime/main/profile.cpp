// --profile: runs the workload of --bench with time stamps and prints where the time went.
#include "runtime/main/profile.h"

#include "runtime/main/output_file.h"
#include "runtime/main/workload.h"
#include "runtime/platform/host.h"

#include <string.h>

namespace ingot::runtime {
namespace {

constexpr uint64_t trace_bytes = 64u << 20; // of time stamps; committed as they come

ingot_session *profiled = nullptr;

void interrupt_profile() { ingot_interrupt(profiled); }

double per(double value, uint64_t units) { return units ? value / static_cast<double>(units) : 0; }

/// A count of something a second; 0 where no time was taken.
double rate(uint64_t count, double seconds) {
  return seconds > 0 ? static_cast<double>(count) / seconds : 0;
}

/// What a row says, of one unit.
struct Figures {
  double calls, ms, wait_ms, share, bytes, macs, gb_s, gmac_s;
  uint64_t weight_bytes, cache_bytes, activation_bytes; ///< of all units
};

struct Sums {
  const PhaseReport &report;
  double threads;

  Sums(const ingot_profile &profile, const PhaseReport &of)
      : report(of), threads(static_cast<double>(profile.threads)) {}

  /// Milliseconds of a unit: the mean of the threads, of which `nanoseconds` is the sum.
  double ms(uint64_t nanoseconds) const {
    return per(static_cast<double>(nanoseconds) * 1e-6 / threads, report.units);
  }
  double total_ms() const {
    return per(static_cast<double>(report.elapsed_ns) * 1e-6, report.units);
  }
  double outside_ms() const {
    return per(static_cast<double>(report.elapsed_ns - report.phase->step_ns) * 1e-6, report.units);
  }
  double share(double of_ms) const { return total_ms() > 0 ? of_ms / total_ms() : 0; }

  Figures of(const ProfileRow &row, const manifest::Kernel *kernel) const {
    Figures figures{};
    figures.calls = per(static_cast<double>(row.launches), report.units);
    figures.ms = ms(row.kernel_ns);
    figures.wait_ms = ms(row.wait_ns);
    figures.share = share(figures.ms);
    if (!kernel)
      return figures;
    figures.weight_bytes = evaluate(kernel->weight_bytes(), row.factors);
    figures.cache_bytes = evaluate(kernel->cache_bytes(), row.factors);
    figures.activation_bytes = evaluate(kernel->activation_bytes(), row.factors);
    const uint64_t bytes = figures.weight_bytes + figures.cache_bytes + figures.activation_bytes;
    const uint64_t macs = evaluate(kernel->macs(), row.factors);
    const double seconds = static_cast<double>(row.kernel_ns) * 1e-9 / threads;
    figures.bytes = per(static_cast<double>(bytes), report.units);
    figures.macs = per(static_cast<double>(macs), report.units);
    figures.gb_s = rate(bytes, seconds) * 1e-9;
    figures.gmac_s = rate(macs, seconds) * 1e-9;
    return figures;
  }
};

/// The kernel that took the most time of those behind `previous` in that order; -1: none is left.
int32_t next_by_time(const ingot_profile &profile, const ProfilePhase &phase, int32_t previous) {
  const auto count = static_cast<int32_t>(profile.manifest->kernels()->size());
  int32_t best = -1;
  for (int32_t i = 0; i < count; ++i) {
    const uint64_t time = phase.kernels[i].kernel_ns;
    if (!phase.kernels[i].launches)
      continue;
    if (previous >= 0) {
      const uint64_t before = phase.kernels[previous].kernel_ns;
      if (time > before || (time == before && i <= previous))
        continue;
    }
    if (best < 0 || time > phase.kernels[best].kernel_ns)
      best = i;
  }
  return best;
}

/// The name of ProfilePhase::layers[row], 0-terminated.
void layer_name(int32_t row, int32_t layers, char (&name)[16]) {
  Writer text(name, sizeof name - 1);
  if (row == 0 || row == layers + 1)
    text.text(row ? "output" : "embedding");
  else
    text.number(row - 1);
  name[text.used] = 0;
}

void spaces(Writer &out, size_t count) {
  for (; count; --count)
    out.text(" ");
}

void left(Writer &out, const char *text, size_t width) {
  const size_t length = strlen(text);
  out.text(text);
  spaces(out, length < width ? width - length : 0);
}

void right(Writer &out, double value, int decimals, size_t width) {
  char text[32];
  Writer cell(text, sizeof text);
  cell.fixed(value, decimals);
  spaces(out, cell.used < width ? width - cell.used : 1);
  out.bytes(text, cell.used);
}

void time_row(Writer &out, const Sums &sums, const char *name, size_t width, size_t calls,
              double ms) {
  left(out, name, width + calls);
  right(out, ms, 3, 10);
  right(out, sums.share(ms) * 100, 1, 7);
  out.text("%\n");
}

/// The rows below both tables, with which they add up.
void rest_of_table(Writer &out, const Sums &sums, size_t width, size_t calls, uint64_t waited) {
  const ProfilePhase &phase = *sums.report.phase;
  time_row(out, sums, "waiting at barriers", width, calls, sums.ms(waited));
  time_row(out, sums, "start of steps", width, calls, sums.ms(phase.start_ns));
  time_row(out, sums, "end of steps", width, calls, sums.ms(phase.end_ns));
  time_row(out, sums, "outside steps", width, calls, sums.outside_ms());
  time_row(out, sums, "total", width, calls, sums.total_ms());
  out.text("\n");
}

void figures_json(Writer &out, const Figures &figures) {
  out.text(", \"calls\": ")
      .real(figures.calls)
      .text(", \"ms\": ")
      .real(figures.ms)
      .text(", \"share\": ")
      .real(figures.share)
      .text(", \"wait_ms\": ")
      .real(figures.wait_ms);
}

int write_trace(Command &command, const ingot_profile &profile, OutputFile &file) {
  char buffer[16384];
  Writer out(buffer, sizeof buffer, file.file);
  print_trace(out, profile);
  return file.close(command, out.flush(), false);
}

/// Runs `work` and adds its time, without what the profile itself took between steps.
template <typename Work>
ingot_status measure(ingot_profile &profile, int32_t index, PhaseReport &report, Work work) {
  const uint64_t own = profile.own_ns;
  profile.phase = profile.phases + index;
  const uint64_t begin = platform::clock_ns();
  const ingot_status status = work();
  report.elapsed_ns += platform::clock_ns() - begin - (profile.own_ns - own);
  profile.phase = nullptr;
  return status;
}

ingot_status run_workload(const Options &options, ingot_session *session, const int32_t *tokens,
                          PhaseReport (&reports)[profile_phases]) {
  ingot_profile &profile = *session->profile;
  ingot_status status = ingot_eval(session, tokens, options.prompt_tokens); // warms up
  for (int32_t i = 0; i < options.reps && !status; ++i) {
    profile.tracing = options.trace && i + 1 == options.reps;
    ingot_reset(session);
    status = measure(profile, 0, reports[0],
                     [&] { return ingot_eval(session, tokens, options.prompt_tokens); });
    ingot_reset(session);
    if (!status)
      status = ingot_eval(session, tokens, options.depth);
    if (!status)
      status = measure(profile, 1, reports[1],
                       [&] { return decode_tokens(session, tokens, options.gen_tokens); });
    if (!options.batch || status)
      continue;
    status = fill_sequences(session, tokens, options.depth);
    if (!status)
      status = measure(profile, 2, reports[2],
                       [&] { return batch_decode(session, tokens, options.gen_tokens); });
  }
  return status;
}

} // namespace

void print_profile(Writer &out, const ingot_profile &profile, const PhaseReport &report) {
  const Sums sums(profile, report);
  const ProfilePhase &phase = *report.phase;
  const auto &kernels = *profile.manifest->kernels();
  size_t width = sizeof "waiting at barriers";
  for (int32_t i = -1; (i = next_by_time(profile, phase, i)) >= 0;) {
    const size_t length = strlen(kernels.Get(static_cast<uint32_t>(i))->name()->c_str());
    width = length > width ? length : width;
  }
  out.text(report.name)
      .text(": ")
      .fixed(sums.total_ms(), 3)
      .text(" ms a ")
      .text(report.unit)
      .text(", the mean of ")
      .number(static_cast<int64_t>(report.units))
      .text("; times are the mean of ")
      .number(profile.threads)
      .text(profile.threads == 1 ? " thread\n" : " threads\n");
  left(out, "kernel", width);
  out.text("  calls        ms   share   us/call        MB    GB/s      GMAC  GMAC/s   wait ms\n");
  uint64_t waited = 0;
  for (int32_t i = -1; (i = next_by_time(profile, phase, i)) >= 0;) {
    const manifest::Kernel *kernel = kernels.Get(static_cast<uint32_t>(i));
    const Figures figures = sums.of(phase.kernels[i], kernel);
    waited += phase.kernels[i].wait_ns;
    left(out, kernel->name()->c_str(), width);
    right(out, figures.calls, 0, 7);
    right(out, figures.ms, 3, 10);
    right(out, figures.share * 100, 1, 7);
    out.text("%");
    right(out, figures.ms * 1000 / figures.calls, 1, 9);
    right(out, figures.bytes * 1e-6, 2, 10);
    right(out, figures.gb_s, 2, 8);
    right(out, figures.macs * 1e-9, 3, 10);
    right(out, figures.gmac_s, 1, 8);
    right(out, figures.wait_ms, 3, 10);
    out.text("\n");
  }
  rest_of_table(out, sums, width, 7, waited);

  const int32_t layers = profile.manifest->model()->layers();
  left(out, "layer", width);
  out.text("        ms   share   wait ms\n");
  for (int32_t i = 0; i < layers + 2; ++i) {
    if (!phase.layers[i].launches)
      continue;
    char name[16];
    layer_name(i, layers, name);
    const Figures figures = sums.of(phase.layers[i], nullptr);
    left(out, name, width);
    right(out, figures.ms, 3, 10);
    right(out, figures.share * 100, 1, 7);
    out.text("%");
    right(out, figures.wait_ms, 3, 9);
    out.text("\n");
  }
  rest_of_table(out, sums, width, 0, waited);
}

void print_profile_json(Writer &out, const ingot_profile &profile, const PhaseReport &report) {
  const Sums sums(profile, report);
  const ProfilePhase &phase = *report.phase;
  out.text("{\"per\": ")
      .json_string(report.unit)
      .text(", \"count\": ")
      .number(static_cast<int64_t>(report.units))
      .text(", \"steps\": ")
      .number(static_cast<int64_t>(phase.steps))
      .text(", \"tokens\": ")
      .number(report.tokens)
      .text(", \"ms\": ")
      .real(sums.total_ms())
      .text(", \"kernels\": [");
  uint64_t waited = 0;
  bool first = true;
  for (int32_t i = -1; (i = next_by_time(profile, phase, i)) >= 0;) {
    const manifest::Kernel *kernel = profile.manifest->kernels()->Get(static_cast<uint32_t>(i));
    const Figures figures = sums.of(phase.kernels[i], kernel);
    waited += phase.kernels[i].wait_ns;
    out.text(first ? "" : ", ").text("{\"name\": ").json_string(kernel->name()->c_str());
    first = false;
    figures_json(out, figures);
    const uint64_t parts[] = {figures.weight_bytes, figures.cache_bytes, figures.activation_bytes};
    const char *const names[] = {
        ", \"weight_bytes\": ", ", \"cache_bytes\": ", ", \"activation_bytes\": "};
    for (int part = 0; part < 3; ++part)
      out.text(names[part]).fixed(per(static_cast<double>(parts[part]), report.units), 1);
    out.text(", \"gb_s\": ")
        .real(figures.gb_s)
        .text(", \"macs\": ")
        .fixed(figures.macs, 1)
        .text(", \"gmac_s\": ")
        .real(figures.gmac_s)
        .text("}");
  }
  out.text("], \"layers\": [");
  const int32_t layers = profile.manifest->model()->layers();
  first = true;
  for (int32_t i = 0; i < layers + 2; ++i) {
    if (!phase.layers[i].launches)
      continue;
    char name[16];
    layer_name(i, layers, name);
    out.text(first ? "" : ", ").text("{\"name\": ").json_string(name);
    first = false;
    figures_json(out, sums.of(phase.layers[i], nullptr));
    out.text("}");
  }
  out.text("], \"barriers_ms\": ")
      .real(sums.ms(waited))
      .text(", \"start_ms\": ")
      .real(sums.ms(phase.start_ns))
      .text(", \"end_ms\": ")
      .real(sums.ms(phase.end_ns))
      .text(", \"outside_ms\": ")
      .real(sums.outside_ms())
      .text("}");
}

int run_profile(Command &command) {
  const Options &options = *command.options;
  int32_t *tokens = nullptr;
  if (int code = open_workload(command, "--profile", &tokens))
    return code;
  ingot_session *session = command.session;
  if (!session->manifest->steps() || !session->manifest->kernels())
    return fail(command, "--profile", "the program does not say what its steps launch");
  OutputFile file;
  if (options.trace)
    if (int code = file.open(command, "--trace", options.trace))
      return code;
  session->profile =
      create_profile(*session->manifest, ingot_threads(session), options.trace ? trace_bytes : 0);
  ingot_profile *profile = session->profile;
  profiled = session;
  platform::on_interrupt(interrupt_profile); // so that the temporary file goes away
  const auto reps = static_cast<uint64_t>(options.reps);
  const uint64_t decoded = reps * static_cast<uint64_t>(options.gen_tokens);
  PhaseReport reports[profile_phases] = {
      {"prefill", "prompt", options.prompt_tokens, reps, 0, nullptr},
      {"decode", "token", options.gen_tokens, decoded, 0, nullptr},
      {"batch", "round", options.gen_tokens * options.batch, decoded, 0, nullptr}};
  ingot_status status = INGOT_NO_MEMORY;
  if (profile) {
    for (int32_t i = 0; i < profile_phases; ++i)
      reports[i].phase = profile->phases + i;
    status = run_workload(options, session, tokens, reports);
    if (!status && profile->broken)
      status = INGOT_BAD_PROGRAM;
  }
  int code = exit_ok;
  if (options.trace)
    code = status ? file.close(command, 0, true) : write_trace(command, *profile, file);
  if (!code && status)
    code = status == INGOT_INTERRUPTED ? exit_interrupt : fail(command, "--profile", status);
  if (!code) {
    Writer &out = command.out;
    const int32_t count = options.batch ? 3 : 2;
    if (options.json)
      out.text("{\"threads\": ").number(profile->threads);
    for (int32_t i = 0; i < count; ++i) {
      if (!options.json) {
        print_profile(out, *profile, reports[i]);
        continue;
      }
      out.text(", ").json_string(reports[i].name).text(": ");
      print_profile_json(out, *profile, reports[i]);
    }
    if (options.json)
      out.text("}\n");
  }
  session->profile = nullptr;
  destroy_profile(profile);
  return code;
}

} // namespace ingot::runtime
