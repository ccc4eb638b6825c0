// Kernels, steps and what runs them (session.h).
#include "runtime/core/profile.h"
#include "runtime/platform/platform.h"
#include "targets/vulkan/runtime/run.h"

#include <string.h>

namespace ingot::platform::vulkan {
namespace {

constexpr uint32_t most_bindings = 33;
constexpr uint64_t timeout_ns = 120ull * 1000 * 1000 * 1000;

/// Where a launch finds an argument: a buffer and how many words behind the binding it begins.
struct Place {
  VkDescriptorBufferInfo info;
  uint32_t displacement;
};

Place place_of(ingot_device_session &session, const device::Argument &argument) {
  const auto sequences = static_cast<uint64_t>(session.sequences);
  const Buffer *buffer = &session.arena;
  uint64_t offset = argument.offset(), bytes = argument.bytes(), end = 0;
  switch (argument.space()) {
  case device::Space_arena:
    break;
  case device::Space_weights:
    for (int32_t i = 0; i < session.chunk_count; ++i)
      if (session.chunks[i].begin <= argument.offset()) {
        buffer = &session.chunks[i].buffer;
        offset = argument.offset() - session.chunks[i].begin;
      }
    break;
  case device::Space_tokens:
    buffer = &session.input;
    offset += session.tokens_offset;
    end = session.tokens_offset + session.tokens_bytes;
    break;
  case device::Space_logits:
    buffer = &session.logits;
    break;
  case device::Space_scratch:
    buffer = &session.scratch;
    break;
  case device::Space_cache:
    // Part by part, each with all sequences one behind the other.
    buffer = &session.caches;
    offset *= sequences;
    bytes *= sequences;
    break;
  }
  // Kernels of many tokens serve shorter steps, too, whose buffers are smaller.
  if (!end)
    end = buffer->bytes;
  if (bytes > end - offset)
    bytes = end - offset;
  const uint64_t alignment = session.machine.properties.limits.minStorageBufferOffsetAlignment;
  const uint64_t begin = offset / alignment * alignment;
  return {{buffer->buffer, begin, bytes + (offset - begin)},
          static_cast<uint32_t>((offset - begin) / 4)};
}

VkResult make_kernel(ingot_device_session &session, uint32_t index) {
  Kernel &kernel = session.kernels[index];
  if (kernel.pipeline)
    return VK_SUCCESS;
  const Functions &vk = session.machine.vk;
  const VkDevice device = session.machine.device;
  const device::Kernel &described = *session.code->kernels()->Get(index);
  const uint32_t bindings = described.arguments() + 1u;
  VkDescriptorSetLayoutBinding all[most_bindings] = {};
  for (uint32_t i = 0; i < bindings; ++i) {
    all[i].binding = i;
    all[i].descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
    all[i].descriptorCount = 1;
    all[i].stageFlags = VK_SHADER_STAGE_COMPUTE_BIT;
  }
  VkDescriptorSetLayoutCreateInfo set{};
  set.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO;
  set.bindingCount = bindings;
  set.pBindings = all;
  VkResult result = VK_SUCCESS;
  if (!kernel.set_layout)
    result = vk.CreateDescriptorSetLayout(device, &set, nullptr, &kernel.set_layout);
  if (result)
    return result;
  const VkPushConstantRange range{VK_SHADER_STAGE_COMPUTE_BIT, 0, described.arguments() * 4u};
  VkPipelineLayoutCreateInfo layout{};
  layout.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO;
  layout.setLayoutCount = 1;
  layout.pSetLayouts = &kernel.set_layout;
  layout.pushConstantRangeCount = 1;
  layout.pPushConstantRanges = &range;
  if (!kernel.layout)
    result = vk.CreatePipelineLayout(device, &layout, nullptr, &kernel.layout);
  if (result)
    return result;
  const device::Form *form = kernel.form;
  if (!form)
    return VK_ERROR_FEATURE_NOT_PRESENT;
  VkShaderModuleCreateInfo module_info{};
  module_info.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO;
  module_info.codeSize = form->code()->size() * 4u;
  module_info.pCode = form->code()->data();
  VkShaderModule module;
  result = vk.CreateShaderModule(device, &module_info, nullptr, &module);
  if (result)
    return result;
  VkComputePipelineCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO;
  info.stage.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO;
  info.stage.stage = VK_SHADER_STAGE_COMPUTE_BIT;
  info.stage.module = module;
  info.stage.pName = "main";
  if (form->needs() & (INGOT_DEVICE_SHUFFLE | INGOT_DEVICE_ANY_PRODUCT))
    info.stage.flags = VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT;
  info.layout = kernel.layout;
  result = vk.CreateComputePipelines(device, nullptr, 1, &info, nullptr, &kernel.pipeline);
  vk.DestroyShaderModule(device, module, nullptr);
  return result;
}

/// The number of the step for hidden states, if there is one: it is behind the batch steps.
uint32_t embedding_step(const ingot_device_session &session) {
  return static_cast<uint32_t>(runtime::first_batch_step + session.program->batch_steps);
}

/// Kernels and descriptor sets of a step.
VkResult prepare(ingot_device_session &session, uint32_t index) {
  Step &step = session.steps[index];
  if (step.pool)
    return VK_SUCCESS;
  const Functions &vk = session.machine.vk;
  const VkDevice device = session.machine.device;
  const auto &launches = *session.code->steps()->Get(index)->launches();
  uint32_t descriptors = 0;
  for (const device::Launch *launch : launches) {
    descriptors += launch->arguments()->size() + 1;
    if (VkResult result = make_kernel(session, launch->kernel()))
      return result;
  }
  const VkDescriptorPoolSize size{VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, descriptors};
  VkDescriptorPoolCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO;
  info.maxSets = launches.size();
  info.poolSizeCount = 1;
  info.pPoolSizes = &size;
  if (VkResult result = vk.CreateDescriptorPool(device, &info, nullptr, &step.pool))
    return result;
  for (uint32_t i = 0; i < launches.size(); ++i) {
    const device::Launch &launch = *launches.Get(i);
    VkDescriptorSetAllocateInfo allocation{};
    allocation.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO;
    allocation.descriptorPool = step.pool;
    allocation.descriptorSetCount = 1;
    allocation.pSetLayouts = &session.kernels[launch.kernel()].set_layout;
    if (VkResult result = vk.AllocateDescriptorSets(device, &allocation, &step.sets[i]))
      return result;
    VkDescriptorBufferInfo places[most_bindings];
    VkWriteDescriptorSet writes[most_bindings] = {};
    const uint32_t arguments = launch.arguments()->size();
    for (uint32_t binding = 0; binding <= arguments; ++binding) {
      places[binding] =
          binding < arguments
              ? place_of(session, *launch.arguments()->Get(binding)).info
              : VkDescriptorBufferInfo{session.input.buffer, 0, INGOT_PARAMETER_WORDS * 4};
      writes[binding].sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET;
      writes[binding].dstSet = step.sets[i];
      writes[binding].dstBinding = binding;
      writes[binding].descriptorCount = 1;
      writes[binding].descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
      writes[binding].pBufferInfo = &places[binding];
    }
    vk.UpdateDescriptorSets(device, arguments + 1, writes, 0, nullptr);
  }
  return VK_SUCCESS;
}

void record_launch(ingot_device_session &session, uint32_t index, uint32_t launch_index,
                   VkCommandBuffer commands) {
  const Functions &vk = session.machine.vk;
  const Step &step = session.steps[index];
  const device::Step &described = *session.code->steps()->Get(index);
  const device::Launch &launch = *described.launches()->Get(launch_index);
  const Kernel &kernel = session.kernels[launch.kernel()];
  uint32_t displacements[most_bindings];
  const uint32_t arguments = launch.arguments()->size();
  for (uint32_t i = 0; i < arguments; ++i)
    displacements[i] = place_of(session, *launch.arguments()->Get(i)).displacement;
  if (launch.barrier())
    memory_barrier(session, commands);
  vk.CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, kernel.pipeline);
  vk.CmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, kernel.layout, 0, 1,
                           &step.sets[launch_index], 0, nullptr);
  vk.CmdPushConstants(commands, kernel.layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, arguments * 4,
                      displacements);
  const device::Form &form = *kernel.form;
  if ((form.tokens_each() && described.tokens() > 1) || form.keys_each())
    vk.CmdDispatchIndirect(commands, session.input.buffer, step.indirect + launch_index * 12u);
  else
    vk.CmdDispatch(commands, 1, form.groups(), 1);
}

