// kernel-tile: asks the target for the layout of each kernel's weights and for its tile.
#include "dialects/kernel/Spec.h"
#include "passes/Passes.h"
#include "targets/Target.h"

using namespace mlir;

namespace ingot {
#define GEN_PASS_DEF_KERNELTILE
#include "passes/Passes.h.inc"

namespace {

struct TileKernels : impl::KernelTileBase<TileKernels> {
  using KernelTileBase::KernelTileBase;

  void runOnOperation() override {
    auto machine = makeTarget(target);
    if (!machine) {
      getOperation().emitError() << llvm::toString(machine.takeError());
      return signalPassFailure();
    }
    MLIRContext *context = &getContext();
    for (auto function : getOperation().getOps<kernel::FuncOp>()) {
      auto spec = kernel::specOf(function);
      if (!spec) {
        function.emitError() << llvm::toString(spec.takeError());
        return signalPassFailure();
      }
      int32_t index = 0;
      for (BlockArgument argument : function.getBody().front().getArguments()) {
        if (argument.getType().isInteger(32))
          continue; // the position is not a value of the kernel
        KernelValue &value = spec->values[index++];
        if (value.kind != KernelValue::Kind::matrix)
          continue;
        value.layout = (*machine)->packedLayout(value.encoding);
        function.setArgAttr(argument.getArgNumber(), "kernel.layout",
                            kernel::layoutAttr(context, value.layout));
      }
      const Tile tile = (*machine)->tile(*spec);
      function.setTileAttr(
          kernel::TileAttr::get(context, tile.token_tile, tile.streams, tile.key_tile));
    }
  }
};

} // namespace
} // namespace ingot
