// The ingot_device of Vulkan (runtime/core/device.h): opening and closing.
#include "targets/vulkan/runtime/device.h"
#include "runtime/core/session.h"
#include "runtime/main/writer.h"
#include "runtime/platform/platform.h"
#include "targets/vulkan/runtime/run.h"

#include <new>
#include <string.h>

namespace ingot::platform::vulkan {
namespace {

void say(char *problem, const char *text) {
  strncpy(problem, text, 255);
  problem[255] = 0;
}

/// Chooses the form of each kernel. False: what the device cannot do although it computes.
bool fits(ingot_device_session &session, char *problem) {
  const VkPhysicalDeviceLimits &limits = session.machine.properties.limits;
  runtime::Writer said(problem, 255);
  for (uint32_t i = 0; i < session.code->kernels()->size(); ++i) {
    const device::Kernel &kernel = *session.code->kernels()->Get(i);
    const device::Form *&form = session.kernels[i].form, *too_large = nullptr;
    for (const device::Form *one : *kernel.forms()) {
      if (form || one->needs() & ~session.machine.features)
        continue;
      (one->shared_bytes() > limits.maxComputeSharedMemorySize ? too_large : form) = one;
    }
    if (!form && too_large) {
      said.text(session.machine.properties.deviceName)
          .text(" has ")
          .number(limits.maxComputeSharedMemorySize >> 10)
          .text(" KiB of shared memory, and ")
          .text(kernel.name()->c_str())
          .text(" needs ")
          .number((too_large->shared_bytes() + 1023) >> 10);
      problem[said.used] = 0;
      return false;
    }
  }
  // What lies before an argument where it begins between places that can be bound counts, too.
  const uint64_t most = limits.maxStorageBufferRange - limits.minStorageBufferOffsetAlignment;
  for (const device::Step *step : *session.code->steps())
    for (const device::Launch *launch : *step->launches()) {
      if (launch->arguments()->size() >= limits.maxPerStageDescriptorStorageBuffers) {
        said.text(session.machine.properties.deviceName)
            .text(" reads ")
            .number(limits.maxPerStageDescriptorStorageBuffers)
            .text(" buffers at once, and ")
            .text(session.code->kernels()->Get(launch->kernel())->name()->c_str())
            .text(" has ")
            .number(launch->arguments()->size() + 1);
        problem[said.used] = 0;
        return false;
      }
      for (const device::Argument *argument : *launch->arguments()) {
        const bool weights = argument->space() == device::Space_weights,
                   cache = argument->space() == device::Space_cache;
        const uint64_t bytes =
            argument->bytes() * (cache ? static_cast<uint64_t>(session.sequences) : 1);
        if (bytes <= most)
          continue;
        said.text(session.machine.properties.deviceName)
            .text(" reads at most ")
            .grouped(most >> 10)
            .text(" KiB at once, and ")
            .text(weights ? "a matrix of the model"
                  : cache ? "the KV cache of a layer"
                          : "what a step computes at once")
            .text(" has ")
            .grouped((bytes + 1023) >> 10);
        problem[said.used] = 0;
        return false;
      }
    }
  return true;
}

VkResult make_commands(ingot_device_session &session) {
  const Functions &vk = session.machine.vk;
  const VkDevice device = session.machine.device;
  VkCommandPoolCreateInfo pool{};
  pool.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO;
  pool.flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT;
  pool.queueFamilyIndex = session.machine.queue_family;
  if (VkResult result = vk.CreateCommandPool(device, &pool, nullptr, &session.pool))
    return result;
  VkCommandBufferAllocateInfo allocation{};
  allocation.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO;
  allocation.commandPool = session.pool;
  allocation.level = VK_COMMAND_BUFFER_LEVEL_PRIMARY;
  allocation.commandBufferCount = 1;
  if (VkResult result = vk.AllocateCommandBuffers(device, &allocation, &session.once))
    return result;
  VkFenceCreateInfo fence{};
  fence.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO;
  return vk.CreateFence(device, &fence, nullptr, &session.fence);
}

void close(ingot_device_session *session) {
  const Functions &vk = session->machine.vk;
  const VkDevice device = session->machine.device;
  if (device && session->pool) {
    vk.DeviceWaitIdle(device);
    for (uint32_t i = 0; i < session->code->kernels()->size(); ++i) {
      const Kernel &kernel = session->kernels[i];
      vk.DestroyPipeline(device, kernel.pipeline, nullptr);
      vk.DestroyPipelineLayout(device, kernel.layout, nullptr);
      vk.DestroyDescriptorSetLayout(device, kernel.set_layout, nullptr);
    }
    for (uint32_t i = 0; i < session->code->steps()->size(); ++i)
      vk.DestroyDescriptorPool(device, session->steps[i].pool, nullptr);
    for (Buffer *buffer : {&session->arena, &session->caches, &session->scratch, &session->logits,
                           &session->staging, &session->input})
      destroy_buffer(*session, buffer);
    for (int32_t i = 0; i < session->chunk_count; ++i)
      destroy_buffer(*session, &session->chunks[i].buffer);
    vk.DestroyQueryPool(device, session->queries, nullptr);
    vk.DestroyFence(device, session->fence, nullptr);
    vk.DestroyCommandPool(device, session->pool, nullptr);
  }
  close_machine(&session->machine);
  unmap_memory(session, session->mapped_bytes);
}

ingot_status open(const ingot_device_request *request, ingot_device_session **result,
                  char *problem) {
  *result = nullptr;
  const ingot_variant &variant = *request->variant;
  if (variant.device_code_bytes < 16 ||
      memcmp(variant.device_code + 4, device::CodeIdentifier(), 4) != 0)
    return INGOT_BAD_PROGRAM;
  const device::Code *code = device::GetCode(variant.device_code);
  uint64_t launches = 0;
  for (const device::Step *step : *code->steps())
    launches += step->launches()->size();
  const uint64_t kernel_bytes = code->kernels()->size() * sizeof(Kernel),
                 step_bytes = code->steps()->size() * sizeof(Step),
                 bytes = sizeof(ingot_device_session) + kernel_bytes + step_bytes +
                         launches * sizeof(VkDescriptorSet);
  auto *memory = static_cast<uint8_t *>(map_memory(bytes));
  if (!memory)
    return INGOT_NO_MEMORY;
  auto *session = new (memory) ingot_device_session{};
  session->mapped_bytes = bytes;
  session->program = request->program;
  session->weights = request->weights;
  session->manifest = runtime::program_manifest(request->program);
  session->code = code;
  session->sequences = request->sequences;
  session->caches_base = request->caches;
  session->sequence_bytes = request->sequence_bytes;
  memory += sizeof *session;
  session->kernels = reinterpret_cast<Kernel *>(memory); // zeroed: nothing is made yet
  session->steps = reinterpret_cast<Step *>(memory + kernel_bytes);
  auto *sets = reinterpret_cast<VkDescriptorSet *>(memory + kernel_bytes + step_bytes);
  for (uint32_t i = 0; i < code->steps()->size(); ++i) {
    session->steps[i].sets = sets;
    sets += code->steps()->Get(i)->launches()->size();
  }

  ingot_status status = INGOT_NO_DEVICE;
  if (const char *missing = find_machine(&session->machine))
    say(problem, missing);
  else if (!open_machine(&session->machine))
    say(problem, "the Vulkan driver does not open its device");
  else if (fits(*session, problem)) {
    status = status_of(make_commands(*session));
    if (!status)
      status = make_memory(*session, problem);
    if (!status)
      status = upload_weights(*session, problem);
  }
  if (status) {
    close(session);
    return status;
  }
  *result = session;
  return INGOT_OK;
}

const char *description(const ingot_device_session *session) {
  return session->machine.properties.deviceName;
}

} // namespace

const char *missing() {
  Machine machine;
  const char *problem = find_machine(&machine);
  if (!problem)
    close_machine(&machine);
  return problem;
}

} // namespace ingot::platform::vulkan

extern "C" const ingot_device ingot_vulkan_device = {
    "vulkan",
    ingot::platform::vulkan::open,
    ingot::platform::vulkan::close,
    ingot::platform::vulkan::run_step,
    ingot::platform::vulkan::copy_cache,
    ingot::platform::vulkan::read_cache,
    ingot::platform::vulkan::write_cache,
    ingot::platform::vulkan::description,
};