/// All launches; behind each a time stamp where `queries` is not null.
void record_step(ingot_device_session &session, uint32_t index, VkCommandBuffer commands,
                 VkQueryPool queries) {
  const Functions &vk = session.machine.vk;
  const uint32_t count = session.code->steps()->Get(index)->launches()->size();
  memory_barrier(session, commands); // behind the step before
  if (queries) {
    vk.CmdResetQueryPool(commands, queries, 0, count + 1);
    vk.CmdWriteTimestamp(commands, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, queries, 0);
  }
  for (uint32_t i = 0; i < count; ++i) {
    record_launch(session, index, i, commands);
    if (queries)
      vk.CmdWriteTimestamp(commands, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, queries, i + 1);
  }
  memory_barrier(session, commands);
}

/// Tells what the step depends on, and how many workgroups its launches have.
void write_input(ingot_device_session &session, uint32_t index, const ingot_step_context &context) {
  auto *parameters = reinterpret_cast<uint32_t *>(session.input.mapped);
  const auto tokens = static_cast<uint32_t>(context.token_count);
  parameters[INGOT_PARAMETER_TOKENS] = tokens;
  parameters[INGOT_PARAMETER_POSITION] = static_cast<uint32_t>(context.position);
  const auto first_batch = static_cast<uint32_t>(runtime::first_batch_step);
  const bool batch = index >= first_batch && index < embedding_step(session);
  for (uint32_t i = 0; i < (batch ? tokens : 1); ++i) {
    parameters[INGOT_PARAMETER_SLOTS + i] = static_cast<uint32_t>(
        static_cast<uint64_t>(context.caches[i] - session.caches_base) / session.sequence_bytes);
    parameters[INGOT_PARAMETER_POSITIONS + i] = static_cast<uint32_t>(context.positions[i]);
  }
  memcpy(session.input.mapped + session.tokens_offset, context.tokens, tokens * 4u);
  uint32_t keys = 0; // that the last token of the longest sequence has
  for (uint32_t i = 0; i < (batch ? tokens : 1); ++i) {
    const uint32_t own = static_cast<uint32_t>(context.positions[i]) + (batch ? 1 : tokens);
    keys = own > keys ? own : keys;
  }
  const auto &launches = *session.code->steps()->Get(index)->launches();
  auto *groups = reinterpret_cast<uint32_t *>(session.input.mapped + session.steps[index].indirect);
  for (const device::Launch *launch : launches) {
    const device::Form &form = *session.kernels[launch->kernel()].form;
    const uint32_t each = form.tokens_each();
    *groups++ = each ? (tokens + form.more_tokens() + each - 1) / each : 1;
    *groups++ = form.groups();
    *groups++ = form.keys_each() ? (keys + form.keys_each() - 1) / form.keys_each() : 1;
  }
}

