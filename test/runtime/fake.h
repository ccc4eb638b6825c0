// The fake model that the runtime is tested with: cheap, deterministic, and dependent on every
// token before, so that a wrong split or a lost token shows in the logits.
//
//   chain[0] = 1, chain[p + 1] = mix(chain[p], token at p)
//   logits[p][j] = noise(chain[p + 1], j) in [0, 1), + 8 for j = successor(token at p)
#pragma once

#include "runtime/core/program.h"

namespace fake {

constexpr int32_t im_start = 256, im_end = 257, endoftext = 258, vocab_size = 259;
constexpr int32_t logits_stride = 272, prefill_tokens = 8, score_tokens = 4;

inline uint64_t mix(uint64_t state, uint64_t value) {
  state = (state ^ value) * 0x9e3779b97f4a7c15u;
  return state ^ state >> 29;
}

/// a -> b ... z -> the stop token; 'L' -> 'L' without end; 'E' -> the two bytes of U+00E9, then
/// 'x'; everything else -> 'a'.
inline int32_t successor(int32_t token) {
  if (token >= 'a' && token < 'z')
    return token + 1;
  switch (token) {
  case 'z':
    return im_end;
  case 'L':
    return 'L';
  case 'E':
    return 0xc3;
  case 0xc3:
    return 0xa9;
  case 0xa9:
    return 'x';
  }
  return 'a';
}

inline float logit(uint64_t chain, int32_t token, int32_t j) {
  const float noise = static_cast<float>(mix(chain, static_cast<uint64_t>(j)) >> 40) * 0x1p-24f;
  return noise + (j == successor(token) ? 8.0f : 0.0f);
}

inline uint64_t chain_of(const int32_t *tokens, int32_t count) {
  uint64_t chain = 1;
  for (int32_t i = 0; i < count; ++i)
    chain = mix(chain, static_cast<uint64_t>(tokens[i]));
  return chain;
}

/// One step on all threads: thread 0 extends the chain in the arena, all of them share the logits.
inline void step(const ingot_step_context *context, int32_t thread, int32_t threads,
                 bool every_row) {
  auto *chain = reinterpret_cast<uint64_t *>(context->arena);
  if (thread == 0) {
    chain[0] = 1;
    for (int32_t i = 0; i < context->token_count; ++i)
      chain[context->position + i + 1] =
          mix(chain[context->position + i], static_cast<uint64_t>(context->tokens[i]));
  }
  ingot_barrier_wait(context->barrier, thread, threads);
  const int32_t first = every_row ? 0 : context->token_count - 1;
  for (int32_t i = first; i < context->token_count; ++i)
    for (int32_t j = thread; j < vocab_size; j += threads)
      context->logits[static_cast<int64_t>(i - first) * logits_stride + j] =
          logit(chain[context->position + i + 1], context->tokens[i], j);
}

} // namespace fake
