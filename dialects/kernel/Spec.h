// From the kernel dialect to the plain data that kernels are built from, and the memory that
// launches touch. Read by the passes that tile, pack and plan, and by codegen.
#pragma once

#include "dialects/kernel/Kernel.h"
#include "dialects/kernel/KernelSpec.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace ingot::kernel {

/// The kernel as data, tile included where the function has one. Values are numbered: arguments
/// (without the position), then the results of the operations in order.
llvm::Expected<KernelSpec> specOf(FuncOp function);

/// One use of memory by a launch: where a buffer of a value lies.
struct BufferUse {
  /// Offsets into `cache` are those within the caches of one sequence.
  enum class Space { arena, weights, tokens, logits, cache } space;
  int64_t offset, bytes; ///< bytes: of all tokens
  bool writes;
  KernelArgument argument;
  int64_t token_bytes; ///< `per_sequence`: from one token's row to the next; 0 where all share it
};

/// Offsets of the parts of a value inside its place in the arena, then its whole size; each part
/// starts on a 64-byte line and is large enough for its producer and all its readers.
llvm::SmallVector<int64_t> partOffsets(mlir::Value value);

/// Every buffer of a launch in argument order. Needs planned offsets and packed weights.
llvm::Expected<std::vector<BufferUse>> bufferUses(LaunchOp launch);

/// The launched kernel.
FuncOp calleeOf(LaunchOp launch);

/// The steps of a module, in the order that manifests and devices number them: @decode, @prefill,
/// @score, then those for several sequences, then @embed where there is one.
llvm::SmallVector<mlir::func::FuncOp> stepsOf(mlir::ModuleOp planned);
/// Most tokens that a step takes.
int64_t tokensOf(mlir::func::FuncOp step);

Tile tileFrom(TileAttr attribute);
PackedLayout layoutFrom(LayoutAttr attribute);
LayoutAttr layoutAttr(mlir::MLIRContext *context, const PackedLayout &layout);

/// Rounds up to the 128 bytes on which every buffer starts: two cache lines, and the largest vector
/// that a machine loads as one.
inline int64_t alignLine(int64_t bytes) { return (bytes + 127) / 128 * 128; }

} // namespace ingot::kernel
