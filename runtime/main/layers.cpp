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
  uint32_t index; ///< of the step
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
  const bool once = !dump.step->launches()->Get(launch)->per_sequence();
  return once && kernel_of(dump, launch).one_token() ? 1 : dump.tokens;
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
           dump->index == prefill_step ? 1 : dump->tokens, first);
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

/// One token of each sequence: sequence j begins with ids[j], goes on to the end of the list, and
/// then through what it left out.
ingot_status evaluate_batch(Dump *dump, const int32_t *ids, int32_t count, int32_t i) {
  int32_t sequences[INGOT_MAX_SEQUENCES], tokens[INGOT_MAX_SEQUENCES];
  for (int32_t j = 0; j < dump->tokens; ++j) {
    sequences[j] = j;
    tokens[j] = ids[(i + j) % count];
  }
  ingot_session *session = dump->command->session;
  ingot_status status = ingot_eval_batch(session, sequences, tokens, dump->tokens);
  for (int32_t j = 0; j < dump->tokens && !status; ++j)
    if (write_logits(dump, i, 1, ingot_batch_logits(session, j), 0))
      break; // the error is the file's
  return status;
}

/// The steps that take the tokens: one score or prefill step, or one for each of them.
ingot_status evaluate(Dump *dump, const int32_t *ids, int32_t count) {
  ingot_session *session = dump->command->session;
  if (dump->index == score_step)
    return ingot_eval_all(session, ids, count, write_logits, dump);
  const bool one_by_one = dump->index != prefill_step;
  ingot_status status = INGOT_OK;
  for (int32_t i = 0; i < (one_by_one ? count : 1) && !status && !dump->out.error; ++i) {
    dump->next = 0;
    if (dump->index >= first_batch_step) {
      status = evaluate_batch(dump, ids, count, i);
      continue;
    }
    status = ingot_eval(session, ids + i, one_by_one ? 1 : count);
    if (!status)
      write_logits(dump, i, 1, ingot_logits(session), 0);
  }
  return status;
}

/// Steps with logits: behind them comes at most that of embeddings.
uint32_t step_count(const Command &command) {
  return static_cast<uint32_t>(first_batch_step + command.program->batch_steps);
}

/// The step that --step names, score without it; step_count where none has that name.
uint32_t find_step(const Command &command) {
  const auto *steps = command.session->manifest->steps();
  const char *name = command.options->step ? command.options->step : "score";
  uint32_t index = 0;
  while (index < step_count(command) &&
         (!steps->Get(index)->name() || strcmp(steps->Get(index)->name()->c_str(), name) != 0))
    ++index;
  return index;
}

/// Most tokens of one evaluation; 0: there are as many evaluations as tokens.
int32_t most_tokens(const Command &command, uint32_t step) {
  return step == score_step     ? command.program->score_tokens
         : step == prefill_step ? command.program->prefill_tokens
                                : 0;
}

} // namespace

int write_layers(Command &command, const int32_t *ids, int32_t count) {
  const Options &options = *command.options;
  const auto *steps = command.session->manifest->steps();
  if (!steps || steps->size() < step_count(command))
    return fail(command, "--layers", INGOT_BAD_PROGRAM);
  const uint32_t index = find_step(command);
  char text[128];
  Writer detail(text, sizeof text - 1);
  if (index >= step_count(command)) {
    detail.text("this program has no step of that name with logits, but");
    for (uint32_t i = 0; i < step_count(command); ++i)
      detail.text(i ? ", " : " ").text(steps->Get(i)->name()->c_str());
    text[detail.used] = 0;
    return fail(command, "--step", text);
  }
  if (!steps->Get(index)->launches() || !steps->Get(index)->launches()->size() ||
      !steps->Get(index)->buffers())
    return fail(command, "--layers", INGOT_BAD_PROGRAM);
  const int32_t most = most_tokens(command, index);
  if (most && count > most) {
    detail.text("a ").text(steps->Get(index)->name()->c_str()).text(" step takes at most ");
    detail.number(most).text(" tokens");
    text[detail.used] = 0;
    return fail(command, "--layers", text, "--step decode takes more, one by one");
  }
  if (index == prefill_step && count < 2)
    return fail(command, "--layers", "a prefill step takes 2 tokens or more",
                "--step decode takes one");
  int32_t tokens = most ? count : 1;
  if (index >= first_batch_step) {
    tokens = command.program->batch_tokens[index - first_batch_step];
    if (ingot_sequences(command.session) < tokens)
      return fail(command, "--step", "needs as many sequences as the step has",
                  "--batch N says how many");
  }

  OutputFile file;
  if (int code = file.open(command, "--layers", options.layers))
    return code;
  char buffer[16384];
  Dump dump{&command, steps->Get(index), index, tokens, Writer(buffer, sizeof buffer, file.file),
            0};
  write_header(&dump, most ? 1 : count);
  ingot_profile *profile = create_profile(*command.session->manifest, 1, 0);
  ingot_status status = profile ? INGOT_OK : INGOT_NO_MEMORY;
  if (profile) {
    profile->phase = profile->phases;
    profile->watch = write_results;
    profile->watch_user = &dump;
    command.session->profile = profile;
    status = evaluate(&dump, ids, count);
    command.session->profile = nullptr;
    destroy_profile(profile);
  }
  dump.out.flush();
  if (int code = file.close(command, dump.out.error, status != INGOT_OK))
    return code;
  return status ? fail(command, "--layers", status) : exit_ok;
}

} // namespace ingot::runtime
