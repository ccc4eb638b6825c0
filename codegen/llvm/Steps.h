// The step functions as LLVM-dialect code: for every launch, a call of its kernel with this
// thread's slices; for every barrier, a call of the runtime's.
#pragma once

#include "targets/Target.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

namespace ingot {

/// What `ingot_main_program` (runtime/core/program.h) says besides its functions.
struct ProgramConstants {
  std::string manifest; ///< flatbuffer bytes
  bool split = false;   ///< the weights have a file of their own
  int64_t weight_bytes = 0, arena_bytes = 0, cache_bytes = 0;
  int32_t vocab_size = 0, context_length = 0;
};

/// Floats from one row of logits to the next: rows are padded as all rows are (KernelSpec.h).
constexpr int64_t logitsStride(int64_t vocab_size) { return (vocab_size + 15) / 16 * 16; }

/// What runs a variant's steps where functions do not: a symbol of the runtime (an ingot_device)
/// and what it is given (runtime/device.fbs).
struct DeviceSteps {
  std::string device, code;
};

/// A planned module (@decode, @prefill, @score, @decodeN) and what its functions are called.
struct StepVariant {
  mlir::ModuleOp planned;
  std::string suffix;
  bool near_memory;   ///< its kernels are given what of that is their thread's
  DeviceSteps device; ///< with an empty symbol, steps become functions
};

/// Lowers planned modules that differ in their kernels to one module of LLVM dialect: a function
/// `ingot_STEP<suffix>` for each step of each, and the global `ingot_main_program`.
llvm::Expected<mlir::OwningOpRef<mlir::ModuleOp>> lowerSteps(llvm::ArrayRef<StepVariant> variants,
                                                             const ProgramConstants &constants);

/// LLVM IR text of the lowered module. Steps are scalar code that calls kernels: they are the same
/// for all machines of a family, and use nothing that not all of them have.
llvm::Expected<std::string> printLlvm(mlir::ModuleOp lowered, const Target &target);
/// Compiles the lowered module to a relocatable object.
llvm::Expected<std::string> compileSteps(mlir::ModuleOp lowered, const Target &target);

} // namespace ingot
