// sdot takes 4 elements of 4 rows and multiplies them by 4 of one token:
//
//   sum[row] += codes[row][0..3] . activations[0..3]
//
// smmla takes 8 elements of 2 rows and multiplies them by 8 of 2 tokens, twice the work:
//
//   sum[row][token] += codes[row][0..7] . activations[token][0..7]
//
// Halide knows only the first. So its code is looked through for chains of sdot, one for each of
// two tokens, that take the same codes; two steps of both become two smmla (of rows 0 and 1, of
// rows 2 and 3), whose operands are those of sdot zipped word by word. The sums of a chain start
// zipped and are taken apart at its end.
//
// Zipping codes for every tile of tokens would cost what is gained. Where they come from a buffer
// on the stack that nothing else reads, they are zipped before they are stored.
#include "targets/aarch64/MatrixProducts.h"

#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Analysis/ValueTracking.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/IntrinsicInst.h"
#include "llvm/IR/IntrinsicsAArch64.h"
#include "llvm/IR/Module.h"

#include <map>
#include <optional>

using namespace llvm;

namespace {

/// Words of two registers of bytes, of the lower or the upper halves, in turns.
constexpr int low_words[] = {0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23},
              high_words[] = {8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31};
constexpr int register_bytes = 16, step_bytes = 64; ///< a step: 4 elements of 16 rows

/// One of the 4 words of a register, in all lanes.
struct Word {
  Instruction *source;
  int index;
};

/// Where a byte of a register comes from, through whatever only moves bytes.
std::pair<Value *, unsigned> sourceOf(Value *value, unsigned byte) {
  for (;;) {
    if (auto *cast = dyn_cast<BitCastInst>(value)) {
      value = cast->getOperand(0);
      continue;
    }
    auto *shuffle = dyn_cast<ShuffleVectorInst>(value);
    if (!shuffle)
      return {value, byte};
    auto *from = cast<FixedVectorType>(shuffle->getOperand(0)->getType());
    const unsigned element = unsigned(from->getScalarSizeInBits()) / 8;
    const int place = element ? shuffle->getMaskValue(byte / element) : -1;
    if (place < 0)
      return {nullptr, 0};
    value = shuffle->getOperand(unsigned(place) / from->getNumElements());
    byte = unsigned(place) % from->getNumElements() * element + byte % element;
  }
}

std::optional<Word> splatWord(Value *value) {
  const auto [from, first] = sourceOf(value, 0);
  auto *source = dyn_cast_or_null<Instruction>(from);
  if (!source || first % 4 || source->getType()->getPrimitiveSizeInBits() != 8 * register_bytes)
    return std::nullopt;
  for (unsigned i = 1; i < register_bytes; ++i)
    if (sourceOf(value, i) != std::pair<Value *, unsigned>(source, first + i % 4))
      return std::nullopt;
  return Word{source, int(first) / 4};
}

struct Step {
  IntrinsicInst *dot;
  Instruction *codes;
  Word activations;
};

struct Chain {
  Value *start;
  std::vector<Step> steps;

  bool takesCodesOf(const Chain &other) const {
    return steps.size() == other.steps.size() && all_of(zip(steps, other.steps), [](auto pair) {
             return std::get<0>(pair).codes == std::get<1>(pair).codes;
           });
  }
};

bool isDot(Value *value) {
  auto *call = dyn_cast<IntrinsicInst>(value);
  return call && call->getIntrinsicID() == Intrinsic::aarch64_neon_sdot &&
         cast<FixedVectorType>(call->getType())->getNumElements() == 4;
}

std::optional<Step> stepOf(IntrinsicInst *dot) {
  for (int side : {1, 2})
    if (auto word = splatWord(dot->getArgOperand(side)))
      if (auto *codes = dyn_cast<Instruction>(dot->getArgOperand(3 - side)))
        if (codes->getParent() == dot->getParent() && word->source->getParent() == dot->getParent())
          return Step{dot, codes, *word};
  return std::nullopt;
}

/// Whether two steps of a chain take neighbouring elements of a token: a lower and an upper word.
bool neighbours(const Step &a, const Step &b) {
  return a.activations.source == b.activations.source && a.activations.index % 2 == 0 &&
         b.activations.index == a.activations.index + 1;
}

/// The whole chain that ends with `last`, where it can be rewritten.
std::optional<Chain> chainOf(IntrinsicInst *last) {
  Chain chain;
  for (Value *at = last; isDot(at); at = cast<IntrinsicInst>(at)->getArgOperand(0)) {
    auto *dot = cast<IntrinsicInst>(at);
    if (dot != last && !dot->hasOneUse())
      break;
    auto step = stepOf(dot);
    if (!step || dot->getParent() != last->getParent())
      return std::nullopt;
    chain.steps.push_back(*step);
    chain.start = dot->getArgOperand(0);
  }
  std::reverse(chain.steps.begin(), chain.steps.end());
  if (chain.steps.size() % 2)
    return std::nullopt;
  for (size_t i = 0; i < chain.steps.size(); i += 2)
    if (!neighbours(chain.steps[i], chain.steps[i + 1]))
      return std::nullopt;
  return chain;
}

Instruction *later(Instruction *a, Instruction *b) { return a->comesBefore(b) ? b : a; }

class Rewriter {
public:
  explicit Rewriter(BasicBlock &block) : block(block) {}

