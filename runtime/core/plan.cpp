// The plan of a session's memory (plan.h).
#include "runtime/core/plan.h"

#include "runtime/core/session.h"

namespace ingot::runtime {
namespace {

constexpr uint64_t page = 4096;
// Kernels keep a tile's sums and a few rows there; the largest frame measured is below 100 KiB.
constexpr uint64_t touched_stack_bytes = 128u << 10;
// Words are encoded one by one at the beginning of each of the two tables there.
constexpr uint64_t touched_text_bytes = 4 * page;
const char *const region_names[region_count] = {
    "arena",       "session", "KV caches",       "last logits",       "rows of logits",
    "step tokens", "history", "sampler scratch", "tokenizer scratch", "prompt"};
const char *const device_region_names[device_region_count] = {
    "weights", "arena", "KV caches", "scratch", "rows of logits", "inputs of steps"};
constexpr uint64_t device_place = 256; // no device wants a larger alignment
constexpr int32_t limit = 1 << 28;     // keeps every size below 2^64

uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }
uint64_t row_bytes(const ProgramSizes &program) {
  return static_cast<uint64_t>(program.logits_stride) * sizeof(float);
}

uint64_t step_tokens_bytes(const ProgramSizes &program) {
  return static_cast<uint64_t>(longest_step(program) + tile_padding) * sizeof(int32_t);
}
uint64_t hidden_bytes(const ProgramSizes &program) {
  return static_cast<uint64_t>(program.prefill_tokens + tile_padding) *
         static_cast<uint64_t>(program.embedding_stride) * sizeof(float);
}

/// Of whole pages: heads share them with their neighbours at both ends.
uint64_t filled_cache_bytes(const ProgramSizes &program, int32_t tokens) {
  if (!program.manifest || !program.manifest->caches())
    return program.cache_bytes;
  if (!tokens)
    return 0;
  uint64_t bytes = 0;
  for_cache_parts(*program.manifest, tokens,
                  [&](const manifest::CachePart &part, uint64_t begin, uint64_t filled) {
                    uint64_t end = 0; // of the pages that are counted
                    for (uint32_t head = 0; head < part.heads(); ++head) {
                      const uint64_t from = begin + head * part.head_bytes();
                      const uint64_t first = from / page * page < end ? end : from / page * page;
                      const uint64_t last = rounded(from + filled, page);
                      bytes += last > first ? last - first : 0;
                      end = last > end ? last : end;
                    }
                  });
  return least(bytes, sequence_bytes(program));
}

} // namespace

ProgramSizes sizes_of(const ingot_program &program, const manifest::Manifest *manifest) {
  const manifest::Memory *memory = manifest ? manifest->memory() : nullptr;
  return {program.arena_bytes,
          program.cache_bytes,
          program.prefill_tokens,
          program.score_tokens,
          program.vocab_size,
          program.logits_stride,
          program.context_length,
          manifest,
          memory ? memory->embedding_stride() : 0};
}

bool sizes_of(const manifest::Manifest &manifest, ProgramSizes *sizes) {
  const manifest::Memory *memory = manifest.memory();
  const manifest::Model *model = manifest.model();
  if (!memory || !model)
    return false;
  *sizes = {memory->arena_bytes(),     memory->cache_bytes(),
            memory->prefill_tokens(),  memory->score_tokens(),
            model->vocab_size(),       memory->logits_stride(),
            model->context_length(),   &manifest,
            memory->embedding_stride()};
  for (int32_t number : {sizes->prefill_tokens, sizes->score_tokens, sizes->vocab_size,
                         sizes->logits_stride, sizes->context_length})
    if (number < 1 || number > limit)
      return false;
  if (sizes->embedding_stride < 0 || sizes->embedding_stride > limit)
    return false;
  if (manifest.caches())
    for (const manifest::Cache *cache : *manifest.caches()) {
      if (!cache->parts())
        return false;
      for (const manifest::CachePart *part : *cache->parts())
        if (!part->block_positions())
          return false;
    }
  return sizes->arena_bytes <= uint64_t{1} << 46 && sizes->cache_bytes <= uint64_t{1} << 46;
}

uint64_t sequence_bytes(const ProgramSizes &program) { return rounded(program.cache_bytes, page); }

int32_t longest_step(const ProgramSizes &program) {
  return program.prefill_tokens > program.score_tokens ? program.prefill_tokens
                                                       : program.score_tokens;
}

Layout layout_of(const ProgramSizes &program, int32_t sequences, uint64_t max_text_bytes) {
  Layout layout{};
  const auto take = [&](Region region, uint64_t bytes) {
    const auto index = static_cast<int32_t>(region);
    layout.begins[index] = rounded(layout.bytes, page);
    layout.sizes[index] = bytes;
    layout.bytes = layout.begins[index] + bytes;
  };
  const auto count = static_cast<uint64_t>(sequences);
  // First, because mappings of this size begin where a huge page can.
  take(Region::arena, program.arena_bytes);
  take(Region::session, sizeof(ingot_session) + count * sizeof(Sequence));
  take(Region::caches, count * sequence_bytes(program));
  take(Region::last_logits, count * row_bytes(program));
  const uint64_t logits =
      static_cast<uint64_t>(logits_rows(program, sequences)) * row_bytes(program);
  const uint64_t embeddings = hidden_bytes(program);
  take(Region::rows, logits > embeddings ? logits : embeddings);
  take(Region::step_tokens, step_tokens_bytes(program));
  take(Region::history, count * static_cast<uint64_t>(program.context_length) * sizeof(int32_t));
  take(Region::sampler, Sampler::scratch_bytes(program.vocab_size));
  take(Region::text, ingot_tokenizer_scratch_bytes(max_text_bytes));
  take(Region::prompt,
       static_cast<uint64_t>(program.context_length) * sizeof(int32_t) + max_text_bytes);
  layout.bytes = rounded(layout.bytes, page);
  return layout;
}

