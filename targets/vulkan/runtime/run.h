// How a session's steps run (commands.cpp): what ingot_vulkan_device points at.
#pragma once

#include "runtime/core/plan.h"
#include "targets/vulkan/runtime/session.h"

namespace ingot::platform::vulkan {

ingot_status run_step(ingot_device_session *session, int32_t step,
                      const ingot_step_context *context);
ingot_status copy_cache(ingot_device_session *session, int32_t from, int32_t to, int32_t position);

} // namespace ingot::platform::vulkan
