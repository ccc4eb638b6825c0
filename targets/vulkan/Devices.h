// The table of Vulkan devices whose speed `--predict` knows. A program runs on any device: nothing
// else asks which one.
#pragma once

#include "dialects/kernel/KernelSpec.h"
#include "llvm/ADT/ArrayRef.h"

namespace ingot::vulkan {

/// What a device does at its best: 10^12 multiply-adds a second by each of the ways that kernels
/// have. 0: the device does not have it, and programs take what is before it in this list.
struct Device {
  const char *name, *description;
  double memory_gbps;
  double floats;        ///< f32
  double bytes;         ///< dot products of 4 bytes
  double half_matrices; ///< cooperative matrices, f16 x f16 -> f32
  double byte_matrices; ///< cooperative matrices, s8 x s8 -> s32
};

llvm::ArrayRef<Device> devices();

/// What a launch takes that does nothing, behind a barrier: assumed, the same for all.
constexpr double launch_nanoseconds = 3000;

/// Nanoseconds that a kernel takes at least: memory passes its weights, cache and activations, or
/// arithmetic is done.
double estimate(const Device &device, const KernelSpec &spec, int64_t tokens, int64_t position);

} // namespace ingot::vulkan
