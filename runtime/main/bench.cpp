// --bench: prefill, decode and batched decode speed of this program on this machine.
#include "runtime/main/workload.h"

#include "runtime/platform/host.h"

#include <string.h>

namespace ingot::runtime {
namespace {

constexpr int32_t first_token_prompt = 32;
constexpr int32_t max_reps = 1000;

void sort(double *values, int32_t count) {
  for (int32_t i = 1; i < count; ++i)
    for (int32_t j = i; j > 0 && values[j] < values[j - 1]; --j) {
      const double swapped = values[j];
      values[j] = values[j - 1];
      values[j - 1] = swapped;
    }
}

double median(double *values, int32_t count) {
  sort(values, count);
  return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

double seconds_since(uint64_t begin) {
  return static_cast<double>(platform::clock_ns() - begin) * 1e-9;
}

/// Median time from process start to the first token of a 32-token prompt: this program is started
/// again with --bench-first-token, and the first byte that it prints stops the clock.
int first_token_ms(Command &command, double *milliseconds) {
  char threads[16];
  Writer number(threads, sizeof threads - 1);
  number.number(ingot_threads(command.session));
  threads[number.used] = 0;
  char option[] = "--bench-first-token", threads_option[] = "--threads";
  char isa_option[] = "--isa", isa[128];
  Writer name(isa, sizeof isa - 1);
  name.text(ingot_isa(command.session));
  isa[name.used] = 0;
  char *arguments[] = {command.arguments[0], option, threads_option, threads,
                       isa_option,           isa,    nullptr};
  double times[max_reps];
  for (int32_t i = 0; i < command.options->reps; ++i) {
    uint64_t nanoseconds;
    if (int code = platform::time_to_first_byte(arguments, &nanoseconds))
      return code;
    times[i] = static_cast<double>(nanoseconds) * 1e-6;
  }
  *milliseconds = median(times, command.options->reps);
  return 0;
}

/// In MiB. Beside what is in memory stands what belongs there: the difference is the program's
/// code, its tokenizer and what the plan leaves out.
struct Memory {
  double peak_resident;  ///< the most until now, mapped pages of the program's file included
  double peak_anonymous; ///< pages that no file backs. A session gives none back: now is the most
  double planned;        ///< of them, what the plan says that this workload touches, at most
  double weights;        ///< packed; all are read, and stay pages of the file
};

Memory memory_of(const Command &command) {
  const Options &options = *command.options;
  const ingot_session &session = *command.session;
  const int32_t decoded = options.depth + options.gen_tokens;
  const int32_t longest = options.prompt_tokens > decoded ? options.prompt_tokens : decoded;
  const Plan plan = plan_of(sizes_of(*command.program, session.manifest), session.layout,
                            {session.sequence_count, longest, decoded, /*rows=*/options.batch,
                             ingot_threads(&session), /*samples=*/false, /*reads_text=*/false});
  const platform::MemoryUse use = platform::memory_use();
  const auto mebibytes = [](uint64_t bytes) { return static_cast<double>(bytes) / (1 << 20); };
  return {mebibytes(use.peak_resident), mebibytes(use.anonymous), mebibytes(plan.planned),
          mebibytes(command.program->weights_bytes)};
}

} // namespace

int run_first_token(Command &command) {
  if (int code = open_session(command, 0))
    return code;
  ingot_session *session = command.session;
  int32_t tokens[first_token_prompt], token;
  const int32_t count = ingot_context_length(session) < first_token_prompt
                            ? ingot_context_length(session)
                            : first_token_prompt;
  fill_tokens(tokens, count, ingot_vocab_size(session));
  ingot_sampling greedy = ingot_default_sampling();
  greedy.temperature = 0;
  ingot_set_sampling(session, &greedy);
  ingot_status status = ingot_eval(session, tokens, count);
  if (!status)
    status = ingot_sample(session, &token);
  if (status)
    return fail(command, "--bench", status);
  command.out.text(".").flush();
  return exit_ok;
}

int run_bench(Command &command) {
  const Options &options = *command.options;
  int32_t *tokens = nullptr;
  if (int code = open_workload(command, "--bench", &tokens))
    return code;
  ingot_session *session = command.session;

  double prefill_times[max_reps], decode_times[max_reps], batch_times[max_reps];
  ingot_status status = ingot_eval(session, tokens, options.prompt_tokens); // warms up
  for (int32_t i = 0; i < options.reps && !status; ++i) {
    ingot_reset(session);
    uint64_t begin = platform::clock_ns();
    status = ingot_eval(session, tokens, options.prompt_tokens);
    prefill_times[i] = seconds_since(begin);
    ingot_reset(session);
    if (!status)
      status = ingot_eval(session, tokens, options.depth);
    begin = platform::clock_ns();
    if (!status)
      status = decode_tokens(session, tokens, options.gen_tokens);
    decode_times[i] = seconds_since(begin);
    if (!options.batch || status)
      continue;
    status = fill_sequences(session, tokens, options.depth);
    begin = platform::clock_ns();
    if (!status)
      status = batch_decode(session, tokens, options.gen_tokens);
    batch_times[i] = seconds_since(begin);
  }
  if (status)
    return fail(command, "--bench", status);
  const Memory memory = memory_of(command);
  double first_token = 0;
  if (int code = first_token_ms(command, &first_token))
    return fail(command, "--bench: starting the program again", platform::error_text(code));
  const double prefill = options.prompt_tokens / median(prefill_times, options.reps);
  const double decoded = options.gen_tokens / median(decode_times, options.reps);
  const double batched = options.batch ? static_cast<double>(options.batch) * options.gen_tokens /
                                             median(batch_times, options.reps)
                                       : 0;
  char cpu[64];
  platform::processor_name(cpu, sizeof cpu);

  Writer &out = command.out;
  if (options.json) {
    out.text("{\"prefill_tok_s\": ")
        .fixed(prefill, 2)
        .text(", \"decode_tok_s\": ")
        .fixed(decoded, 2);
    if (options.batch)
      out.text(", \"batch_decode_tok_s\": ")
          .fixed(batched, 2)
          .text(", \"batch\": ")
          .number(options.batch);
    out.text(", \"ttft_ms\": ")
        .fixed(first_token, 2)
        .text(", \"peak_rss_mib\": ")
        .fixed(memory.peak_resident, 2)
        .text(", \"peak_anonymous_mib\": ")
        .fixed(memory.peak_anonymous, 2)
        .text(", \"planned_mib\": ")
        .fixed(memory.planned, 2)
        .text(", \"weights_mib\": ")
        .fixed(memory.weights, 2)
        .text(", \"threads\": ")
        .number(ingot_threads(session))
        .text(", \"cpu\": ")
        .json_string(cpu)
        .text(", \"isa\": ")
        .json_string(ingot_isa(session))
        .text(", \"prompt_tokens\": ")
        .number(options.prompt_tokens)
        .text(", \"gen_tokens\": ")
        .number(options.gen_tokens)
        .text(", \"depth\": ")
        .number(options.depth)
        .text(", \"reps\": ")
        .number(options.reps)
        .text("}\n");
    return exit_ok;
  }
  out.text("prefill      ")
      .fixed(prefill, 1)
      .text(" tokens/s (")
      .number(options.prompt_tokens)
      .text(" tokens)\ndecode       ")
      .fixed(decoded, 1)
      .text(" tokens/s (")
      .number(options.gen_tokens)
      .text(" tokens after ")
      .number(options.depth)
      .text(")\n");
  if (options.batch)
    out.text("batch        ")
        .fixed(batched, 1)
        .text(" tokens/s (")
        .number(options.batch)
        .text(" sequences side by side)\n");
  out.text("first token  ")
      .fixed(first_token, 1)
      .text(" ms from process start (")
      .number(first_token_prompt)
      .text("-token prompt)\npeak memory  ")
      .fixed(memory.peak_resident, 1)
      .text(" MiB with pages of the file (weights: ")
      .fixed(memory.weights, 1)
      .text("), ")
      .fixed(memory.peak_anonymous, 1)
      .text(" MiB without (planned: ")
      .fixed(memory.planned, 1)
      .text(")\nthreads      ")
      .number(ingot_threads(session))
      .text("\nprocessor    ")
      .text(cpu)
      .text("\nkernels      ")
      .text(ingot_isa(session))
      .text("\n");
  return exit_ok;
}

} // namespace ingot::runtime
