// Kernels of SPIR-V run by the runtime's device on memory of test/codegen/halide/Harness.h.
#pragma once

#include "codegen/spirv/Kernel.h"
#include "test/codegen/halide/Harness.h"

#include <functional>

namespace ingot::test {

/// A sentence when nothing here runs such kernels; null when something does.
const char *missingDevice();

/// Products of matrices of all shapes are to run where a device lists one (INGOT_EVERY_PRODUCT is
/// set): Mesa's lavapipe lists one and runs them all.
bool everyProduct();

/// INGOT_DEVICE_... bits: what the device has, and what forms needed that ran.
uint32_t deviceFeatures();
uint32_t &formsThatRan();

/// Compiles a kernel in each form and runs it; results of all exact forms are the same bits.
class DeviceKernel {
public:
  /// Fails the current test when the kernel does not compile or spirv-val objects to it.
  explicit DeviceKernel(KernelSpec spec, bool per_sequence = false);
  /// All of it, for `tokens` tokens behind `position` others; with per_sequence `positions` has
  /// those of each token, all of one sequence. Arguments begin 64 bytes behind what the device is
  /// told to want, so that displacements count.
  void run(Memory &memory, int32_t tokens, int32_t position = 0,
           const std::vector<int32_t> &positions = {});
  /// Like run; then checks what each form left that sums in an order of its own.
  void run(Memory &memory, int32_t tokens, const std::function<void()> &check);
  /// Like run, of the exact forms only.
  void runExact(Memory &memory, int32_t tokens);

private:
  using Images = std::vector<std::vector<uint8_t>>;
  /// What exact forms leave, and the others.
  void runForms(Memory &memory, int32_t tokens, int32_t position,
                const std::vector<int32_t> &positions, Images &exact, Images &others);
  void take(const std::vector<uint8_t> &image, Memory &memory);

  KernelSpec spec;
  bool per_sequence;
  std::vector<std::string> programs; ///< runtime/device.fbs, one for each form
};

} // namespace ingot::test
