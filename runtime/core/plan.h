// What memory a session takes: where each region of its one mapping lies, and how much of it a
// conversation of a given size touches. Sessions are laid out by it, and `PROGRAM --info` and
// `ingot inspect` print it, so that what is planned and what is taken are one thing.
#pragma once

#include "runtime/core/program.h"
#include "runtime/manifest_generated.h"

namespace ingot::runtime {

/// The next multiple of `unit`.
constexpr uint64_t rounded(uint64_t count, uint64_t unit) {
  return (count + unit - 1) / unit * unit;
}

/// Kernels may read tokens and write logits up to the end of their register tile.
constexpr int32_t tile_padding = 64;

/// What the compiler planned. A running program has it in its ingot_program, a file in its
/// manifest.
struct ProgramSizes {
  uint64_t arena_bytes, cache_bytes;
  int32_t prefill_tokens, score_tokens, vocab_size, logits_stride, context_length;
  const manifest::Manifest *manifest; ///< how caches are laid out; null: as one
  int32_t embedding_stride = 0;
};
ProgramSizes sizes_of(const ingot_program &program, const manifest::Manifest *manifest);
/// Of a program that is not running. False when the manifest does not say or cannot be right.
bool sizes_of(const manifest::Manifest &manifest, ProgramSizes *sizes);

/// The regions of a session's mapping, in order, each on its own page or cache line:
///   arena        [arena_bytes]                       the program's planned buffers
///   session      ingot_session, Sequence [sequences]
///   caches       [sequences][cache_bytes]            KV caches
///   last_logits  [sequences][logits_stride]          of each sequence's last token
///   rows         [score_tokens or sequences, + padding][logits_stride]  of every token of a call,
///                or of an embedding step [prefill_tokens + padding][embedding_stride]
///   step_tokens  [longest step + padding]            ids of one step, then zeros
///   history      [sequences][context_length]         ids of everything evaluated
///   sampler, text                                    scratch
///   prompt       [context_length], [max_text_bytes]  ids and text of one (chat.h)
enum class Region : uint8_t {
  arena,
  session,
  caches,
  last_logits,
  rows,
  step_tokens,
  history,
  sampler,
  text,
  prompt,
  end
};
constexpr int32_t region_count = static_cast<int32_t>(Region::end);

struct Layout {
  uint64_t begins[region_count], sizes[region_count], bytes;

  uint64_t begin(Region region) const { return begins[static_cast<int32_t>(region)]; }
  uint64_t size(Region region) const { return sizes[static_cast<int32_t>(region)]; }
};
/// Calls visit(part, where it begins in a sequence's caches, bytes) for each part of each cache: so
/// many bytes at the beginning of each of its heads are what `position` tokens fill, since a head's
/// positions lie one behind the other in whole blocks.
template <typename Visit>
void for_cache_parts(const manifest::Manifest &manifest, int32_t position, Visit visit) {
  if (manifest.caches())
    for (const manifest::Cache *cache : *manifest.caches())
      for (const manifest::CachePart *part : *cache->parts())
        visit(*part, cache->offset() + part->offset(),
              rounded(static_cast<uint64_t>(position), part->block_positions()) *
                  part->position_bytes());
}
/// The same head by head: visit(offset in a sequence's caches, bytes).
template <typename Visit>
void for_filled(const manifest::Manifest &manifest, int32_t position, Visit visit) {
  for_cache_parts(manifest, position,
                  [&](const manifest::CachePart &part, uint64_t begin, uint64_t filled) {
                    for (uint32_t head = 0; head < part.heads(); ++head)
                      visit(begin + head * part.head_bytes(), filled);
                  });
}

/// Bytes from the caches of one sequence to those of the next: whole pages.
uint64_t sequence_bytes(const ProgramSizes &program);
int32_t longest_step(const ProgramSizes &program);
Layout layout_of(const ProgramSizes &program, int32_t sequences, uint64_t max_text_bytes);

/// What a session is used for: the plan counts what that touches.
struct Use {
  int32_t sequences;
  int32_t tokens;       ///< positions filled in the first sequence,
  int32_t other_tokens; ///< in each of the others
  int32_t rows;         ///< sequences of a batch step, or tokens of ingot_eval_all
  int32_t threads;
  bool samples, reads_text;
};
/// Whole pages of one region that `use` touches, at most.
uint64_t planned_bytes(const ProgramSizes &program, const Layout &layout, Region region,
                       const Use &use);

struct PlanRow {
  const char *name; ///< "KV caches"
  uint64_t reserved, planned;
};
/// All regions, then the threads' stacks.
struct Plan {
  PlanRow rows[region_count + 1];
  uint64_t reserved, planned; ///< sums
};
Plan plan_of(const ProgramSizes &program, const Layout &layout, const Use &use);
/// Of one conversation of `tokens` tokens in a session with default options.
Plan conversation_plan(const ProgramSizes &program, int32_t tokens, int32_t threads);

/// Rows of logits that a step may leave.
int32_t logits_rows(const ProgramSizes &program, int32_t sequences);

/// What a session whose kernels run on a device takes of its memory, all of it when it is created:
/// the program's packed weights, its arena, the caches of all sequences, scratch that workgroups of
/// a kernel share; and where both see it,
/// what steps leave and what they depend on (device.h).
enum class DeviceRegion : uint8_t { weights, arena, caches, scratch, logits, inputs, end };
constexpr int32_t device_region_count = static_cast<int32_t>(DeviceRegion::end);

struct DevicePlan {
  PlanRow rows[device_region_count]; ///< all that is reserved is taken
  uint64_t bytes;                    ///< of all rows

  uint64_t size(DeviceRegion region) const { return rows[static_cast<int32_t>(region)].reserved; }
};
DevicePlan device_plan(const ProgramSizes &program, uint64_t weights_bytes, int32_t sequences);
/// Where parts of DeviceRegion::inputs begin, and where the last one ends.
uint64_t device_tokens_offset();
uint64_t device_groups_offset(const ProgramSizes &program);
/// True where a device runs the kernels of a variant.
bool needs_device_memory(const manifest::Manifest &manifest);

/// The name of the kernel that writes a buffer of the arena, null when the manifest does not say.
const flatbuffers::String *writer_of(const manifest::Manifest &manifest, const manifest::Step &step,
                                     const manifest::Buffer &buffer);

} // namespace ingot::runtime
