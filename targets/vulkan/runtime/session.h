// What a session has on a Vulkan device: its memory, and a command buffer for each step, recorded
// when the step first runs.
#pragma once

#include "runtime/core/device.h"
#include "runtime/core/plan.h"
#include "runtime/device_generated.h"
#include "runtime/manifest_generated.h"
#include "targets/vulkan/runtime/loader.h"

namespace ingot::platform::vulkan {

struct Buffer {
  VkBuffer buffer;
  VkDeviceMemory memory;
  uint64_t bytes;
  uint8_t *mapped; ///< null where the processor cannot see it
};

/// A part of the weights that fits one allocation: [begin, begin + buffer.bytes).
struct WeightChunk {
  uint64_t begin;
  Buffer buffer;
};
constexpr int32_t most_chunks = 64;

struct Kernel {
  const device::Form *form; ///< the best that the device runs; null: none
  VkDescriptorSetLayout set_layout;
  VkPipelineLayout layout;
  VkPipeline pipeline; ///< null: not used yet
};

struct Step {
  VkDescriptorPool pool;
  VkDescriptorSet *sets;    ///< [launches]
  uint64_t indirect;        ///< where its workgroup counts begin in `input`: uint32_t [launches][3]
  VkCommandBuffer commands; ///< null: not recorded yet
};

} // namespace ingot::platform::vulkan

struct ingot_device_session {
  uint64_t mapped_bytes; ///< of this struct and what is behind it
  ingot::platform::vulkan::Machine machine;
  const ingot_program *program;
  const uint8_t *weights;
  const ingot::manifest::Manifest *manifest;
  const ingot::device::Code *code;
  int32_t sequences;
  const uint8_t *caches_base;
  uint64_t sequence_bytes;

  ingot::platform::vulkan::Buffer arena, caches, scratch, logits, staging;
  /// Written by the processor for each step: parameters, tokens, counts of workgroups.
  ingot::platform::vulkan::Buffer input;
  uint64_t tokens_offset, tokens_bytes;
  int32_t chunk_count;
  ingot::platform::vulkan::WeightChunk chunks[ingot::platform::vulkan::most_chunks];
  ingot::platform::vulkan::Kernel *kernels;
  ingot::platform::vulkan::Step *steps;
  VkCommandPool pool;
  VkCommandBuffer once; ///< for what is recorded and submitted once
  VkFence fence;
  VkQueryPool queries; ///< null: nobody has asked for times
  bool lost;
};

namespace ingot::platform::vulkan {

/// How all functions here answer for Vulkan.
ingot_status status_of(VkResult result);

// memory.cpp
/// Device memory, mapped where that costs nothing; with `host`, memory that the processor reads.
ingot_status make_buffer(ingot_device_session &session, uint64_t bytes, bool host, Buffer *buffer);
void destroy_buffer(ingot_device_session &session, Buffer *buffer);
/// Arena, caches, logits, input; zeroed.
ingot_status make_memory(ingot_device_session &session, char *problem);
ingot_status upload_weights(ingot_device_session &session, char *problem);
/// Room that the processor sees, at least this large.
ingot_status make_staging(ingot_device_session &session, uint64_t bytes);

/// Head by head what caches hold up to `position`: visit(where that of the first sequence begins in
/// `caches`, bytes from a sequence to the next, bytes).
template <typename Visit>
void for_heads(const ingot_device_session &session, int32_t position, Visit visit) {
  // Part by part, each with all sequences one behind the other.
  const auto sequences = static_cast<uint64_t>(session.sequences);
  runtime::for_cache_parts(*session.manifest, position,
                           [&](const manifest::CachePart &part, uint64_t offset, uint64_t filled) {
                             for (uint32_t head = 0; head < part.heads(); ++head)
                               visit(offset * sequences + head * part.head_bytes(),
                                     part.head_bytes() * part.heads(), filled);
                           });
}

// commands.cpp
VkResult begin_once(ingot_device_session &session);
/// Submits and waits.
ingot_status submit(ingot_device_session &session, VkCommandBuffer commands);
ingot_status submit_once(ingot_device_session &session);
void memory_barrier(ingot_device_session &session, VkCommandBuffer commands);

} // namespace ingot::platform::vulkan
