// lm-specialize-steps: @forward -> @decode, @prefill, @score, @decodeN, @embed.
#include "passes/Passes.h"

using namespace mlir;

namespace ingot {
#define GEN_PASS_DEF_LMSPECIALIZESTEPS
#include "passes/Passes.h.inc"

namespace {

/// Gives every tensor with a dynamic token count `tokens` tokens.
void fixTokens(func::FuncOp function, int64_t tokens) {
  auto fixed = [&](Type type) -> Type {
    auto tensor = dyn_cast<RankedTensorType>(type);
    if (!tensor || !tensor.getRank() || !tensor.isDynamicDim(0))
      return type;
    SmallVector<int64_t> shape(tensor.getShape());
    shape[0] = tokens;
    return RankedTensorType::get(shape, tensor.getElementType());
  };
  for (BlockArgument argument : function.getArguments())
    argument.setType(fixed(argument.getType()));
  function.walk([&](Operation *op) {
    for (Value result : op->getResults())
      result.setType(fixed(result.getType()));
  });
}

/// Logits of the last token only: the row is taken before the final norm, so that the norm, too,
/// works on one row.
void keepLastToken(func::FuncOp function) {
  function.walk([&](lm::LogitsOp logits) {
    Value x = logits.getX();
    while (isa_and_nonnull<lm::QuantizeOp, lm::RmsNormOp>(x.getDefiningOp())) {
      auto type = cast<RankedTensorType>(x.getType());
      x.setType(RankedTensorType::get({1, type.getDimSize(1)}, type.getElementType()));
      x = x.getDefiningOp()->getOperand(0);
    }
    OpBuilder builder(logits);
    builder.setInsertionPointAfterValue(x);
    auto last = lm::LastTokenOp::create(
        builder, logits.getLoc(),
        RankedTensorType::get({1, lm::columnsOf(x)}, builder.getF32Type()), x);
    x.replaceUsesWithIf(last, [&](OpOperand &use) {
      return use.getOwner() != last && lm::tokensOf(use.getOwner()->getResult(0)) == 1;
    });
    auto result = cast<RankedTensorType>(logits.getType());
    logits.getResult().setType(
        RankedTensorType::get({1, result.getDimSize(1)}, result.getElementType()));
  });
}

/// Returns what the output layer would get, as it is before it is quantized, instead of logits.
void keepHiddenStates(func::FuncOp function) {
  auto logits = *function.getOps<lm::LogitsOp>().begin();
  Value x = logits.getX();
  auto quantize = x.getDefiningOp<lm::QuantizeOp>();
  if (quantize)
    x = quantize.getX();
  logits.getResult().replaceAllUsesWith(x);
  logits.erase();
  if (quantize && quantize->use_empty())
    quantize.erase();
}

struct SpecializeSteps : impl::LmSpecializeStepsBase<SpecializeSteps> {
  using LmSpecializeStepsBase::LmSpecializeStepsBase;

  void runOnOperation() override {
    auto forward = getOperation().lookupSymbol<func::FuncOp>("forward");
    if (!forward) {
      getOperation().emitError("expected a function @forward");
      return signalPassFailure();
    }
    OpBuilder builder(forward);
    auto clone = [&](const Twine &name, int64_t max_tokens) {
      auto step = cast<func::FuncOp>(builder.clone(*forward));
      step.setSymName(name.str());
      step->setAttr("max_tokens", builder.getI64IntegerAttr(max_tokens));
      return step;
    };
    func::FuncOp decode = clone("decode", 1), prefill_step = clone("prefill", prefill);
    func::FuncOp score_step = clone("score", score);
    fixTokens(decode, 1);
    keepLastToken(prefill_step);
    SmallVector<func::FuncOp> steps{decode, prefill_step, score_step};
    for (int64_t sequences : batch) {
      steps.push_back(clone("decode" + std::to_string(sequences), sequences));
      steps.back()->setAttr("batch", builder.getUnitAttr());
    }
    if (embeddings) {
      steps.push_back(clone("embed", prefill));
      keepHiddenStates(steps.back());
    }
    for (func::FuncOp step : steps)
      step.setFunctionType(
          builder.getFunctionType(step.getBody().getArgumentTypes(),
                                  step.getBody().front().getTerminator()->getOperandTypes()));
    forward.erase();
  }
};

} // namespace
} // namespace ingot