  /// The zipped pairs of codes: what may be stored in that order.
  std::vector<std::pair<Instruction *, Instruction *>> run() {
    std::vector<std::vector<Chain>> groups;
    for (Instruction &instruction : block) {
      if (!isDot(&instruction) || any_of(instruction.users(), isDot))
        continue;
      auto chain = chainOf(cast<IntrinsicInst>(&instruction));
      if (!chain)
        continue;
      auto group = find_if(groups, [&](auto &all) { return all[0].takesCodesOf(*chain); });
      if (group == groups.end())
        groups.push_back({*chain});
      else
        group->push_back(*chain);
    }
    for (std::vector<Chain> &group : groups)
      for (size_t i = 0; i + 1 < group.size(); i += 2)
        pair(group[i], group[i + 1]);
    return std::move(zipped);
  }

private:
  static Value *shuffle(Instruction *before, Value *a, Value *b, ArrayRef<int> mask) {
    return IRBuilder<>(before).CreateShuffleVector(a, b, mask);
  }

  /// Rows 0 and 1, rows 2 and 3: 8 elements of each.
  std::pair<Value *, Value *> codesOf(Instruction *first, Instruction *second) {
    auto [place, fresh] = codes.try_emplace({first, second});
    if (fresh) {
      Instruction *before = later(first, second)->getNextNode();
      place->second = {shuffle(before, first, second, low_words),
                       shuffle(before, first, second, high_words)};
      zipped.emplace_back(first, second);
    }
    return place->second;
  }

  /// 8 elements of two tokens, of the lower or the upper half of their registers.
  Value *activationsOf(const Word &a, const Word &b) {
    auto [place, fresh] = activations.try_emplace({a.source, b.source, a.index}, nullptr);
    if (fresh) {
      IRBuilder<> builder(later(a.source, b.source)->getNextNode());
      auto *halves = FixedVectorType::get(builder.getInt64Ty(), 2);
      const int half = a.index / 2;
      Value *both =
          builder.CreateShuffleVector(builder.CreateBitCast(a.source, halves),
                                      builder.CreateBitCast(b.source, halves), {half, 2 + half});
      place->second =
          builder.CreateBitCast(both, FixedVectorType::get(builder.getInt8Ty(), register_bytes));
    }
    return place->second;
  }

  void pair(Chain &a, Chain &b) {
    Instruction *end = later(a.steps.back().dot, b.steps.back().dot);
    for (Chain *chain : {&a, &b})
      for (User *user : chain->steps.back().dot->users())
        if (auto *reads = dyn_cast<Instruction>(user);
            reads->getParent() == &block && !isa<PHINode>(reads) && reads->comesBefore(end))
          return;
    Value *sums[2] = {};
    for (size_t i = 0; i < a.steps.size(); i += 2) {
      if (a.steps[i].activations.index != b.steps[i].activations.index)
        return; // nothing reads what was made until here
      Instruction *at = later(a.steps[i + 1].dot, b.steps[i + 1].dot);
      if (!i) {
        sums[0] = shuffle(at, a.start, b.start, {0, 4, 1, 5});
        sums[1] = shuffle(at, a.start, b.start, {2, 6, 3, 7});
      }
      auto [low, high] = codesOf(a.steps[i].codes, a.steps[i + 1].codes);
      Value *both = activationsOf(a.steps[i].activations, b.steps[i].activations);
      IRBuilder<> builder(at);
      for (auto [sum, rows] : {std::pair(&sums[0], low), std::pair(&sums[1], high)})
        *sum = builder.CreateIntrinsic(Intrinsic::aarch64_neon_smmla,
                                       {(*sum)->getType(), rows->getType()}, {*sum, rows, both});
    }
    a.steps.back().dot->replaceAllUsesWith(shuffle(end, sums[0], sums[1], {0, 2, 4, 6}));
    b.steps.back().dot->replaceAllUsesWith(shuffle(end, sums[0], sums[1], {1, 3, 5, 7}));
    for (Chain *chain : {&a, &b})
      for (const Step &step : reverse(chain->steps))
        step.dot->eraseFromParent();
  }

  BasicBlock &block;
  std::map<std::pair<Instruction *, Instruction *>, std::pair<Value *, Value *>> codes;
  std::map<std::tuple<Instruction *, Instruction *, int>, Value *> activations;
  std::vector<std::pair<Instruction *, Instruction *>> zipped;
};

/// Loads and stores of whole registers, of steps that lie one behind the other in a buffer.
class Buffer {
public:
  explicit Buffer(AllocaInst &memory) : memory(memory) {}