/// Launch by launch, so that what each leaves can be looked at.
ingot_status run_watched(ingot_device_session &session, uint32_t index,
                         const ingot_step_context &context) {
  const manifest::Step &step = *session.manifest->steps()->Get(index);
  uint32_t launch = 0;
  runtime::stamp(context.profile, clock_ns());
  for (const manifest::Launch *one : *step.launches()) {
    if (one->kernel() >= 0) {
      if (ingot_status status = make_staging(session, session.arena.bytes))
        return status;
      if (VkResult result = begin_once(session))
        return status_of(result);
      memory_barrier(session, session.once);
      record_launch(session, index, launch++, session.once);
      memory_barrier(session, session.once);
      const VkBufferCopy region{0, 0, session.arena.bytes};
      session.machine.vk.CmdCopyBuffer(session.once, session.arena.buffer, session.staging.buffer,
                                       1, &region);
      memory_barrier(session, session.once);
      if (ingot_status status = submit_once(session))
        return status;
      memcpy(context.arena, session.staging.mapped, session.program->arena_bytes);
    }
    runtime::stamp(context.profile, clock_ns());
  }
  return INGOT_OK;
}

/// With time stamps of the device.
ingot_status run_timed(ingot_device_session &session, uint32_t index,
                       const ingot_step_context &context) {
  const Functions &vk = session.machine.vk;
  uint32_t longest = 0;
  for (const device::Step *step : *session.code->steps())
    longest = step->launches()->size() > longest ? step->launches()->size() : longest;
  if (!session.queries) {
    VkQueryPoolCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO;
    info.queryType = VK_QUERY_TYPE_TIMESTAMP;
    info.queryCount = longest + 1;
    if (VkResult result =
            vk.CreateQueryPool(session.machine.device, &info, nullptr, &session.queries))
      return status_of(result);
  }
  if (VkResult result = begin_once(session))
    return status_of(result);
  record_step(session, index, session.once, session.queries);
  const uint64_t submitted = clock_ns();
  if (ingot_status status = submit_once(session))
    return status;
  const uint64_t done = clock_ns();
  const manifest::Step &step = *session.manifest->steps()->Get(index);
  const uint32_t count = session.code->steps()->Get(index)->launches()->size();
  uint64_t first = 0, last = 0;
  auto query = [&](uint32_t at, uint64_t *time) {
    return vk.GetQueryPoolResults(session.machine.device, session.queries, at, 1, sizeof *time,
                                  time, sizeof *time,
                                  VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT);
  };
  if (query(0, &first) || query(count, &last))
    return INGOT_DEVICE_LOST;
  // The device's clock is not ours: its times are laid between the submission and the end.
  const double period = session.machine.properties.limits.timestampPeriod;
  const auto whole = static_cast<uint64_t>(static_cast<double>(last - first) * period);
  const uint64_t begin = whole < done - submitted ? done - whole : submitted;
  uint32_t launch = 0;
  uint64_t now = begin;
  runtime::stamp(context.profile, begin);
  for (const manifest::Launch *one : *step.launches()) {
    uint64_t time = 0;
    if (one->kernel() >= 0 && !query(++launch, &time)) {
      const auto behind = static_cast<uint64_t>(static_cast<double>(time - first) * period);
      now = begin + behind > now ? begin + behind : now;
      now = now < done ? now : done;
    }
    runtime::stamp(context.profile, now);
  }
  return INGOT_OK;
}

