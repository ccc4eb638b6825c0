// The lm dialect: see LmOps.td for the operations, docs/lm-dialect.md for the generated text.
#pragma once

#include "dialects/lm/Encoding.h"

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

namespace ingot {
inline llvm::hash_code hash_value(const Encoding &e) {
  return llvm::hash_combine(e.code, e.bits, e.group_size, e.scale.type, e.scale.sub_bits,
                            e.scale.sub_signed, e.min.type, e.min.sub_bits, e.min.sub_signed);
}
} // namespace ingot

#include "dialects/lm/LmDialect.h.inc"
#include "dialects/lm/LmTypeInterfaces.h.inc"

#define GET_TYPEDEF_CLASSES
#include "dialects/lm/LmTypes.h.inc"

#define GET_OP_CLASSES
#include "dialects/lm/LmOps.h.inc"

namespace ingot::lm {

/// The number format of an element type: !lm.q, f32, f16 or bf16. Nothing for other types.
std::optional<Encoding> encodingOf(mlir::Type elementType);
/// The element type for a number format: builtin floats stay builtin.
mlir::Type elementTypeFor(mlir::MLIRContext *context, const Encoding &encoding);

bool isRows(mlir::Type type);          ///< tensor<Txf32>, 2-D, T static or dynamic
bool isQuantizedRows(mlir::Type type); ///< tensor<TxKx!lm.q<i8 or i16, gN, f32>>
bool isMatrix(mlir::Type type);        ///< static 2-D tensor of a weight format
bool isVector(mlir::Type type);        ///< static 1-D tensor of f32
bool isTokens(mlir::Type type);        ///< 1-D tensor of i32

/// Columns of a 2-D tensor type.
inline int64_t columnsOf(mlir::Value value) {
  return llvm::cast<mlir::RankedTensorType>(value.getType()).getDimSize(1);
}
/// Tokens (ShapedType::kDynamic where dynamic).
inline int64_t tokensOf(mlir::Value value) {
  return llvm::cast<mlir::RankedTensorType>(value.getType()).getDimSize(0);
}
/// The same type with one token, the first dimension.
inline mlir::RankedTensorType oneToken(mlir::RankedTensorType type) {
  llvm::SmallVector<int64_t> shape(type.getShape());
  shape[0] = 1;
  return mlir::RankedTensorType::get(shape, type.getElementType());
}

} // namespace ingot::lm
