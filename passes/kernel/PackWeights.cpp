// kernel-pack-weights: layouts and places; the bytes themselves are written by codegen/link.
#include "dialects/kernel/Spec.h"
#include "passes/Passes.h"
#include "targets/Target.h"

using namespace mlir;

namespace ingot {
#define GEN_PASS_DEF_KERNELPACKWEIGHTS
#include "passes/Passes.h.inc"

namespace {

struct PackWeights : impl::KernelPackWeightsBase<PackWeights> {
  using KernelPackWeightsBase::KernelPackWeightsBase;

  void runOnOperation() override {
    auto machine = makeTarget(target);
    if (!machine) {
      getOperation().emitError() << llvm::toString(machine.takeError());
      return signalPassFailure();
    }
    SymbolTable symbols(getOperation());
    int64_t end = 0;
    auto place = [&](lm::WeightOp weight) {
      if (!weight || weight.getOffset())
        return;
      RankedTensorType type = weight.getTensorType();
      KernelSpec spec;
      KernelValue value;
      value.width = type.getShape().back();
      value.kind = KernelValue::Kind::vector;
      if (lm::isMatrix(type)) {
        value.kind = KernelValue::Kind::matrix;
        value.height = type.getDimSize(0);
        value.encoding = weight.getEncoding();
        auto layout = commonPackedLayout(**machine, value.encoding);
        if (!layout) {
          weight.emitError() << llvm::toString(layout.takeError());
          return signalPassFailure();
        }
        value.layout = *layout;
        weight.setLayoutAttr(kernel::layoutAttr(&getContext(), value.layout));
      }
      spec.values.push_back(value);
      weight.setOffset(end);
      for (int32_t part = 0; part < bufferCount(value, spec.kv); ++part)
        end += kernel::alignLine(bufferBytes(spec, 0, part));
    };
    for (StringRef step : {"decode", "prefill", "score"}) // batch steps read what decode reads
      if (auto function = getOperation().lookupSymbol<func::FuncOp>(step))
        function.walk([&](kernel::LaunchOp launch) {
          for (Value input : launch.getInputs())
            if (auto ref = input.getDefiningOp<lm::RefOp>())
              place(symbols.lookup<lm::WeightOp>(ref.getSymbol()));
        });
    getOperation()->setAttr("ingot.weight_bytes",
                            IntegerAttr::get(IntegerType::get(&getContext(), 64), end));
    bytes = end;
  }
};

} // namespace
} // namespace ingot
