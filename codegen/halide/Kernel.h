// From a KernelSpec to machine code.
//
// Every kernel has one C signature:
//   int32_t NAME(int32_t begin, int32_t extent, int32_t tokens, int32_t position,
//                halide_buffer_t *arg0, halide_buffer_t *arg1, ...)
// It computes slices [begin, begin + extent) of its outputs. Bounds and strides are compiled in, so
// of each halide_buffer_t only `host` is read. `host` of an argument with slice_stride_bytes != 0
// points at slice `begin` (base + begin * slice_stride_bytes); every other points at its base.
// Kernels never allocate from the heap, never report errors, never start threads.
#pragma once

#include "codegen/halide/KernelSpec.h"

namespace ingot {

class Target;

struct KernelArgument {
  int32_t value;                  ///< index into KernelSpec::values
  int32_t part;                   ///< which buffer of that value (see KernelValue)
  int64_t slice_stride_bytes = 0; ///< outputs that are cut by slices
};

struct KernelInterface {
  std::vector<KernelArgument> arguments;
  SliceAxis axis = SliceAxis::tokens;
  int64_t slices = 0; ///< how many there are; 0: as many as the step has tokens
  int64_t grain = 1;  ///< slices are handed out in multiples of this
};

/// The interface follows from the spec alone.
KernelInterface kernelInterface(const KernelSpec &spec);

/// Buffers of tokens are padded to a multiple of this, so that kernels of one step may have any
/// Tile::token_tile that divides it. What padding tokens hold is unspecified.
constexpr int32_t kTokenPadding = 24;
int64_t paddedTokens(int32_t max_tokens); ///< 1 stays 1

/// Bytes of one buffer of a value, padding included (what the memory planner reserves).
/// Rows (and vectors) are padded to 16 floats, matrices to whole blocks of rows, caches to 16
/// positions, tokens to kTokenPadding.
int64_t bufferBytes(const KernelSpec &spec, int32_t value, int32_t part);
/// How many buffers a value expands to.
int32_t bufferCount(const KernelValue &value, CodeKind kv);

/// Multiply-accumulates and bytes touched for `tokens` tokens at `position`: used by bench,
/// inspect, and the tile choice.
struct KernelCost {
  int64_t macs = 0, weight_bytes = 0, cache_bytes = 0, activation_bytes = 0;
};
KernelCost kernelCost(const KernelSpec &spec, int64_t tokens, int64_t position);

/// A text that determines the code: hashed for the kernel cache and printed by -v.
std::string kernelKey(const KernelSpec &spec, const Target &target);

/// Compiles to a relocatable object that defines `spec.name`. Thread-safe.
llvm::Expected<std::string> compileKernel(const KernelSpec &spec, const Target &target);
/// The same as assembly text, for tests that count instructions.
llvm::Expected<std::string> kernelAssembly(const KernelSpec &spec, const Target &target);

} // namespace ingot
