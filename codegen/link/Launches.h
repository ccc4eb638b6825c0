// The manifest's part on kernels and launches: what steps run, for which layer, and how much work
// that is. Read by a program's --profile.
#pragma once

#include "dialects/kernel/KernelSpec.h"
#include "runtime/manifest_generated.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"

namespace ingot {

struct LaunchTables {
  flatbuffers::Offset<flatbuffers::Vector<flatbuffers::Offset<manifest::Kernel>>> kernels;
  flatbuffers::Offset<flatbuffers::Vector<flatbuffers::Offset<manifest::Step>>> steps;
};
/// `variants`: modules with the kernels of `planned` in the same order, each with tiles of its own.
llvm::Expected<LaunchTables> buildLaunches(flatbuffers::FlatBufferBuilder &buffer,
                                           mlir::ModuleOp planned,
                                           llvm::ArrayRef<mlir::ModuleOp> variants);

/// kernelCost as the manifest has it.
struct CostTerms {
  manifest::Terms macs, weight_bytes, cache_bytes, activation_bytes;
};
CostTerms costTerms(const KernelSpec &spec);

/// Of each launch and barrier of a step, in order: the layer that it works for (manifest
/// Launch.layer).
std::vector<int16_t> launchLayers(mlir::func::FuncOp step);

} // namespace ingot
