// Memory of a session on a Vulkan device.
#include "runtime/main/writer.h"
#include "targets/vulkan/runtime/run.h"

#include <string.h>

namespace ingot::platform::vulkan {
namespace {

using runtime::rounded;

constexpr uint64_t staging_bytes = 16u << 20, place = 256; // no device wants a larger alignment
constexpr VkMemoryPropertyFlags visible =
    VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;

/// The first memory type of those in `types` that has all of `wanted`; -1: none.
int32_t memory_type(const Machine &machine, uint32_t types, VkMemoryPropertyFlags wanted) {
  for (uint32_t i = 0; i < machine.memory.memoryTypeCount; ++i)
    if (types >> i & 1 && (machine.memory.memoryTypes[i].propertyFlags & wanted) == wanted)
      return static_cast<int32_t>(i);
  return -1;
}

/// For memory that the processor reads (`host`), or of the device's own.
int32_t buffer_type(const Machine &machine, uint32_t types, bool host) {
  int32_t type = -1;
  if (host) {
    type = memory_type(machine, types, visible | VK_MEMORY_PROPERTY_HOST_CACHED_BIT);
    if (type < 0)
      type = memory_type(machine, types, visible);
  } else {
    type = memory_type(machine, types, VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT);
  }
  return type < 0 ? memory_type(machine, types, 0) : type;
}

void say_too_little(ingot_device_session &session, uint64_t bytes, const char *what,
                    char *problem) {
  runtime::Writer said(problem, 255);
  said.text(session.machine.properties.deviceName)
      .text(" refuses ")
      .grouped((bytes >> 20) + 1)
      .text(" MiB for ")
      .text(what);
  problem[said.used] = 0;
}

/// False, and a clause in `problem`, where the device gives less at once.
bool is_given(const ingot_device_session &session, uint64_t bytes, const char *what,
              char *problem) {
  const uint64_t most = session.machine.most_bytes;
  if (!most || rounded(bytes, place) <= most)
    return true;
  runtime::Writer said(problem, 255);
  said.text(session.machine.properties.deviceName)
      .text(" gives at most ")
      .grouped(most >> 10)
      .text(" KiB at once, and the model needs ")
      .grouped((bytes + 1023) >> 10)
      .text(" for ")
      .text(what);
  problem[said.used] = 0;
  return false;
}

/// Where a buffer ends that has the weights from `begin` on: it cuts no argument, of which one
/// alone may be more than `most`.
uint64_t end_of_chunk(const ingot_device_session &session, uint64_t begin, uint64_t most) {
  const uint64_t total = session.program->weights_bytes;
  uint64_t end = total - begin > most ? begin + most : total;
  bool alone = false;
  for (bool moved = end < total; moved;) {
    moved = false;
    for (const device::Step *step : *session.code->steps())
      for (const device::Launch *launch : *step->launches())
        for (const device::Argument *argument : *launch->arguments()) {
          const uint64_t first = argument->offset(), last = first + argument->bytes();
          if (argument->space() != device::Space_weights || first >= end || last <= end)
            continue;
          alone |= first <= begin;
          end = alone ? last : first;
          moved = true;
        }
  }
  return end;
}

} // namespace

ingot_status make_buffer(ingot_device_session &session, uint64_t bytes, bool host, Buffer *buffer) {
  const Functions &vk = session.machine.vk;
  const VkDevice device = session.machine.device;
  VkBufferCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO;
  info.size = rounded(bytes ? bytes : 1, place);
  info.usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_INDIRECT_BUFFER_BIT |
               VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT;
  *buffer = Buffer{};
  buffer->bytes = info.size;
  VkResult result = vk.CreateBuffer(device, &info, nullptr, &buffer->buffer);
  if (result != VK_SUCCESS) {
    buffer->buffer = nullptr;
    return status_of(result);
  }
  VkMemoryRequirements needs;
  vk.GetBufferMemoryRequirements(device, buffer->buffer, &needs);
  const int32_t type = buffer_type(session.machine, needs.memoryTypeBits, host);
  VkMemoryAllocateInfo allocation{};
  allocation.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO;
  allocation.allocationSize = needs.size;
  allocation.memoryTypeIndex = static_cast<uint32_t>(type);
  result = vk.AllocateMemory(device, &allocation, nullptr, &buffer->memory);
  if (result != VK_SUCCESS) {
    buffer->memory = nullptr;
    return status_of(result);
  }
  result = vk.BindBufferMemory(device, buffer->buffer, buffer->memory, 0);
  const bool sees = (session.machine.memory.memoryTypes[type].propertyFlags & visible) == visible;
  if (result == VK_SUCCESS && sees)
    result = vk.MapMemory(device, buffer->memory, 0, VK_WHOLE_SIZE, 0,
                          reinterpret_cast<void **>(&buffer->mapped));
  return status_of(result);
}

void destroy_buffer(ingot_device_session &session, Buffer *buffer) {
  const Functions &vk = session.machine.vk;
  if (buffer->buffer)
    vk.DestroyBuffer(session.machine.device, buffer->buffer, nullptr);
  if (buffer->memory)
    vk.FreeMemory(session.machine.device, buffer->memory, nullptr);
  *buffer = Buffer{};
}

ingot_status make_staging(ingot_device_session &session, uint64_t bytes) {
  if (session.staging.bytes >= bytes && session.staging.mapped)
    return INGOT_OK;
  destroy_buffer(session, &session.staging);
  return make_buffer(session, bytes, true, &session.staging);
}

/// False, and a clause in `problem`, where what the plan wants is more than the device has.
static bool has_room(const ingot_device_session &session, const runtime::DevicePlan &plan,
                     char *problem) {
  using runtime::DeviceRegion;
  const VkPhysicalDeviceMemoryProperties &memory = session.machine.memory;
  const auto heap_of = [&](bool host) {
    const int32_t type = buffer_type(session.machine, ~uint32_t{0}, host);
    return memory.memoryTypes[type < 0 ? 0 : type].heapIndex;
  };
  const uint32_t own = heap_of(false), seen = heap_of(true);
  const uint64_t both = plan.size(DeviceRegion::logits) + plan.size(DeviceRegion::inputs);
  const uint64_t wanted = own == seen ? plan.bytes : plan.bytes - both;
  runtime::Writer said(problem, 255);
  const auto mebibytes = [&](uint64_t bytes) -> runtime::Writer & {
    return said.grouped((bytes + (1 << 20) - 1) >> 20);
  };
  if (wanted > memory.memoryHeaps[own].size) {
    said.text(session.machine.properties.deviceName).text(" has ");
    mebibytes(memory.memoryHeaps[own].size).text(" MiB of memory, and the model needs ");
    mebibytes(wanted).text(": weights ");
    mebibytes(plan.size(DeviceRegion::weights)).text(", KV caches ");
    mebibytes(plan.size(DeviceRegion::caches)).text(", activations ");
    mebibytes(plan.size(DeviceRegion::arena));
  } else if (both > memory.memoryHeaps[seen].size) {
    said.text(session.machine.properties.deviceName).text(" shares ");
    mebibytes(memory.memoryHeaps[seen].size).text(" MiB with the processor, and the model needs ");
    mebibytes(both);
  } else {
    return true;
  }
  problem[said.used] = 0;
  return false;
}

ingot_status make_memory(ingot_device_session &session, char *problem) {
  using runtime::DeviceRegion;
  const ingot_program &program = *session.program;
  const runtime::ProgramSizes sizes = runtime::sizes_of(program, session.manifest);
  const runtime::DevicePlan plan =
      runtime::device_plan(sizes, program.weights_bytes, session.sequences);
  if (!has_room(session, plan, problem))
    return INGOT_NO_MEMORY;
  session.tokens_offset = runtime::device_tokens_offset();
  uint64_t end = runtime::device_groups_offset(sizes);
  session.tokens_bytes = end - session.tokens_offset;
  for (uint32_t i = 0; i < session.code->steps()->size(); ++i) {
    session.steps[i].indirect = end;
    end += session.code->steps()->Get(i)->launches()->size() * 3 * sizeof(uint32_t);
  }
  uint64_t scratch = 0; // the plan's
  for (const device::Step *step : *session.code->steps())
    for (const device::Launch *launch : *step->launches())
      for (const device::Argument *argument : *launch->arguments())
        if (argument->space() == device::Space_scratch &&
            argument->offset() + argument->bytes() > scratch)
          scratch = argument->offset() + argument->bytes();
  const struct {
    Buffer *buffer;
    uint64_t bytes;
    bool host;
    const char *what;
  } buffers[] = {
      {&session.arena, plan.size(DeviceRegion::arena), false, "activations"},
      {&session.caches, plan.size(DeviceRegion::caches), false, "KV caches"},
      {&session.scratch, scratch, false, "scratch"},
      {&session.logits, plan.size(DeviceRegion::logits), true, "logits"},
      {&session.input, end, true,
       "inputs"}, // no more than the plan has, which counts barriers, too
  };
  for (const auto &one : buffers) {
    if (!is_given(session, one.bytes, one.what, problem))
      return INGOT_NO_MEMORY;
    if (ingot_status status = make_buffer(session, one.bytes, one.host, one.buffer)) {
      say_too_little(session, one.bytes, one.what, problem);
      return status;
    }
  }
  memset(session.input.mapped, 0, session.input.bytes);
  if (VkResult result = begin_once(session))
    return status_of(result);
  for (const Buffer *buffer : {&session.arena, &session.caches, &session.scratch})
    session.machine.vk.CmdFillBuffer(session.once, buffer->buffer, 0, VK_WHOLE_SIZE, 0);
  return submit_once(session);
}

static ingot_status upload(ingot_device_session &session, const uint8_t *from, const Buffer &buffer,
                           uint64_t bytes) {
  if (buffer.mapped) {
    memcpy(buffer.mapped, from, bytes);
    return INGOT_OK;
  }
  if (ingot_status status = make_staging(session, staging_bytes))
    return status;
  for (uint64_t at = 0; at < bytes; at += staging_bytes) {
    const uint64_t count = bytes - at < staging_bytes ? bytes - at : staging_bytes;
    memcpy(session.staging.mapped, from + at, count);
    if (VkResult result = begin_once(session))
      return status_of(result);
    const VkBufferCopy region{0, at, count};
    session.machine.vk.CmdCopyBuffer(session.once, session.staging.buffer, buffer.buffer, 1,
                                     &region);
    if (ingot_status status = submit_once(session))
      return status;
  }
  destroy_buffer(session, &session.staging);
  return INGOT_OK;
}

ingot_status upload_weights(ingot_device_session &session, char *problem) {
  // Kernels see each part of a matrix in one buffer. Every device gives a gigabyte at once; where
  // it takes more, fewer buffers gain nothing.
  const uint64_t given = session.machine.most_bytes / place * place;
  const uint64_t most = given && given < 1u << 30 ? given : 1u << 30;
  const uint64_t total = session.program->weights_bytes;
  session.chunk_count = 0;
  for (uint64_t begin = 0; begin < total;) {
    const uint64_t end = end_of_chunk(session, begin, most);
    if (!is_given(session, end - begin, "a matrix", problem))
      return INGOT_NO_MEMORY;
    if (session.chunk_count == most_chunks) {
      say_too_little(session, total, "weights", problem);
      return INGOT_NO_MEMORY;
    }
    WeightChunk &chunk = session.chunks[session.chunk_count++];
    chunk.begin = begin;
    ingot_status status = make_buffer(session, end - begin, false, &chunk.buffer);
    if (!status)
      status = upload(session, session.weights + begin, chunk.buffer, end - begin);
    if (status) {
      say_too_little(session, total, "weights", problem);
      return status;
    }
    begin = end;
  }
  return INGOT_OK;
}

/// Between the caches of a sequence and `filled`, by as many submissions as the staging buffer
/// takes.
static ingot_status move_cache(ingot_device_session &session, int32_t sequence, int32_t position,
                               uint8_t *filled, bool reads) {
  if (session.lost)
    return INGOT_DEVICE_LOST;
  if (!position || !session.manifest->caches())
    return INGOT_OK;
  const Functions &vk = session.machine.vk;
  const Buffer &caches = session.caches;
  ingot_status status = caches.mapped ? INGOT_OK : make_staging(session, staging_bytes);
  uint64_t used = 0; // of the staging buffer
  const auto flush = [&] {
    if (status || !used)
      return;
    if (!reads)
      memcpy(session.staging.mapped, filled, used);
    memory_barrier(session, session.once);
    status = submit_once(session);
    if (!status && reads)
      memcpy(filled, session.staging.mapped, used);
    filled += used;
    used = 0;
  };
  for_heads(session, position, [&](uint64_t place, uint64_t sequence_bytes, uint64_t bytes) {
    place += static_cast<uint64_t>(sequence) * sequence_bytes;
    if (caches.mapped) {
      uint8_t *head = caches.mapped + place;
      memcpy(reads ? filled : head, reads ? head : filled, bytes);
      filled += bytes;
      return;
    }
    while (bytes && !status) {
      if (!used) {
        status = status_of(begin_once(session));
        if (status)
          return;
        memory_barrier(session, session.once);
      }
      const uint64_t room = staging_bytes - used, count = bytes < room ? bytes : room;
      const VkBufferCopy region =
          reads ? VkBufferCopy{place, used, count} : VkBufferCopy{used, place, count};
      const VkBuffer from = reads ? caches.buffer : session.staging.buffer,
                     to = reads ? session.staging.buffer : caches.buffer;
      vk.CmdCopyBuffer(session.once, from, to, 1, &region);
      place += count;
      bytes -= count;
      used += count;
      if (used == staging_bytes)
        flush();
    }
  });
  flush();
  return status;
}

ingot_status read_cache(ingot_device_session *session, int32_t sequence, int32_t position,
                        uint8_t *filled) {
  return move_cache(*session, sequence, position, filled, true);
}

ingot_status write_cache(ingot_device_session *session, int32_t sequence, int32_t position,
                         const uint8_t *filled) {
  return move_cache(*session, sequence, position, const_cast<uint8_t *>(filled), false);
}

} // namespace ingot::platform::vulkan
