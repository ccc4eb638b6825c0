// A session: one model's state (KV cache, history, logits), its threads and its sampler, all in one
// mapping. runtime/include/ingot.h is the public face.
//
// The mapping, in order, each part on its own page or cache line:
//   ingot_session
//   arena         [arena_bytes]                       the program's planned buffers, KV cache
//   logits        [score_tokens + padding][logits_stride]  of the last step; decode uses row 0
//   step_tokens   [longest step + padding]            ids of one step, then zeros
//   history       [context_length]                    ids of everything evaluated
//   sampler's scratch, tokenizer's scratch
#pragma once

#include "runtime/core/thread_pool.h"
#include "runtime/include/ingot.h"
#include "runtime/manifest_generated.h"
#include "runtime/sampling/sampler.h"
#include "runtime/text/tokenizer.h"

namespace ingot::runtime {

/// Maps the weights piece by piece, by as many threads as call `work`.
struct Prefault {
  const uint8_t *weights = nullptr;
  uint64_t bytes = 0;
  std::atomic<uint64_t> next{0};

  /// Takes pieces until there are none left.
  void work();
};

/// The manifest in place; null when the program was made for another runtime or is damaged.
const manifest::Manifest *program_manifest(const ingot_program *program);

} // namespace ingot::runtime

struct ingot_session {
  const ingot_program *program;
  const ingot::manifest::Manifest *manifest;
  ingot_tokenizer tokenizer;
  uint64_t mapped_bytes;
  uint8_t *arena;
  float *logits;
  int32_t *step_tokens;
  int32_t step_capacity; ///< ints in step_tokens
  int32_t *history;
  void *text_scratch;
  uint64_t text_scratch_bytes, max_text_bytes;
  const float *current; ///< logits of the last token, null when there are none
  int32_t position;
  std::atomic<uint32_t> interrupt;
  ingot::runtime::Prefault prefault;
  ingot::runtime::Sampler sampler;
  ingot::runtime::ThreadPool pool;
};
