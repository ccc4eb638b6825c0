// From a KernelSpec to SPIR-V compute shaders.
//
// A kernel is one dispatch of workgroups (x, y). Its bindings are the buffers of its arguments
// (kernelInterface), then the step's parameters (runtime/core/device.h); push constants say how
// many words each argument begins behind where its binding does. Shapes are compiled in. Buffers
// have the layouts of KernelSpec.h, read and written as 32-bit words.
//
// Every sum has an order that depends on neither the number of tokens nor the device: a token's
// results are the same alone and among others.
#pragma once

#include "codegen/spirv/Code.h"
#include "dialects/kernel/KernelSpec.h"

namespace ingot::spirv {

/// Workgroups of a launch: `x`, and in y one for each `tokens_each` tokens of the step and
/// `more_tokens` (0 tokens each: a single one).
struct Grid {
  int64_t x = 1, tokens_each = 0, more_tokens = 0;
};

struct DeviceKernel {
  std::vector<uint32_t> words;
  int64_t shared_bytes = 0;
  Grid grid;
};

/// With `per_sequence`, a kernel of one token runs for each token of the step, with its row, its
/// sequence's cache and its position. Thread-safe.
llvm::Expected<DeviceKernel> compileKernel(const KernelSpec &spec, bool per_sequence,
                                           const Features &features);

} // namespace ingot::spirv