ingot_status run_recorded(ingot_device_session &session, uint32_t index) {
  const Functions &vk = session.machine.vk;
  Step &step = session.steps[index];
  if (!step.commands) {
    VkCommandBufferAllocateInfo allocation{};
    allocation.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO;
    allocation.commandPool = session.pool;
    allocation.level = VK_COMMAND_BUFFER_LEVEL_PRIMARY;
    allocation.commandBufferCount = 1;
    VkCommandBuffer commands;
    VkResult result = vk.AllocateCommandBuffers(session.machine.device, &allocation, &commands);
    VkCommandBufferBeginInfo begin{};
    begin.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO;
    if (!result)
      result = vk.BeginCommandBuffer(commands, &begin);
    if (!result) {
      record_step(session, index, commands, nullptr);
      result = vk.EndCommandBuffer(commands);
    }
    if (result)
      return status_of(result);
    step.commands = commands;
  }
  return submit(session, step.commands);
}

} // namespace

ingot_status status_of(VkResult result) {
  switch (result) {
  case VK_SUCCESS:
    return INGOT_OK;
  case VK_ERROR_OUT_OF_HOST_MEMORY:
  case VK_ERROR_OUT_OF_DEVICE_MEMORY:
  case VK_ERROR_OUT_OF_POOL_MEMORY:
  case VK_ERROR_MEMORY_MAP_FAILED:
    return INGOT_NO_MEMORY;
  case VK_ERROR_FEATURE_NOT_PRESENT:
    return INGOT_NO_DEVICE;
  default:
    return INGOT_DEVICE_LOST;
  }
}

