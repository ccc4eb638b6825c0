// A planned module as what a device is given: its kernels as SPIR-V, its steps as launches.
#pragma once

#include "codegen/spirv/Kernel.h"
#include "runtime/device_generated.h"

#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"

#include <string>

namespace ingot::spirv {

flatbuffers::Offset<device::Form> createForm(flatbuffers::FlatBufferBuilder &buffer,
                                             const Features &features, const DeviceKernel &kernel);

/// Bytes of scratch of all kernels (Kernel.h).
llvm::Expected<uint64_t> scratchBytes(mlir::ModuleOp planned);

/// A flatbuffer, runtime/device.fbs.
llvm::Expected<std::string> compileProgram(mlir::ModuleOp planned);

} // namespace ingot::spirv
