// From a KernelSpec to SPIR-V compute shaders.
//
// A kernel is one dispatch of workgroups (x, y, z). Its bindings are the buffers of its arguments
// (kernelInterface), then scratch where it has some, then the step's parameters
// (runtime/core/device.h); push constants say how many words each argument begins behind where its
// binding does. Shapes are compiled in. Buffers have the layouts of KernelSpec.h, read and written
// as 32-bit words.
//
// Every sum has an order that depends on neither the number of tokens nor the device: a token's
// results are the same alone and among others.
#pragma once

#include "codegen/spirv/Code.h"
#include "dialects/kernel/KernelSpec.h"

namespace ingot::spirv {

/// Workgroups of a launch: `y`; in x one for each `tokens_each` tokens of the step and
/// `more_tokens` (0 tokens each: a single one); in z one for each `keys_each` positions of the
/// longest sequence (0: a single one). Devices begin those of one y side by side: they read the
/// same weights, or the same head's keys, which so pass memory once.
struct Grid {
  int64_t y = 1, tokens_each = 0, more_tokens = 0, keys_each = 0;
};

struct DeviceKernel {
  std::vector<uint32_t> words;
  int64_t shared_bytes = 0;
  /// Of a buffer behind those of the arguments, for each token of the step: this kernel's alone,
  /// and zeros before it first runs. 0: there is no such buffer.
  int64_t scratch_bytes = 0;
  Grid grid;
};

/// The forms that a kernel has, best first; the last one runs everywhere. Those that are
/// exact (Features) give the same bits.
std::vector<Features> formsOf(const KernelSpec &spec);

/// What DeviceKernel::scratch_bytes will be.
int64_t scratchBytes(const KernelSpec &spec);

/// With `per_sequence`, a kernel of one token runs for each token of the step, with its row, its
/// sequence's cache and its position. Thread-safe.
llvm::Expected<DeviceKernel> compileKernel(const KernelSpec &spec, bool per_sequence,
                                           const Features &features);

} // namespace ingot::spirv
