// Lays out the weights as the kernels read them (PackedLayout) and writes them one after the other.
#pragma once

#include "dialects/kernel/KernelSpec.h"
#include "dialects/lm/Weights.h"

#include "llvm/ADT/STLFunctionalExtras.h"

namespace ingot {

/// What is told while weights are packed.
struct PackObserver {
  /// The bytes of a source are about to be read, by several threads and in no order. A part of the
  /// model's file, or of the module.
  llvm::function_ref<void(llvm::ArrayRef<uint8_t>)> reading;
  /// So many more bytes are written. From several threads.
  llvm::function_ref<void(uint64_t)> written;
};

/// Writes all weights of a planned module to `path`, leaving `reserve` bytes free at the front.
/// A matrix is its codes, then scales, then mins where the encoding has them, each part starting on
/// a 64-byte line (bufferBytes and bufferCount of a matrix value say how long each is). Takes a few
/// MiB of memory for each thread, whatever the size of the model.
llvm::Error writeWeights(mlir::ModuleOp planned, llvm::StringRef path, uint64_t reserve,
                         const PackObserver &observer);

} // namespace ingot
