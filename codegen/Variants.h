// The variants of a target (Target::variants) as modules: what code is generated from, one each.
#pragma once

#include "targets/Target.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

namespace ingot {

struct Variant {
  const Target *target = nullptr;
  std::string suffix; ///< of every symbol that the variant defines; empty where it is the only one
  mlir::OwningOpRef<mlir::ModuleOp> module;
};

/// The suffix in a program with kernels for so many machines.
std::string variantSuffix(llvm::StringRef machine, size_t machines);

/// Copies of a module that was lowered for `target`, in the order of its variants: each with its
/// own tiles and names of kernels. Weights, buffers and caches have the same places in all of them:
/// no pass that plans memory reads a tile.
llvm::Expected<std::vector<Variant>> makeVariants(mlir::ModuleOp lowered, const Target &target);

} // namespace ingot
