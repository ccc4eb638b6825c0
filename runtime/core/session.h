// A session: the state of its sequences (KV caches, history, logits), its threads and its sampler,
// all in one mapping (plan.h). runtime/include/ingot.h is the public face.
#pragma once

#include "runtime/core/device.h"
#include "runtime/core/plan.h"
#include "runtime/core/profile.h"
#include "runtime/core/thread_pool.h"
#include "runtime/core/weights.h"
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

/// What has been evaluated of one text.
struct Sequence {
  uint8_t *caches;
  int32_t *history;     ///< [position]
  float *last_logits;   ///< where decode and prefill steps leave them
  const float *current; ///< logits of the last token, null when there are none
  int32_t position;
  Random random;
};

constexpr int32_t max_batch_tokens = tile_padding; // of one step
static_assert(max_batch_tokens <= INGOT_PARAMETER_TOKENS_MAX);

/// The manifest in place; null when the program was made for another runtime or is damaged.
const manifest::Manifest *program_manifest(const ingot_program *program);

} // namespace ingot::runtime

struct ingot_session {
  const ingot_program *program;
  const uint8_t *weights;       ///< the program's, or in its file
  const ingot_variant *variant; ///< the steps that are run
  const char *isa;              ///< what the manifest calls them
  ingot_device_session *device; ///< what runs them; null: the pool
  const ingot::manifest::Manifest *manifest;
  ingot_tokenizer tokenizer;
  ingot::runtime::Layout layout; ///< of `memory`
  ingot_allocator allocator;     ///< of `memory`; all null: the system
  uint8_t *memory;
  uint8_t *arena;
  float *rows;        ///< logits of every token of ingot_eval_all and ingot_eval_batch
  int32_t batch_rows; ///< how many of them are of the last ingot_eval_batch
  int32_t *step_tokens;
  int32_t step_capacity;               ///< ints in step_tokens
  ingot::runtime::Sequence *sequences; ///< [sequence_count]
  ingot::runtime::Sequence *selected;
  int32_t sequence_count;
  void *text_scratch;
  uint64_t text_scratch_bytes, max_text_bytes;
  std::atomic<uint32_t> interrupt;
  ingot::runtime::Prefault prefault;
  ingot::runtime::Sampler sampler;
  ingot_profile *profile; ///< null, or the caller's
  uint8_t *near_memory;   ///< as steps get it
  uint64_t near_bytes;
  ingot::runtime::ThreadPool pool;
};
