// kernel-insert-barriers: the fewest meetings that keep every launch from seeing half-done work.
#include "dialects/kernel/Spec.h"
#include "passes/Passes.h"

using namespace mlir;

namespace ingot {
#define GEN_PASS_DEF_KERNELINSERTBARRIERS
#include "passes/Passes.h.inc"

namespace {

bool conflict(const kernel::BufferUse &a, const kernel::BufferUse &b) {
  return (a.writes || b.writes) && a.space == b.space && a.offset < b.offset + b.bytes &&
         b.offset < a.offset + a.bytes;
}

struct InsertBarriers : impl::KernelInsertBarriersBase<InsertBarriers> {
  void runOnOperation() override {
    for (auto step : getOperation().getOps<func::FuncOp>()) {
      std::vector<kernel::BufferUse> since_barrier;
      for (auto launch : llvm::make_early_inc_range(step.getOps<kernel::LaunchOp>())) {
        auto uses = kernel::bufferUses(launch);
        if (!uses) {
          launch.emitError() << llvm::toString(uses.takeError());
          return signalPassFailure();
        }
        if (llvm::any_of(*uses, [&](const auto &use) {
              return llvm::any_of(since_barrier,
                                  [&](const auto &earlier) { return conflict(use, earlier); });
            })) {
          OpBuilder builder(launch);
          kernel::BarrierOp::create(builder, launch.getLoc());
          since_barrier.clear();
          ++barriers;
        }
        llvm::append_range(since_barrier, *uses);
      }
    }
  }
};

} // namespace
} // namespace ingot
