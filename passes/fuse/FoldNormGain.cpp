// lm-fold-norm-gain: W (x * gain) = (W diag(gain)) x.
#include "passes/Passes.h"

#include "mlir/IR/BuiltinAttributes.h"

using namespace mlir;

namespace ingot {
#define GEN_PASS_DEF_LMFOLDNORMGAIN
#include "passes/Passes.h.inc"

namespace {

struct FoldNormGain : impl::LmFoldNormGainBase<FoldNormGain> {
  void runOnOperation() override {
    SymbolTable symbols(getOperation());
    SmallVector<lm::RmsNormOp> norms;
    getOperation().walk([&](lm::RmsNormOp norm) { norms.push_back(norm); });
    for (lm::RmsNormOp norm : norms) {
      auto ref = norm.getGain().getDefiningOp<lm::RefOp>();
      auto gain = ref ? symbols.lookup<lm::WeightOp>(ref.getSymbol()) : lm::WeightOp();
      if (!gain || !gain.isPlain() || gain.getSymName().starts_with("ones."))
        continue;
      SmallVector<lm::WeightOp> weights;
      const bool foldable = llvm::all_of(norm->getUsers(), [&](Operation *user) {
        auto linear = dyn_cast<lm::LinearOp>(user);
        auto weight_ref = linear ? linear.getWeight().getDefiningOp<lm::RefOp>() : lm::RefOp();
        if (!weight_ref || !weight_ref->hasOneUse())
          return false;
        weights.push_back(symbols.lookup<lm::WeightOp>(weight_ref.getSymbol()));
        return !weights.back().isPlain() && !weights.back().getScale() &&
               !weights.back().getEncoding().isFloat();
      });
      if (!foldable || weights.empty())
        continue;
      for (lm::WeightOp weight : weights)
        weight.setScaleAttr(cast<ElementsAttr>(gain.getSources()[0]));
      useOnes(norm, ref, gain, symbols);
      ++folded;
    }
  }

  void useOnes(lm::RmsNormOp norm, lm::RefOp ref, lm::WeightOp gain, SymbolTable &symbols) {
    RankedTensorType type = gain.getTensorType();
    const std::string name = "ones." + std::to_string(type.getDimSize(0));
    if (!symbols.lookup(name)) {
      OpBuilder builder(gain);
      auto ones = DenseElementsAttr::get(type, 1.0f);
      symbols.insert(lm::WeightOp::create(builder, gain.getLoc(), name, type,
                                          builder.getArrayAttr({ones}), nullptr, nullptr, nullptr,
                                          nullptr));
    }
    OpBuilder builder(norm);
    norm.getGainMutable().assign(lm::RefOp::create(builder, ref.getLoc(), type, name));
    if (ref->use_empty())
      ref.erase();
    if (SymbolTable::symbolKnownUseEmpty(gain, getOperation()))
      symbols.erase(gain);
  }
};

} // namespace
} // namespace ingot
