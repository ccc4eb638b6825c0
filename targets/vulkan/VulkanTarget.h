// Devices that run SPIR-V by Vulkan.
#pragma once

#include "targets/Target.h"

namespace ingot {

std::vector<TargetName> vulkanTargetNames();
llvm::Expected<std::unique_ptr<Target>> makeVulkanTarget(llvm::StringRef name);
std::string vulkanFullName(llvm::StringRef part);

} // namespace ingot
