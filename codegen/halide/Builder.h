// From a KernelSpec to an unscheduled Halide pipeline: one function per op kind makes its value
// from the values of its operands.
#pragma once

#include "codegen/halide/Schedule.h"

#include "llvm/Support/Error.h"

namespace ingot {

class Target;

struct BuiltKernel {
  Halide::Pipeline pipeline;
  std::vector<Halide::Argument> arguments; ///< the four integers, then the input buffers
  ScheduleRequest request;
  bool large_buffers = false; ///< some buffer has more than 2^31 - 1 elements
};

/// Errors name the op that a kernel cannot contain at that place.
llvm::Expected<BuiltKernel> buildKernel(const KernelSpec &spec, const Target &target);

} // namespace ingot
