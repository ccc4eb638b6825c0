// The fake model that the runtime is tested with: cheap, deterministic, and dependent on every
// token before, so that a wrong split or a lost token shows in the logits.
//
//   chain[p] = mix(chain[p - 1] or 1, token at p), in the cache
//   logits[p][j] = noise(chain[p], j) in [0, 1), + 8 for j = successor(token at p)
//
// Launches, as its manifest lists them: "chain", a barrier, "logits"; of batch steps "both".
#pragma once

#include "runtime/core/program.h"

namespace fake {

constexpr int32_t im_start = 256, im_end = 257, endoftext = 258, vocab_size = 259;
constexpr int32_t logits_stride = 272, prefill_tokens = 8, score_tokens = 4;
constexpr int32_t batch_tokens[] = {2, 4};
// In the arena is a row for each token of a score step: the token, three times 0, and padding.
constexpr int32_t arena_columns = 4, arena_stride = 16;
constexpr uint64_t arena_bytes = score_tokens * arena_stride * 4;
// "future" (isa "flux") needs what no processor has; "common" and "base" (isa "plain") run.
constexpr int32_t variant_count = 3;
constexpr int32_t cache_block = 4; // positions
constexpr uint64_t cache_bytes(int32_t context) {
  return static_cast<uint64_t>(context + cache_block) / cache_block * cache_block * 8;
}

inline uint64_t mix(uint64_t state, uint64_t value) {
  state = (state ^ value) * 0x9e3779b97f4a7c15u;
  return state ^ state >> 29;
}

/// Of the program whose weights are in a file.
constexpr const char *weights_file = "fake.weights";
constexpr uint8_t weights_in_file[] = {3, 1, 4, 1, 5, 9, 2, 6};

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

constexpr int32_t embedding_length = 64, embedding_stride = 80;
/// Hidden states stand for the chain, too.
inline float hidden(uint64_t chain, int32_t j) { return logit(chain, -1, j) - 0.5f; }

inline uint64_t chain_of(const int32_t *tokens, int32_t count) {
  uint64_t chain = 1;
  for (int32_t i = 0; i < count; ++i)
    chain = mix(chain, static_cast<uint64_t>(tokens[i]));
  return chain;
}

/// Evaluates one token: extends the chain in `cache`.
inline void extend(uint8_t *cache, int32_t position, int32_t token) {
  auto *chain = reinterpret_cast<uint64_t *>(cache);
  chain[position] = mix(position ? chain[position - 1] : 1, static_cast<uint64_t>(token));
}

inline void mark(const ingot_step_context *context, int32_t thread) {
  if (context->profile)
    ingot_profile_mark(context->profile, thread);
}

/// One step on all threads: thread 0 extends the chain, all of them share the logits.
inline void step(const ingot_step_context *context, int32_t thread, int32_t threads,
                 bool every_row) {
  if (thread == 0)
    for (int32_t i = 0; i < context->token_count; ++i) {
      extend(context->caches[0], context->position + i, context->tokens[i]);
      if (i < score_tokens)
        reinterpret_cast<float *>(context->arena)[i * arena_stride] =
            static_cast<float>(context->tokens[i]);
    }
  mark(context, thread);
  ingot_barrier_wait(context->barrier, thread, threads, nullptr, 0);
  mark(context, thread);
  const auto *chain = reinterpret_cast<const uint64_t *>(context->caches[0]);
  const int32_t first = every_row ? 0 : context->token_count - 1;
  for (int32_t i = first; i < context->token_count; ++i)
    for (int32_t j = thread; j < vocab_size; j += threads)
      context->logits[static_cast<int64_t>(i - first) * logits_stride + j] =
          logit(chain[context->position + i], context->tokens[i], j);
  mark(context, thread);
}

/// The hidden states of each token.
inline void embed_step(const ingot_step_context *context, int32_t thread, int32_t threads) {
  if (thread == 0)
    for (int32_t i = 0; i < context->token_count; ++i)
      extend(context->caches[0], context->position + i, context->tokens[i]);
  ingot_barrier_wait(context->barrier, thread, threads, nullptr, 0);
  const auto *chain = reinterpret_cast<const uint64_t *>(context->caches[0]);
  for (int32_t i = 0; i < context->token_count; ++i)
    for (int32_t j = thread; j < embedding_length; j += threads)
      context->logits[i * embedding_stride + j] = hidden(chain[context->position + i], j);
}

/// The program of the fake model with these steps (variant_count of them) and manifest.
constexpr ingot_program program(const ingot_variant *variants, const uint8_t *manifest,
                                uint64_t manifest_bytes, int32_t context,
                                const uint8_t *weights = nullptr, uint64_t weight_bytes = 0) {
  return {INGOT_PROGRAM_ABI,
          variant_count,
          manifest,
          manifest_bytes,
          weights,
          weight_bytes,
          arena_bytes,
          cache_bytes(context),
          variants,
          prefill_tokens,
          score_tokens,
          vocab_size,
          logits_stride,
          context,
          2,
          {batch_tokens[0], batch_tokens[1]}};
}

/// One token for each of several sequences.
inline void batch_step(const ingot_step_context *context, int32_t thread, int32_t threads) {
  for (int32_t i = thread; i < context->token_count; i += threads) {
    extend(context->caches[i], context->positions[i], context->tokens[i]);
    const auto *chain = reinterpret_cast<const uint64_t *>(context->caches[i]);
    for (int32_t j = 0; j < vocab_size; ++j)
      context->logits[static_cast<int64_t>(i) * logits_stride + j] =
          logit(chain[context->positions[i]], context->tokens[i], j);
  }
  mark(context, thread);
}

} // namespace fake
