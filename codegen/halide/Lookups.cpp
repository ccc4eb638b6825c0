#include "codegen/halide/Lookups.h"

#include "targets/Target.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/IR/Constants.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/InstIterator.h"
#include "llvm/IR/Module.h"
#include "llvm/IR/ValueHandle.h"
#include "llvm/Transforms/Utils/Local.h"

#include <numeric>
#include <optional>

using namespace ingot;

namespace {

/// The functions' names end in the bytes of their tables.
constexpr llvm::StringRef prefix = "ingot_table_";
constexpr unsigned entries = 16;

Halide::Expr call(const std::string &bytes, Halide::Type type, const Halide::Expr &index) {
  return Halide::Internal::Call::make(type, (prefix + llvm::toHex(bytes)).str(), {index},
                                      Halide::Internal::Call::PureExtern);
}

llvm::Value *lanes(llvm::IRBuilder<> &builder, llvm::Value *vector, llvm::ArrayRef<int> which) {
  return builder.CreateShuffleVector(vector, which);
}

std::vector<int> range(int first, unsigned count) {
  std::vector<int> all(count);
  std::iota(all.begin(), all.end(), first);
  return all;
}

/// Vectors that are made lane by lane of what a table has for the lanes of another.
class Lookups {
public:
  Lookups(llvm::Function &function, const Machine &machine)
      : function(function), machine(machine),
        table(llvm::fromHex(function.getName().drop_front(prefix.size()))) {}

  void lower() {
    llvm::SetVector<llvm::InsertElementInst *> ends;
    for (llvm::User *user : function.users())
      for (llvm::User *insert : user->users())
        if (auto *end = llvm::dyn_cast<llvm::InsertElementInst>(insert))
          ends.insert(lastOf(end));
    // One may be a part of another.
    std::vector<std::pair<llvm::WeakTrackingVH, Vector>> vectors;
    for (llvm::InsertElementInst *end : ends)
      if (auto vector = vectorOf(end))
        vectors.emplace_back(end, *vector);
    function.setWillReturn(); // what nobody asks for any more may go
    for (auto &[end, vector] : vectors)
      if (auto *instruction = llvm::dyn_cast_or_null<llvm::InsertElementInst>(end))
        replace(instruction, vector);
    for (llvm::User *user : llvm::make_early_inc_range(function.users())) {
      auto *one = llvm::cast<llvm::CallInst>(user);
      if (!one->use_empty())
        one->replaceAllUsesWith(load(one));
      one->eraseFromParent();
    }
    function.eraseFromParent();
  }

private:
  struct Vector {
    llvm::Value *indices;
    std::vector<int> lanes; ///< of `indices`, for each of the vector; -1: nobody's
  };

  static llvm::InsertElementInst *lastOf(llvm::InsertElementInst *insert) {
    while (insert->hasOneUse())
      if (auto *next = llvm::dyn_cast<llvm::InsertElementInst>(*insert->user_begin());
          next && next->getOperand(0) == insert)
        insert = next;
      else
        break;
    return insert;
  }

  std::optional<Vector> vectorOf(llvm::InsertElementInst *end) const {
    Vector vector{nullptr, {}};
    auto *type = llvm::cast<llvm::FixedVectorType>(end->getType());
    vector.lanes.assign(type->getNumElements(), -1);
    llvm::Value *at = end;
    for (; auto *insert = llvm::dyn_cast<llvm::InsertElementInst>(at); at = insert->getOperand(0)) {
      auto *lane = llvm::dyn_cast<llvm::ConstantInt>(insert->getOperand(2));
      auto *one = llvm::dyn_cast<llvm::CallInst>(insert->getOperand(1));
      if (!lane || !one || one->getCalledFunction() != &function)
        return std::nullopt;
      auto *index = llvm::dyn_cast<llvm::ExtractElementInst>(one->getArgOperand(0));
      auto *from = index ? llvm::dyn_cast<llvm::ConstantInt>(index->getIndexOperand()) : nullptr;
      if (!from || (vector.indices && vector.indices != index->getVectorOperand()))
        return std::nullopt;
      vector.indices = index->getVectorOperand();
      int &place = vector.lanes[lane->getZExtValue()];
      if (place < 0) // else a later one took its place
        place = static_cast<int>(from->getZExtValue());
    }
    if (!llvm::isa<llvm::UndefValue>(at) || !vector.indices)
      return std::nullopt;
    return vector;
  }

