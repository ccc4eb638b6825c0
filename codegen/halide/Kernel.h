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

#include "dialects/kernel/KernelSpec.h"

#include "llvm/Support/Error.h"

namespace ingot {

class Target;

/// A text that determines the code: hashed for the kernel cache and printed by -v.
std::string kernelKey(const KernelSpec &spec, const Target &target);
/// The part of it that does not depend on how kernels are made: what this one computes, for which
/// instructions, with which tile.
std::string kernelText(const KernelSpec &spec, const Target &target);

/// Compiles to a relocatable object that defines `spec.name`. Thread-safe.
llvm::Expected<std::string> compileKernel(const KernelSpec &spec, const Target &target);
/// The same as assembly text, for tests that count instructions.
llvm::Expected<std::string> kernelAssembly(const KernelSpec &spec, const Target &target);

} // namespace ingot
