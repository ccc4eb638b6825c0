// What ingot_vulkan_device points at: how a session's steps run, and its caches.
#pragma once

#include "runtime/core/plan.h"
#include "targets/vulkan/runtime/session.h"

namespace ingot::platform::vulkan {

ingot_status run_step(ingot_device_session *session, int32_t step,
                      const ingot_step_context *context);
ingot_status copy_cache(ingot_device_session *session, int32_t from, int32_t to, int32_t position);
// memory.cpp
ingot_status read_cache(ingot_device_session *session, int32_t sequence, int32_t position,
                        uint8_t *filled);
ingot_status write_cache(ingot_device_session *session, int32_t sequence, int32_t position,
                         const uint8_t *filled);

} // namespace ingot::platform::vulkan