  void replace(llvm::InsertElementInst *end, const Vector &vector) {
    llvm::IRBuilder<> builder(end);
    llvm::Value *indices = lanes(builder, vector.indices, vector.lanes);
    end->replaceAllUsesWith(lookUp(builder, indices));
    llvm::RecursivelyDeleteTriviallyDeadInstructions(end);
  }

  llvm::Value *lookUp(llvm::IRBuilder<> &builder, llvm::Value *indices) {
    auto *type = llvm::cast<llvm::FixedVectorType>(indices->getType());
    const unsigned count = type->getNumElements();
    if (machine.table_lookups.empty())
      return gather(builder, indices, count);
    // The narrowest that takes all at once, or the widest, several times.
    const TableLookup *chosen = &machine.table_lookups.back();
    for (const TableLookup &each : llvm::reverse(machine.table_lookups))
      if (each.bytes >= count)
        chosen = &each;
    const unsigned width = chosen->bytes;
    std::vector<uint8_t> repeated;
    for (unsigned i = 0; i < width; ++i)
      repeated.push_back(static_cast<uint8_t>(table[i % entries]));
    llvm::Value *numbers = llvm::ConstantDataVector::get(builder.getContext(), repeated);
    llvm::FunctionCallee instruction = function.getParent()->getOrInsertFunction(
        chosen->intrinsic, numbers->getType(), numbers->getType(), numbers->getType());
    llvm::Value *all = nullptr;
    for (unsigned first = 0; first < count; first += width) {
      std::vector<int> part = range(static_cast<int>(first), width);
      for (int &lane : part)
        if (lane >= static_cast<int>(count))
          lane = -1;
      llvm::Value *found =
          builder.CreateCall(instruction, {numbers, lanes(builder, indices, part)});
      if (first) { // both as long as what there is by now
        std::vector<int> fit = range(0, std::max(first, width));
        for (int &lane : fit)
          if (lane >= static_cast<int>(width))
            lane = -1;
        found = builder.CreateShuffleVector(
            all, first == width ? found : lanes(builder, found, fit), range(0, first + width));
      }
      all = found;
    }
    return lanes(builder, all, range(0, count));
  }

  /// LLVM has instructions for it, or loads number by number.
  llvm::Value *gather(llvm::IRBuilder<> &builder, llvm::Value *indices, unsigned count) {
    llvm::Value *wide =
        builder.CreateZExt(indices, llvm::FixedVectorType::get(builder.getInt32Ty(), count));
    llvm::Value *places = builder.CreateGEP(builder.getInt8Ty(), memory(), wide);
    return builder.CreateMaskedGather(indices->getType(), places, llvm::Align(1));
  }

  llvm::Value *load(llvm::CallInst *one) {
    llvm::IRBuilder<> builder(one);
    llvm::Value *index = builder.CreateZExt(one->getArgOperand(0), builder.getInt32Ty());
    return builder.CreateLoad(builder.getInt8Ty(),
                              builder.CreateGEP(builder.getInt8Ty(), memory(), index));
  }

  llvm::Value *memory() {
    if (!constant) {
      auto *numbers = llvm::ConstantDataArray::getString(function.getContext(), table, false);
      constant = new llvm::GlobalVariable(*function.getParent(), numbers->getType(), true,
                                          llvm::GlobalValue::PrivateLinkage, numbers, "table");
      constant->setUnnamedAddr(llvm::GlobalValue::UnnamedAddr::Global);
    }
    return constant;
  }

  llvm::Function &function;
  const Machine &machine;
  const std::string table;
  llvm::GlobalVariable *constant = nullptr;
};

} // namespace

Halide::Expr ingot::lookUp(llvm::ArrayRef<int8_t> table, Halide::Expr index) {
  return call(std::string(table.begin(), table.end()), Halide::Int(8), index);
}

Halide::Expr ingot::lookUpAbove(llvm::ArrayRef<int8_t> table, int least, Halide::Expr index) {
  std::string above;
  for (const int8_t number : table)
    above += static_cast<char>(number - least);
  return call(above, Halide::UInt(8), index);
}

void ingot::lowerLookups(llvm::Module &module, const Machine &machine) {
  for (llvm::Function &function : llvm::make_early_inc_range(module))
    if (function.getName().starts_with(prefix))
      Lookups(function, machine).lower();
}
