// Passes that merge linear layers of one input: lm-fuse-qkv and lm-fuse-gate-up.
#include "passes/Passes.h"

using namespace mlir;

namespace ingot {
#define GEN_PASS_DEF_LMFUSEQKV
#define GEN_PASS_DEF_LMFUSEGATEUP
#include "passes/Passes.h.inc"

namespace {

lm::WeightOp weightOf(lm::LinearOp linear, SymbolTable &symbols) {
  auto ref = linear.getWeight().getDefiningOp<lm::RefOp>();
  return ref && ref->hasOneUse() ? symbols.lookup<lm::WeightOp>(ref.getSymbol()) : lm::WeightOp();
}

/// Merging keeps one scale, and one interleave, for all rows.
bool canMerge(lm::WeightOp a, lm::WeightOp b) {
  return a.getTensorType().getElementType() == b.getTensorType().getElementType() &&
         a.getScaleAttr() == b.getScaleAttr() && !a.getInterleave() && !b.getInterleave();
}

/// "blk.0.attn_q.weight", "blk.0.attn_k.weight" -> "blk.0.attn_q_attn_k".
std::string mergedName(ArrayRef<lm::WeightOp> weights) {
  std::string name;
  for (lm::WeightOp weight : weights) {
    StringRef part = weight.getSymName();
    part.consume_back(".weight");
    if (!name.empty())
      part = part.substr(part.rfind('.') + 1);
    name += (name.empty() ? "" : "_") + part.str();
  }
  return name;
}

/// A linear layer with the rows of all `linears`, placed at the first of them. The merged weight
/// replaces theirs.
lm::LinearOp merge(ArrayRef<lm::LinearOp> linears, ArrayRef<lm::WeightOp> weights,
                   IntegerAttr interleave, SymbolTable &symbols) {
  OpBuilder builder(weights.front());
  SmallVector<Attribute> sources;
  int64_t rows = 0;
  for (lm::WeightOp weight : weights) {
    llvm::append_range(sources, weight.getSources());
    rows += weight.getTensorType().getDimSize(0);
  }
  lm::WeightOp front = weights.front();
  RankedTensorType first = front.getTensorType();
  auto type = RankedTensorType::get({rows, first.getDimSize(1)}, first.getElementType());
  SmallVector<Location> locations;
  for (lm::LinearOp linear : linears)
    locations.push_back(linear.getLoc());
  Location location = builder.getFusedLoc(locations);
  auto weight = lm::WeightOp::create(builder, location, mergedName(weights), type,
                                     builder.getArrayAttr(sources), front.getScaleAttr(),
                                     interleave, nullptr, nullptr);
  symbols.insert(weight);

  builder.setInsertionPoint(linears.front());
  auto ref = lm::RefOp::create(builder, location, type, weight.getSymName());
  lm::LinearOp first_linear = linears.front();
  Value x = first_linear.getX();
  auto result = RankedTensorType::get({lm::tokensOf(x), rows}, builder.getF32Type());
  auto merged = lm::LinearOp::create(builder, location, result, x, ref);
  for (lm::WeightOp old : weights)
    symbols.erase(old);
  return merged;
}

void replaceAndErase(lm::LinearOp linear, Value replacement) {
  Operation *ref = linear.getWeight().getDefiningOp();
  linear.getResult().replaceAllUsesWith(replacement);
  linear.erase();
  ref->erase();
}

bool feedsGate(lm::LinearOp linear) {
  return llvm::any_of(linear->getUsers(), [](Operation *user) { return isa<lm::SiluMulOp>(user); });
}

struct FuseQkv : impl::LmFuseQkvBase<FuseQkv> {
  void runOnOperation() override {
    SymbolTable symbols(getOperation());
    // Groups of linear layers that read the same value, in program order.
    llvm::MapVector<Value, SmallVector<lm::LinearOp>> readers;
    getOperation().walk([&](lm::LinearOp linear) {
      if (!feedsGate(linear))
        readers[linear.getX()].push_back(linear);
    });
    for (auto &[x, linears] : readers) {
      SmallVector<lm::LinearOp> group;
      SmallVector<lm::WeightOp> weights;
      for (lm::LinearOp linear : linears) {
        lm::WeightOp weight = weightOf(linear, symbols);
        if (!weight || (!weights.empty() && !canMerge(weights.front(), weight)))
          continue;
        group.push_back(linear);
        weights.push_back(weight);
      }
      if (group.size() < 2)
        continue;
      lm::LinearOp merged = merge(group, weights, nullptr, symbols);
      OpBuilder builder(getOperation());
      Operation *last = merged;
      int64_t offset = 0;
      for (lm::LinearOp linear : group) {
        builder.setInsertionPointAfter(last);
        auto slice = lm::SliceOp::create(builder, linear.getLoc(), linear.getResult().getType(),
                                         merged, offset);
        last = slice;
        offset += lm::columnsOf(linear.getResult());
        replaceAndErase(linear, slice);
        ++fused;
      }
      --fused;
    }
  }
};

struct FuseGateUp : impl::LmFuseGateUpBase<FuseGateUp> {
  using LmFuseGateUpBase::LmFuseGateUpBase;

  void runOnOperation() override {
    SymbolTable symbols(getOperation());
    SmallVector<lm::SiluMulOp> gates;
    getOperation().walk([&](lm::SiluMulOp op) { gates.push_back(op); });
    for (lm::SiluMulOp op : gates) {
      auto gate = op.getGate().getDefiningOp<lm::LinearOp>();
      auto up = op.getUp().getDefiningOp<lm::LinearOp>();
      if (!gate || !up || gate == up || gate.getX() != up.getX() || !gate->hasOneUse() ||
          !up->hasOneUse() || lm::columnsOf(op.getResult()) % block)
        continue;
      lm::WeightOp gate_weight = weightOf(gate, symbols), up_weight = weightOf(up, symbols);
      if (!gate_weight || !up_weight || !canMerge(gate_weight, up_weight))
        continue;
      OpBuilder builder(op);
      // The merged layer takes the place of whichever came first.
      lm::LinearOp first = gate->isBeforeInBlock(up) ? gate : up;
      lm::LinearOp merged =
          merge({gate, up}, {gate_weight, up_weight}, builder.getI64IntegerAttr(block), symbols);
      merged->moveBefore(first);
      merged.getWeight().getDefiningOp()->moveBefore(merged);
      auto split = lm::SplitOp::create(builder, op.getLoc(), gate.getResult().getType(),
                                       up.getResult().getType(), merged, block);
      replaceAndErase(gate, split.getFirst());
      replaceAndErase(up, split.getSecond());
      ++fused;
    }
  }
};

} // namespace
} // namespace ingot