uint64_t planned_bytes(const ProgramSizes &program, const Layout &layout, Region region,
                       const Use &use) {
  const auto others = static_cast<uint64_t>(use.sequences - 1);
  const auto whole = rounded(layout.size(region), page);
  const auto history = [](int32_t tokens) {
    return rounded(static_cast<uint64_t>(tokens) * sizeof(int32_t), page);
  };
  switch (region) {
  case Region::caches:
    return least(filled_cache_bytes(program, use.tokens) +
                     others * filled_cache_bytes(program, use.other_tokens),
                 whole);
  case Region::rows:
    return least(rounded(static_cast<uint64_t>(use.rows) * row_bytes(program), page), whole);
  case Region::history:
    // One behind the other, so they share pages at their ends.
    return least(history(use.tokens) + others * (history(use.other_tokens) + page), whole);
  case Region::sampler:
    return use.samples ? whole : 0;
  case Region::text:
    return use.reads_text ? least(touched_text_bytes, whole) : 0;
  case Region::prompt:
    return use.reads_text ? least(history(use.tokens) + touched_text_bytes, whole) : 0;
  default:
    return whole;
  }
}

Plan plan_of(const ProgramSizes &program, const Layout &layout, const Use &use) {
  Plan plan{};
  for (int32_t i = 0; i < region_count; ++i) {
    const auto region = static_cast<Region>(i);
    plan.rows[i] = {region_names[i], layout.size(region),
                    planned_bytes(program, layout, region, use)};
  }
  const auto threads = static_cast<uint64_t>(use.threads);
  plan.rows[region_count] = {"stacks", threads * platform::step_stack_bytes,
                             threads * touched_stack_bytes};
  for (const PlanRow &row : plan.rows) {
    plan.reserved += row.reserved;
    plan.planned += row.planned;
  }
  return plan;
}

Plan conversation_plan(const ProgramSizes &program, int32_t tokens, int32_t threads) {
  const ingot_session_options options = ingot_default_session_options();
  const Layout layout = layout_of(program, options.sequences, options.max_text_bytes);
  return plan_of(program, layout,
                 {options.sequences, tokens, /*other_tokens=*/0, /*rows=*/0, threads,
                  /*samples=*/true, /*reads_text=*/true});
}

int32_t logits_rows(const ProgramSizes &program, int32_t sequences) {
  return (program.score_tokens > sequences ? program.score_tokens : sequences) + tile_padding;
}

uint64_t device_tokens_offset() {
  return rounded(INGOT_PARAMETER_WORDS * sizeof(uint32_t), device_place);
}

uint64_t device_groups_offset(const ProgramSizes &program) {
  return rounded(device_tokens_offset() + step_tokens_bytes(program), device_place);
}

DevicePlan device_plan(const ProgramSizes &program, uint64_t weights_bytes, int32_t sequences) {
  const uint64_t logits =
      static_cast<uint64_t>(logits_rows(program, sequences)) * row_bytes(program);
  const uint64_t hidden = hidden_bytes(program);
  // Three counts of workgroups for each launch.
  uint64_t inputs = device_groups_offset(program);
  if (program.manifest && program.manifest->steps())
    for (const manifest::Step *step : *program.manifest->steps())
      inputs += rounded((step->launches() ? step->launches()->size() : 0) * 3 * sizeof(uint32_t),
                        device_place);
  const manifest::Memory *memory = program.manifest ? program.manifest->memory() : nullptr;
  const uint64_t sizes[] = {weights_bytes,
                            program.arena_bytes,
                            program.cache_bytes * static_cast<uint64_t>(sequences),
                            memory ? memory->scratch_bytes() : 0,
                            logits > hidden ? logits : hidden,
                            inputs};
  DevicePlan plan{};
  for (int32_t i = 0; i < device_region_count; ++i) {
    plan.rows[i] = {device_region_names[i], sizes[i], sizes[i]};
    plan.bytes += sizes[i];
  }
  return plan;
}

bool needs_device_memory(const manifest::Manifest &manifest) {
  for (const manifest::Variant *variant : *manifest.build()->variants())
    if (variant->on_device())
      return true;
  return false;
}

const flatbuffers::String *writer_of(const manifest::Manifest &manifest, const manifest::Step &step,
                                     const manifest::Buffer &buffer) {
  const auto *launches = step.launches();
  const auto *kernels = manifest.kernels();
  if (!launches || !kernels || buffer.first_use() >= launches->size())
    return nullptr;
  const int16_t kernel = launches->Get(buffer.first_use())->kernel();
  return kernel >= 0 && static_cast<uint32_t>(kernel) < kernels->size()
             ? kernels->Get(static_cast<uint32_t>(kernel))->name()
             : nullptr;
}

} // namespace ingot::runtime
