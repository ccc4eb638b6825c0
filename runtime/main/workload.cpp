#include "runtime/main/workload.h"

namespace ingot::runtime {

int open_workload(Command &command, const char *mode, int32_t **tokens) {
  const Options &options = *command.options;
  if (int code = open_session(command, 0))
    return code;
  const int32_t context = ingot_context_length(command.session);
  if (options.prompt_tokens > context || options.gen_tokens > context ||
      options.depth > context - options.gen_tokens) {
    char text[96];
    Writer detail(text, sizeof text - 1);
    detail.text("that does not fit the context of ")
        .grouped(static_cast<uint64_t>(context))
        .text(" tokens");
    text[detail.used] = 0;
    return fail(
        command, mode, text,
        "lower --prompt-tokens, --gen-tokens or --depth, or compile with a larger --context");
  }
  *tokens = static_cast<int32_t *>(
      platform::map_memory(static_cast<uint64_t>(context) * sizeof(int32_t)));
  if (!*tokens)
    return fail(command, mode, INGOT_NO_MEMORY);
  fill_tokens(*tokens, context, ingot_vocab_size(command.session));
  return exit_ok;
}

void fill_tokens(int32_t *tokens, int32_t count, int32_t vocab_size) {
  Random random;
  random.seed(1, 1);
  for (int32_t i = 0; i < count; ++i)
    tokens[i] = static_cast<int32_t>(random.next() % static_cast<uint32_t>(vocab_size));
}

ingot_status decode_tokens(ingot_session *session, const int32_t *tokens, int32_t count) {
  for (int32_t i = 0; i < count; ++i)
    if (ingot_status status = ingot_eval(session, tokens + i, 1))
      return status;
  return INGOT_OK;
}

ingot_status fill_sequences(ingot_session *session, const int32_t *tokens, int32_t depth) {
  ingot_status status = INGOT_OK;
  for (int32_t i = 0; i < ingot_sequences(session) && !status; ++i) {
    status = ingot_select(session, i);
    ingot_reset(session);
    if (!status && i == 0)
      status = ingot_eval(session, tokens, depth);
    else if (!status)
      status = ingot_fork(session, 0, i);
  }
  ingot_select(session, 0);
  return status;
}

ingot_status batch_decode(ingot_session *session, const int32_t *tokens, int32_t count) {
  int32_t sequences[INGOT_MAX_SEQUENCES], next[INGOT_MAX_SEQUENCES];
  const int32_t batch = ingot_sequences(session);
  for (int32_t i = 0; i < count; ++i) {
    for (int32_t j = 0; j < batch; ++j) {
      sequences[j] = j;
      next[j] = tokens[(i + j) % count];
    }
    if (ingot_status status = ingot_eval_batch(session, sequences, next, batch))
      return status;
  }
  return INGOT_OK;
}

} // namespace ingot::runtime
