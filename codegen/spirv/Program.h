// A planned module as what a device is given: its kernels as SPIR-V, its steps as launches.
#pragma once

#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"

#include <string>

namespace ingot::spirv {

/// Bytes of scratch of all kernels (Kernel.h).
llvm::Expected<uint64_t> scratchBytes(mlir::ModuleOp planned);

/// A flatbuffer, runtime/device.fbs.
llvm::Expected<std::string> compileProgram(mlir::ModuleOp planned);

} // namespace ingot::spirv
