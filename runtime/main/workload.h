// What --bench and --profile run.
#pragma once

#include "runtime/main/command.h"

namespace ingot::runtime {

/// Opens the session and makes `context` token ids, in memory mapped for the purpose: the same ones
/// in every run, since speed does not depend on them but caches might. Says what does not fit the
/// context. Returns an exit code.
int open_workload(Command &command, const char *mode, int32_t **tokens);
void fill_tokens(int32_t *tokens, int32_t count, int32_t vocab_size);

/// Decodes tokens one by one.
ingot_status decode_tokens(ingot_session *session, const int32_t *tokens, int32_t count);
/// Puts the first `depth` tokens into every sequence.
ingot_status fill_sequences(ingot_session *session, const int32_t *tokens, int32_t depth);
/// Decodes `count` tokens of every sequence, different ones in each.
ingot_status batch_decode(ingot_session *session, const int32_t *tokens, int32_t count);

} // namespace ingot::runtime
