#include "targets/x86/HalfVectors.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/InstIterator.h"
#include "llvm/IR/IntrinsicInst.h"
#include "llvm/IR/IntrinsicsX86.h"
#include "llvm/IR/Module.h"

#include <numeric>

using namespace llvm;

namespace {

Intrinsic::ID halfOf(Intrinsic::ID whole) {
  switch (whole) {
  case Intrinsic::x86_avx512_vpdpbusd_512:
    return Intrinsic::x86_avx512_vpdpbusd_256;
  case Intrinsic::x86_avx512_vpdpwssd_512:
    return Intrinsic::x86_avx512_vpdpwssd_256;
  default:
    return Intrinsic::not_intrinsic;
  }
}

/// `count` elements of a vector from `first` on.
Value *part(IRBuilder<> &builder, Value *vector, unsigned first, unsigned count) {
  SmallVector<int> lanes(count);
  std::iota(lanes.begin(), lanes.end(), int(first));
  return builder.CreateShuffleVector(vector, lanes);
}

void halve(IntrinsicInst &call) {
  IRBuilder<> builder(&call);
  Value *halves[2];
  for (unsigned half : {0u, 1u}) {
    SmallVector<Value *> operands;
    for (Value *operand : call.args()) {
      const unsigned count = cast<FixedVectorType>(operand->getType())->getNumElements() / 2;
      operands.push_back(part(builder, operand, half * count, count));
    }
    halves[half] = builder.CreateIntrinsic(halfOf(call.getIntrinsicID()), operands);
  }
  SmallVector<int> lanes(cast<FixedVectorType>(call.getType())->getNumElements());
  std::iota(lanes.begin(), lanes.end(), 0);
  call.replaceAllUsesWith(builder.CreateShuffleVector(halves[0], halves[1], lanes));
  call.eraseFromParent();
}

} // namespace

void ingot::halveDotProducts(Module &module) {
  for (Function &function : module)
    for (Instruction &instruction : make_early_inc_range(instructions(function)))
      if (auto *call = dyn_cast<IntrinsicInst>(&instruction);
          call && halfOf(call->getIntrinsicID()) != Intrinsic::not_intrinsic)
        halve(*call);
}
