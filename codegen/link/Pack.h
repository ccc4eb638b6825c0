// Lays out the weights as the kernels read them (PackedLayout) and writes them one after the other.
#pragma once

#include "dialects/kernel/KernelSpec.h"
#include "dialects/lm/Weights.h"

#include "llvm/ADT/STLFunctionalExtras.h"

namespace ingot {

/// Packs a matrix: codes, then scales, then mins where the encoding has them, each part starting on
/// a 64-byte line (bufferBytes and bufferCount of a matrix value say how long each is).
std::vector<uint8_t> packMatrix(const lm::WeightReader &weight, const PackedLayout &layout);

/// Writes all weights of a planned module to `path`, leaving `reserve` bytes free at the front.
/// `progress(bytes)` is called as bytes are written. Two or three weights are in memory at a time.
llvm::Error writeWeights(mlir::ModuleOp planned, llvm::StringRef path, uint64_t reserve,
                         llvm::function_ref<void(uint64_t)> progress);

} // namespace ingot
