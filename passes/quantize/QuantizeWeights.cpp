// Passes that choose number formats: lm-quantize-weights, lm-legalize-encodings and
// lm-quantize-activations.
#include "dialects/lm/Weights.h"
#include "passes/Passes.h"
#include "support/Error.h"
#include "targets/Target.h"

#include <numeric>

using namespace mlir;

namespace ingot {
#define GEN_PASS_DEF_LMQUANTIZEWEIGHTS
#define GEN_PASS_DEF_LMLEGALIZEENCODINGS
#define GEN_PASS_DEF_LMQUANTIZEACTIVATIONS
#include "passes/Passes.h.inc"

namespace {

/// Every matrix with the references to it.
struct MatrixUse {
  lm::WeightOp weight;
  SmallVector<lm::RefOp> refs;
  bool is_output = false; ///< read by lm.logits or lm.embedding
  bool is_linear = false;
};

SmallVector<MatrixUse> collectMatrices(ModuleOp module) {
  SmallVector<MatrixUse> uses;
  llvm::StringMap<size_t> index;
  for (auto weight : module.getOps<lm::WeightOp>())
    if (lm::isMatrix(weight.getType())) {
      index[weight.getSymName()] = uses.size();
      uses.push_back({weight, {}, false, false});
    }
  module.walk([&](lm::RefOp ref) {
    auto found = index.find(ref.getSymbol());
    if (found == index.end())
      return;
    MatrixUse &use = uses[found->second];
    use.refs.push_back(ref);
    for (Operation *user : ref->getUsers()) {
      use.is_output |= isa<lm::LogitsOp, lm::EmbeddingOp>(user);
      use.is_linear |= isa<lm::LinearOp>(user);
    }
  });
  return uses;
}

void setEncoding(MatrixUse &use, const Encoding &encoding) {
  RankedTensorType type = use.weight.getTensorType();
  auto changed =
      RankedTensorType::get(type.getShape(), lm::elementTypeFor(type.getContext(), encoding));
  use.weight.setType(changed);
  for (lm::RefOp ref : use.refs)
    ref.getResult().setType(changed);
}

struct QuantizeWeights : impl::LmQuantizeWeightsBase<QuantizeWeights> {
  using LmQuantizeWeightsBase::LmQuantizeWeightsBase;

  std::optional<Encoding> parse(StringRef text) {
    auto encoding = Encoding::parseSpec(text);
    if (encoding)
      return *encoding;
    emitError(UnknownLoc::get(&getContext())) << llvm::toString(encoding.takeError());
    signalPassFailure();
    return std::nullopt;
  }

  void runOnOperation() override {
    std::optional<Encoding> body, head;
    if (!spec.empty() && !(body = parse(spec)))
      return;
    if (!output.empty() && !(head = parse(output)))
      return;
    if (!head && body) {
      head = body;
      if (!head->isFloat() && head->bits < 8)
        head = *Encoding::parse("i8, g32, f16");
    }
    for (MatrixUse &use : collectMatrices(getOperation())) {
      const std::optional<Encoding> &wanted = use.is_output ? head : body;
      if (!wanted || (!use.is_output && !use.is_linear) || use.weight.getEncoding() == *wanted)
        continue;
      const int64_t columns = use.weight.getTensorType().getDimSize(1);
      if (!wanted->rowBytes(columns) || wanted->scale.sub_bits) {
        use.weight.emitError() << "a row of " << columns << " elements is not whole groups of "
                               << wanted->str()
                               << "; choose another group size, for example int8 (one scale a row)";
        return signalPassFailure();
      }
      setEncoding(use, *wanted);
      ++quantized;
    }
  }
};

struct LegalizeEncodings : impl::LmLegalizeEncodingsBase<LegalizeEncodings> {
  using LmLegalizeEncodingsBase::LmLegalizeEncodingsBase;

  void runOnOperation() override {
    auto machine = makeTarget(target);
    if (!machine) {
      getOperation().emitError() << llvm::toString(machine.takeError());
      return signalPassFailure();
    }
    for (MatrixUse &use : collectMatrices(getOperation())) {
      const Encoding stored = use.weight.getEncoding();
      auto common = commonLegalEncoding(**machine, stored);
      if (!common) {
        use.weight.emitError() << llvm::toString(common.takeError());
        return signalPassFailure();
      }
      const Encoding legal = *common;
      if (legal == stored)
        continue;
      if (!lm::holdsExactly(stored, legal)) {
        use.weight.emitError() << "target " << (*machine)->machine().name << " maps "
                               << stored.str() << " to " << legal.str()
                               << ", which does not hold it exactly";
        return signalPassFailure();
      }
      setEncoding(use, legal);
      ++changed;
    }
  }
};

/// Columns of activations that share a scale: 32, or fewer where the weight's groups or the row
/// itself are not multiples of it; 0 where not even 8 fit.
int64_t activationGroup(const Encoding &weight, int64_t columns) {
  const int64_t whole = weight.isFloat() ? columns : weight.groupElements(columns);
  const int64_t fits = std::gcd(std::gcd(whole, columns), int64_t(32));
  return fits >= 8 ? fits : 0;
}

struct QuantizeActivations : impl::LmQuantizeActivationsBase<QuantizeActivations> {
  using LmQuantizeActivationsBase::LmQuantizeActivationsBase;

  void runOnOperation() override {
    if (bits != 16 && (bits != 8 || halves)) {
      getOperation().emitError() << "codes of activations have 8 or 16 bits, not " << int32_t(bits);
      return signalPassFailure();
    }
    DenseMap<std::pair<Value, int64_t>, Value> made;
    getOperation().walk([&](Operation *op) {
      if (!isa<lm::LinearOp, lm::LogitsOp>(op))
        return;
      Value x = op->getOperand(0);
      auto weight = cast<RankedTensorType>(op->getOperand(1).getType());
      const Encoding encoding = *lm::encodingOf(weight.getElementType());
      const int64_t group = activationGroup(encoding, weight.getDimSize(1));
      const bool meets_halves =
          halves && half_weights && encoding.code == CodeKind::f16 && group >= 16;
      if ((encoding.isFloat() && !meets_halves) || !lm::isRows(x.getType()) || !group)
        return;
      Value &quantized = made[{x, group}];
      if (!quantized) {
        OpBuilder builder(op);
        Encoding format{halves ? CodeKind::f16 : CodeKind::i,
                        static_cast<uint8_t>(bits),
                        static_cast<uint32_t>(group),
                        {CodeKind::f32},
                        {}};
        auto rows = cast<RankedTensorType>(x.getType());
        quantized = lm::QuantizeOp::create(
            builder, op->getLoc(),
            RankedTensorType::get(rows.getShape(), lm::QuantType::get(&getContext(), format)), x);
        ++inserted;
      }
      op->setOperand(0, quantized);
    });
  }
};

} // namespace
} // namespace ingot
