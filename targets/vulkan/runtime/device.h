// Vulkan as a device of the runtime.
#pragma once

#include "runtime/core/device.h"

extern "C" const ingot_device ingot_vulkan_device; // NOLINT: extern is not a definition

namespace ingot::platform::vulkan {

/// Null where there is a device; else a clause that says what is missing.
const char *missing();

} // namespace ingot::platform::vulkan
