// kernel-plan-memory.
#include "passes/kernel/PlanMemory.h"

#include "dialects/kernel/Spec.h"
#include "passes/Passes.h"

#include "llvm/ADT/STLExtras.h"

#include <numeric>

using namespace mlir;

namespace ingot {
#define GEN_PASS_DEF_KERNELPLANMEMORY
#include "passes/Passes.h.inc"

int64_t planBuffers(llvm::MutableArrayRef<PlannedBuffer> buffers, int64_t alignment) {
  std::vector<size_t> order(buffers.size()), placed;
  std::iota(order.begin(), order.end(), 0);
  llvm::stable_sort(order, [&](size_t a, size_t b) { return buffers[a].bytes > buffers[b].bytes; });
  int64_t end = 0;
  for (size_t index : order) {
    PlannedBuffer &buffer = buffers[index];
    int64_t offset = 0;
    // `placed` is sorted by offset: walk the gaps between buffers that live at the same time.
    for (size_t other : placed) {
      const PlannedBuffer &p = buffers[other];
      if (p.last < buffer.first || buffer.last < p.first)
        continue;
      if (offset + buffer.bytes <= p.offset)
        break;
      offset = std::max<int64_t>(offset, llvm::alignTo(p.offset + p.bytes, alignment));
    }
    buffer.offset = offset;
    end = std::max(end, offset + buffer.bytes);
    placed.insert(llvm::upper_bound(
                      placed, index,
                      [&](size_t a, size_t b) { return buffers[a].offset < buffers[b].offset; }),
                  index);
  }
  return end;
}

namespace {

struct PlanMemory : impl::KernelPlanMemoryBase<PlanMemory> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    OpBuilder builder(module);
    int64_t caches = 0;
    // Caches have memory of their own; the size of one is asked of a kernel that uses it.
    module.walk([&](lm::RefOp ref) {
      auto cache = module.lookupSymbol<lm::KvCacheOp>(ref.getSymbol());
      if (!cache || cache.getOffset())
        return;
      cache.setOffset(caches);
      caches += llvm::alignTo(kernel::partOffsets(ref).back(), 4096);
    });

    int64_t end = 0;
    for (auto step : module.getOps<func::FuncOp>()) {
      SmallVector<kernel::LaunchOp> launches(step.getOps<kernel::LaunchOp>());
      DenseMap<Operation *, int32_t> number;
      for (auto [index, launch] : llvm::enumerate(launches))
        number[launch] = static_cast<int32_t>(index);

      std::vector<PlannedBuffer> buffers;
      SmallVector<std::pair<kernel::LaunchOp, unsigned>> owners;
      DenseMap<Operation *, SmallVector<int64_t>> offsets;
      for (kernel::LaunchOp launch : launches)
        for (OpResult result : launch.getResults()) {
          int32_t last = number[launch];
          bool leaves = false;
          for (Operation *user : result.getUsers()) {
            leaves |= isa<func::ReturnOp>(user);
            last = std::max(last, number.lookup(user));
          }
          offsets[launch].push_back(-1);
          if (leaves)
            continue;
          buffers.push_back({kernel::partOffsets(result).back(), number[launch], last});
          owners.push_back({launch, result.getResultNumber()});
        }
      const int64_t step_end = planBuffers(buffers, 64);
      for (auto [buffer, owner] : llvm::zip(buffers, owners))
        offsets[owner.first][owner.second] = buffer.offset;
      for (kernel::LaunchOp launch : launches)
        launch.setOffsets(offsets[launch]);
      end = std::max(end, step_end);
    }
    module->setAttr("ingot.cache_bytes", builder.getI64IntegerAttr(caches));
    module->setAttr("ingot.arena_bytes", builder.getI64IntegerAttr(llvm::alignTo(end, 4096)));
    arena = llvm::alignTo(end, 4096);
  }
};

} // namespace
} // namespace ingot
