// --tokens IDS --layers FILE: what each launch of a step computes, for `ingot compare`.
//
//   {"step": "score", "evaluations": 1, "tokens": 5, "values": [
//     {"launch": 3, "layer": 0, "kernel": "linear_960x576_u4g32_t192", "rows": 5, "columns": 960},
//     ...]}
//   [evaluations][values][rows][columns] float32
//
// Values are results of launches in the order of the step, those that are rows of floats; the
// logits come last. Steps call ingot_profile_mark behind each launch: on one thread its results are
// then complete. So nothing of this costs anything when it is off.
#include "runtime/main/output_file.h"

#include "runtime/platform/host.h"

#include <string.h>

namespace ingot::runtime {
namespace {

struct Dump {
  Command *command;
  const manifest::Step *step;
  int32_t tokens; ///< of one evaluation
  Writer out;     ///< the file
  uint32_t next;  ///< buffer of the step that has not been written
};

const manifest::Kernel &kernel_of(const Dump &dump, uint32_t launch) {
  const int16_t index = dump.step->launches()->Get(launch)->kernel();
  return *dump.command->session->manifest->kernels()->Get(static_cast<uint32_t>(index));
}

/// Floats a token of a buffer of the step; 0 where it holds something else.
uint32_t columns_of(const Dump &dump, uint32_t buffer) {
  const auto &buffers = *dump.step->buffers();
  const uint32_t launch = buffers.Get(buffer)->first_use();
  uint32_t result = 0; // of the launch
  while (result < buffer && buffers.Get(buffer - result - 1)->first_use() == launch)
    ++result;
  const auto *columns = kernel_of(dump, launch).columns();
  return columns && result < columns->size() ? columns->Get(result) : 0;
}

int32_t rows_of(const Dump &dump, uint32_t launch) {
  return kernel_of(dump, launch).one_token() ? 1 : dump.tokens;
}

/// The launch that gives the logits.
uint32_t last_launch(const Dump &dump) {
  uint32_t launch = dump.step->launches()->size() - 1;
  while (launch && dump.step->launches()->Get(launch)->kernel() < 0)
    --launch;
  return launch;
}

void describe(Dump *dump, uint32_t launch, uint32_t columns, int32_t rows, bool first) {
  dump->out.text(first ? "\n" : ",\n").text("{\"launch\": ").number(launch);
  dump->out.text(", \"layer\": ").number(dump->step->launches()->Get(launch)->layer());
  dump->out.text(", \"kernel\": ").json_string(kernel_of(*dump, launch).name()->c_str());
  dump->out.text(", \"rows\": ").number(rows).text(", \"columns\": ").number(columns).text("}");
}

void write_header(Dump *dump, int32_t evaluations) {
  const auto &buffers = *dump->step->buffers();
  dump->out.text("{\"step\": ").json_string(dump->step->name()->c_str());
  dump->out.text(", \"evaluations\": ").number(evaluations);
  dump->out.text(", \"tokens\": ").number(dump->tokens).text(", \"values\": [");
  bool first = true;
  for (uint32_t i = 0; i < buffers.size(); ++i) {
    const uint32_t launch = buffers.Get(i)->first_use();
    if (const uint32_t columns = columns_of(*dump, i)) {
      describe(dump, launch, columns, rows_of(*dump, launch), first);
      first = false;
    }
  }
  describe(dump, last_launch(*dump), static_cast<uint32_t>(dump->command->program->vocab_size),
           dump->tokens, first);
  dump->out.text("]}\n");
}

/// Behind each launch and barrier.
void write_results(void *user, int32_t launch) {
  auto *dump = static_cast<Dump *>(user);
  const auto &buffers = *dump->step->buffers();
  for (; dump->next < buffers.size() &&
         buffers.Get(dump->next)->first_use() <= static_cast<uint32_t>(launch);
       ++dump->next) {
    const manifest::Buffer &buffer = *buffers.Get(dump->next);
    const uint32_t columns = columns_of(*dump, dump->next);
    const uint64_t stride = rounded(columns, 16) * sizeof(float); // as KernelValue has rows
    const uint8_t *row = dump->command->session->arena + buffer.offset();
    for (int32_t i = 0; columns && i < rows_of(*dump, buffer.first_use()); ++i, row += stride)
      dump->out.bytes(row, columns * sizeof(float));
  }
}

int32_t write_logits(void *user, int32_t, int32_t rows, const float *logits, int32_t stride) {
  auto *dump = static_cast<Dump *>(user);
  for (int32_t i = 0; i < rows; ++i)
    dump->out.bytes(logits + static_cast<int64_t>(i) * stride,
                    static_cast<size_t>(dump->command->program->vocab_size) * sizeof(float));
  return dump->out.error;
}

/// The steps that take the tokens: one score step, or a decode step for each.
ingot_status evaluate(Dump *dump, const int32_t *ids, int32_t count, bool decode) {
  ingot_session *session = dump->command->session;
  if (!decode)
    return ingot_eval_all(session, ids, count, write_logits, dump);
  for (int32_t i = 0; i < count; ++i) {
    dump->next = 0;
    if (ingot_status status = ingot_eval(session, ids + i, 1))
      return status;
    if (write_logits(dump, i, 1, ingot_logits(session), 0))
      break; // the error is the file's
  }
  return INGOT_OK;
}

} // namespace

int write_layers(Command &command, const int32_t *ids, int32_t count) {
  const Options &options = *command.options;
  const bool decode = options.step && !strcmp(options.step, "decode");
  if (options.step && !decode && strcmp(options.step, "score") != 0)
    return fail(command, "--step", "neither score nor decode");
  if (!decode && count > command.program->score_tokens) {
    char text[64];
    Writer detail(text, sizeof text - 1);
    detail.text("a score step takes at most ").number(command.program->score_tokens);
    detail.text(" tokens");
    text[detail.used] = 0;
    return fail(command, "--layers", text, "--step decode takes more, one by one");
  }
  const auto *steps = command.session->manifest->steps();
  const auto index = static_cast<uint32_t>(decode ? decode_step : score_step);
  if (!steps || index >= steps->size() || !steps->Get(index)->launches() ||
      !steps->Get(index)->launches()->size() || !steps->Get(index)->buffers())
    return fail(command, "--layers", INGOT_BAD_PROGRAM);

  OutputFile file;
  if (int code = file.open(command, "--layers", options.layers))
    return code;
  char buffer[16384];
  Dump dump{&command, steps->Get(index), decode ? 1 : count,
            Writer(buffer, sizeof buffer, file.file), 0};
  write_header(&dump, decode ? count : 1);
  ingot_profile *profile = create_profile(*command.session->manifest, 1, 0);
  ingot_status status = profile ? INGOT_OK : INGOT_NO_MEMORY;
  if (profile) {
    profile->phase = profile->phases;
    profile->watch = write_results;
    profile->watch_user = &dump;
    command.session->profile = profile;
    status = evaluate(&dump, ids, count, decode);
    command.session->profile = nullptr;
    destroy_profile(profile);
  }
  dump.out.flush();
  if (int code = file.close(command, dump.out.error, status != INGOT_OK))
    return code;
  return status ? fail(command, "--layers", status) : exit_ok;
}

} // namespace ingot::runtime
