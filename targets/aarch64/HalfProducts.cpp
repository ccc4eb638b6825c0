// fmla takes floats; halves are widened for it, four to an instruction:
//
//   sum[i] = fma(f32(a[i]), f32(b), sum[i]), 4 of them
//
// fmlal and fmlal2 take the lower and the upper 4 of 8 halves as they are, and b from any lane of a
// register. The product of two halves fits a float's exponent and has at most 22 digits, so one
// rounding is all that either does, and the bits are the same. LLVM does not make them of the first
// form, so that is done here, before it selects instructions.
#include "targets/aarch64/HalfProducts.h"

#include "llvm/Analysis/ValueTracking.h"
#include "llvm/Analysis/VectorUtils.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/IntrinsicInst.h"
#include "llvm/IR/IntrinsicsAArch64.h"
#include "llvm/IR/Module.h"
#include "llvm/Transforms/Utils/Local.h"

#include <numeric>

using namespace llvm;

namespace {

constexpr unsigned sum_lanes = 4, half_lanes = 8; ///< of a register

/// True for small integers, made floats, that halves hold as well: LLVM forgets that they were
/// some.
bool halvesHold(Instruction &cast) {
  constexpr unsigned digits = 11;
  Value *from = cast.getOperand(0);
  const DataLayout &layout = cast.getModule()->getDataLayout();
  if (isa<UIToFPInst>(cast))
    return computeKnownBits(from, layout).countMaxActiveBits() <= digits;
  return ComputeMaxSignificantBits(from, layout) <= digits + 1;
}

/// True for floats that are halves, widened or moved about.
bool wereHalves(Value *value) {
  if (isa<UndefValue>(value))
    return true;
  if (isa<UIToFPInst, SIToFPInst>(value))
    return halvesHold(*cast<Instruction>(value));
  if (auto *cast = dyn_cast<FPExtInst>(value))
    return cast->getSrcTy()->getScalarType()->isHalfTy();
  if (auto *shuffle = dyn_cast<ShuffleVectorInst>(value))
    return wereHalves(shuffle->getOperand(0)) && wereHalves(shuffle->getOperand(1));
  if (auto *insert = dyn_cast<InsertElementInst>(value))
    return wereHalves(insert->getOperand(0)) && wereHalves(insert->getOperand(1));
  auto *extract = dyn_cast<ExtractElementInst>(value);
  return extract && wereHalves(extract->getVectorOperand());
}

/// Those halves.
Value *halvesOf(IRBuilder<> &builder, Value *value) {
  Type *half = value->getType()->getWithNewType(builder.getHalfTy());
  if (isa<UndefValue>(value))
    return PoisonValue::get(half);
  if (isa<UIToFPInst, SIToFPInst>(value)) {
    Value *code = cast<Instruction>(value)->getOperand(0);
    if (code->getType()->getScalarSizeInBits() > 16)
      code = builder.CreateTrunc(code, code->getType()->getWithNewType(builder.getInt16Ty()));
    return builder.CreateCast(cast<CastInst>(value)->getOpcode(), code, half);
  }
  if (auto *cast = dyn_cast<FPExtInst>(value))
    return cast->getOperand(0);
  if (auto *shuffle = dyn_cast<ShuffleVectorInst>(value))
    return builder.CreateShuffleVector(halvesOf(builder, shuffle->getOperand(0)),
                                       halvesOf(builder, shuffle->getOperand(1)),
                                       shuffle->getShuffleMask());
  if (auto *insert = dyn_cast<InsertElementInst>(value))
    return builder.CreateInsertElement(halvesOf(builder, insert->getOperand(0)),
                                       halvesOf(builder, insert->getOperand(1)),
                                       insert->getOperand(2));
  auto *extract = cast<ExtractElementInst>(value);
  return builder.CreateExtractElement(halvesOf(builder, extract->getVectorOperand()),
                                      extract->getIndexOperand());
}

/// One half in all lanes: a lane of the register that it is in, where it is known. That is said
/// anew where it is used, because instructions are selected block by block.
Value *splatOf(IRBuilder<> &builder, Value *value) {
  Value *one = getSplatValue(value);
  if (auto *cast = dyn_cast_or_null<FPExtInst>(one))
    one = cast->getOperand(0);
  auto *extract = dyn_cast_or_null<ExtractElementInst>(one);
  auto *lane = extract ? dyn_cast<ConstantInt>(extract->getIndexOperand()) : nullptr;
  auto *type = extract ? dyn_cast<FixedVectorType>(extract->getVectorOperandType()) : nullptr;
  if (!lane || !type->getElementType()->isHalfTy())
    return nullptr;
  const unsigned lanes = cast<FixedVectorType>(value->getType())->getNumElements();
  return builder.CreateShuffleVector(extract->getVectorOperand(),
                                     SmallVector<int>(lanes, int(lane->getZExtValue())));
}

/// Lanes of a vector, in order.
Value *lanesOf(IRBuilder<> &builder, Value *vector, unsigned first, unsigned count) {
  SmallVector<int> mask(count);
  std::iota(mask.begin(), mask.end(), int(first));
  return builder.CreateShuffleVector(vector, mask);
}

bool isProductOfHalves(const IntrinsicInst &call) {
  auto *type = dyn_cast<FixedVectorType>(call.getType());
  return call.getIntrinsicID() == Intrinsic::fma && type && type->getElementType()->isFloatTy() &&
         type->getNumElements() % half_lanes == 0 && wereHalves(call.getArgOperand(0)) &&
         wereHalves(call.getArgOperand(1));
}

void rewrite(IntrinsicInst &call) {
  IRBuilder<> builder(&call);
  Value *factors[] = {call.getArgOperand(0), call.getArgOperand(1)};
  if (isSplatValue(factors[0])) // only the second may be a lane of a register
    std::swap(factors[0], factors[1]);
  Value *a = halvesOf(builder, factors[0]), *b = splatOf(builder, factors[1]),
        *sum = call.getArgOperand(2);
  if (!b)
    b = halvesOf(builder, factors[1]);
  const unsigned lanes = cast<FixedVectorType>(call.getType())->getNumElements();
  Type *result = FixedVectorType::get(builder.getFloatTy(), sum_lanes),
       *halves = FixedVectorType::get(builder.getHalfTy(), half_lanes);
  SmallVector<Value *> parts;
  for (unsigned first = 0; first < lanes; first += half_lanes) {
    Value *a_part = lanesOf(builder, a, first, half_lanes),
          *b_part = lanesOf(builder, b, first, half_lanes);
    for (auto [product, at] : {std::pair(Intrinsic::aarch64_neon_fmlal, first),
                               std::pair(Intrinsic::aarch64_neon_fmlal2, first + sum_lanes)})
      parts.push_back(builder.CreateIntrinsic(
          product, {result, halves}, {lanesOf(builder, sum, at, sum_lanes), a_part, b_part}));
  }
  call.replaceAllUsesWith(concatenateVectors(builder, parts));
  SmallVector<WeakTrackingVH> operands(call.args());
  call.eraseFromParent();
  RecursivelyDeleteTriviallyDeadInstructionsPermissive(operands);
}

} // namespace

void ingot::multiplyHalves(Module &module) {
  for (Function &function : module)
    for (BasicBlock &block : function)
      for (Instruction &instruction : make_early_inc_range(block))
        if (auto *call = dyn_cast<IntrinsicInst>(&instruction); call && isProductOfHalves(*call))
          rewrite(*call);
}