void memory_barrier(ingot_device_session &session, VkCommandBuffer commands) {
  constexpr VkPipelineStageFlags stages =
      VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT;
  VkMemoryBarrier barrier{};
  barrier.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER;
  barrier.srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT;
  barrier.dstAccessMask = VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT |
                          VK_ACCESS_TRANSFER_READ_BIT | VK_ACCESS_TRANSFER_WRITE_BIT |
                          VK_ACCESS_HOST_READ_BIT;
  session.machine.vk.CmdPipelineBarrier(commands, stages, stages | VK_PIPELINE_STAGE_HOST_BIT, 0, 1,
                                        &barrier, 0, nullptr, 0, nullptr);
}

VkResult begin_once(ingot_device_session &session) {
  VkCommandBufferBeginInfo info{};
  info.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO;
  info.flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT;
  return session.machine.vk.BeginCommandBuffer(session.once, &info);
}

ingot_status submit(ingot_device_session &session, VkCommandBuffer commands) {
  const Functions &vk = session.machine.vk;
  VkSubmitInfo info{};
  info.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO;
  info.commandBufferCount = 1;
  info.pCommandBuffers = &commands;
  VkResult result = vk.QueueSubmit(session.machine.queue, 1, &info, session.fence);
  if (!result)
    result = vk.WaitForFences(session.machine.device, 1, &session.fence, VK_TRUE, timeout_ns);
  if (!result)
    result = vk.ResetFences(session.machine.device, 1, &session.fence);
  session.lost |= result != VK_SUCCESS;
  return status_of(result);
}

ingot_status submit_once(ingot_device_session &session) {
  if (VkResult result = session.machine.vk.EndCommandBuffer(session.once))
    return status_of(result);
  return submit(session, session.once);
}

ingot_status run_step(ingot_device_session *session, int32_t step,
                      const ingot_step_context *context) {
  const auto index = static_cast<uint32_t>(step);
  if (session->lost)
    return INGOT_DEVICE_LOST;
  if (VkResult result = prepare(*session, index))
    return status_of(result);
  write_input(*session, index, *context);
  ingot_status status;
  if (context->profile && context->profile->watch)
    status = run_watched(*session, index, *context);
  else if (context->profile && session->machine.timestamps)
    status = run_timed(*session, index, *context);
  else
    status = run_recorded(*session, index);
  if (status)
    return status;
  const int32_t rows = step >= runtime::score_step ? context->token_count : 1;
  const int32_t stride =
      index == embedding_step(*session)
          ? runtime::sizes_of(*session->program, session->manifest).embedding_stride
          : session->program->logits_stride;
  memcpy(context->logits, session->logits.mapped,
         static_cast<uint64_t>(rows) * static_cast<uint64_t>(stride) * sizeof(float));
  return INGOT_OK;
}

ingot_status copy_cache(ingot_device_session *session, int32_t from, int32_t to, int32_t position) {
  if (!position || !session->manifest->caches())
    return INGOT_OK;
  if (VkResult result = begin_once(*session))
    return status_of(result);
  memory_barrier(*session, session->once);
  for_heads(*session, position, [&](uint64_t place, uint64_t sequence_bytes, uint64_t filled) {
    const VkBufferCopy region{place + static_cast<uint64_t>(from) * sequence_bytes,
                              place + static_cast<uint64_t>(to) * sequence_bytes, filled};
    session->machine.vk.CmdCopyBuffer(session->once, session->caches.buffer, session->caches.buffer,
                                      1, &region);
  });
  memory_barrier(*session, session->once);
  return submit_once(*session);
}

} // namespace ingot::platform::vulkan