  /// Stores pairs of steps zipped, where all that is loaded is zipped, in those pairs.
  void zipStores(const std::vector<std::pair<Instruction *, Instruction *>> &loads) {
    if (!collect(memory))
      return;
    DenseSet<Instruction *> zipped;
    for (auto [first, second] : loads) {
      if (secondStep(first->getOperand(0)) != 0 || !together(first, second, 0))
        return;
      zipped.insert(first);
      zipped.insert(second);
    }
    if (!all_of(loaded, [&](LoadInst *load) { return zipped.contains(load); }))
      return;
    std::vector<std::pair<StoreInst *, StoreInst *>> pairs;
    for (StoreInst *first : stored) {
      const auto step = secondStep(first->getPointerOperand());
      if (!step)
        return;
      if (*step)
        continue;
      auto second = find_if(stored, [&](StoreInst *other) { return together(first, other, 1); });
      if (second == stored.end())
        return;
      pairs.emplace_back(first, *second);
    }
    if (pairs.size() * 2 != stored.size())
      return;
    for (auto [first, second] : pairs) {
      Instruction *before = later(first, second);
      Value *a = first->getValueOperand(), *b = second->getValueOperand();
      IRBuilder<> builder(before);
      Value *low = builder.CreateShuffleVector(a, b, low_words),
            *high = builder.CreateShuffleVector(a, b, high_words);
      builder.CreateAlignedStore(low, first->getPointerOperand(), first->getAlign());
      builder.CreateAlignedStore(high, second->getPointerOperand(), second->getAlign());
      first->eraseFromParent();
      second->eraseFromParent();
    }
    for (auto [first, second] : loads)
      for (User *user : first->users()) {
        auto *zip = cast<ShuffleVectorInst>(user);
        zip->replaceAllUsesWith(zip->getShuffleMask() == ArrayRef<int>(low_words) ? first : second);
      }
  }

private:
  /// False where something else is done with the memory.
  bool collect(Instruction &pointer) {
    for (User *user : pointer.users()) {
      if (auto *element = dyn_cast<GetElementPtrInst>(user)) {
        if (!collect(*element))
          return false;
      } else if (auto *load = dyn_cast<LoadInst>(user); load && isRegister(load->getType())) {
        loaded.push_back(load);
      } else if (auto *store = dyn_cast<StoreInst>(user);
                 store && store->getPointerOperand() == &pointer &&
                 isRegister(store->getValueOperand()->getType())) {
        stored.push_back(store);
      } else if (auto *call = dyn_cast<IntrinsicInst>(user);
                 !call || !call->isLifetimeStartOrEnd()) {
        return false;
      }
    }
    return true;
  }

  static bool isRegister(Type *type) {
    auto *vector = dyn_cast<FixedVectorType>(type);
    return vector && vector->getElementType()->isIntegerTy(8) &&
           vector->getNumElements() == register_bytes;
  }

  /// Whether an address is in the second one of two steps, which begin at multiples of their size.
  /// Nothing where that is not known.
  std::optional<int> secondStep(Value *pointer) const {
    const DataLayout &layout = memory.getModule()->getDataLayout();
    const KnownBits known = computeKnownBits(pointer, layout);
    const uint64_t bits = 2 * step_bytes - 1;
    if (((known.Zero | known.One).getZExtValue() & bits) != bits)
      return std::nullopt;
    return (known.One.getZExtValue() & bits) >= step_bytes;
  }

  /// Whether two accesses in a block are a step apart.
  bool together(Instruction *first, Instruction *second, unsigned pointer) const {
    const DataLayout &layout = memory.getModule()->getDataLayout();
    APInt a(64, 0), b(64, 0);
    return first->getParent() == second->getParent() &&
           first->getOperand(pointer)->stripAndAccumulateConstantOffsets(layout, a, true) ==
               second->getOperand(pointer)->stripAndAccumulateConstantOffsets(layout, b, true) &&
           b == a + step_bytes;
  }

  AllocaInst &memory;
  std::vector<LoadInst *> loaded;
  std::vector<StoreInst *> stored;
};

/// Whether nothing but the two zips of a pair reads its two loads.
bool onlyZipped(Instruction *first, Instruction *second) {
  return all_of(ArrayRef{first, second}, [&](Instruction *load) {
    return isa<LoadInst>(load) && all_of(load->users(), [&](User *user) {
             auto *zip = dyn_cast<ShuffleVectorInst>(user);
             return zip && zip->getOperand(0) == first && zip->getOperand(1) == second;
           });
  });
}

} // namespace

void ingot::multiplyMatrices(Module &module) {
  for (Function &function : module) {
    MapVector<AllocaInst *, std::vector<std::pair<Instruction *, Instruction *>>> buffers;
    for (BasicBlock &block : function)
      for (auto [first, second] : Rewriter(block).run())
        if (onlyZipped(first, second))
          if (auto *memory = dyn_cast<AllocaInst>(getUnderlyingObject(first->getOperand(0))))
            buffers[memory].emplace_back(first, second);
    for (auto &[memory, loads] : buffers) {
      memory->setAlignment(std::max(memory->getAlign(), Align(2 * step_bytes)));
      Buffer(*memory).zipStores(loads);
    }
  }
}
