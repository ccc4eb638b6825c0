// lm-fuse-regions: which operations become one kernel.
#include "passes/Passes.h"

#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;

namespace ingot {
#define GEN_PASS_DEF_LMFUSEREGIONS
#include "passes/Passes.h.inc"

namespace {

/// The only user of a value, or null.
Operation *onlyUser(Value value) { return value.hasOneUse() ? *value.getUsers().begin() : nullptr; }

/// The operation that defines `value` if it is an `Op` and nobody else reads it.
template <typename Op> Op soleProducer(Value value) {
  auto op = value.getDefiningOp<Op>();
  return op && value.hasOneUse() ? op : Op();
}

struct FuseRegions : impl::LmFuseRegionsBase<FuseRegions> {
  using LmFuseRegionsBase::LmFuseRegionsBase;
  DenseSet<Operation *> taken;

  /// Wraps `members` (in program order) into one region at the place of the last.
  void fuse(ArrayRef<Operation *> members, Operation *anchor) {
    llvm::SetVector<Value> inputs;
    SmallVector<Value> results;
    DenseSet<Operation *> inside(members.begin(), members.end());
    for (Operation *op : members) {
      for (Value operand : op->getOperands())
        if (!inside.contains(operand.getDefiningOp()))
          inputs.insert(operand);
      for (Value result : op->getResults())
        if (llvm::any_of(result.getUsers(),
                         [&](Operation *user) { return !inside.contains(user); }))
          results.push_back(result);
    }
    OpBuilder builder(members.back());
    SmallVector<Location> locations;
    for (Operation *op : members)
      locations.push_back(op->getLoc());
    Location location = members.size() == 1 ? locations[0] : builder.getFusedLoc(locations);
    auto fused = lm::FusedOp::create(builder, location, ValueRange(results).getTypes(),
                                     inputs.getArrayRef(), anchor->getName().stripDialect());
    Block &body = fused.getBody().emplaceBlock();
    IRMapping mapping;
    for (Value input : inputs)
      mapping.map(input, body.addArgument(input.getType(), input.getLoc()));
    builder.setInsertionPointToStart(&body);
    for (Operation *op : members)
      taken.insert(builder.clone(*op, mapping));
    SmallVector<Value> yielded;
    for (Value result : results)
      yielded.push_back(mapping.lookup(result));
    lm::YieldOp::create(builder, location, yielded);
    for (auto [result, replacement] : llvm::zip(results, fused.getResults()))
      result.replaceUsesWithIf(replacement,
                               [&](OpOperand &use) { return !inside.contains(use.getOwner()); });
    for (Operation *op : llvm::reverse(members))
      op->erase();
    ++regions;
  }

  /// linear, with the residual addition or the gate that alone reads it. A single token is cheaper
  /// to quantize on every thread than to wait for, so its quantization and norm go in front;
  /// without quantization each row of the matrix multiplies by the gain again, which is cheaper
  /// where a kernel of its own is a launch.
  void fuseLinear(Operation *linear, bool one_token) {
    SmallVector<Operation *> members{linear};
    Value read = linear->getOperand(0);
    auto quantize = soleProducer<lm::QuantizeOp>(read);
    if (quantize && one_token) {
      members.insert(members.begin(), quantize);
      read = quantize.getX();
    }
    if (auto norm = soleProducer<lm::RmsNormOp>(read);
        norm && one_token && (quantize || norms_with_floats))
      members.insert(members.begin(), norm);
    Operation *user = onlyUser(linear->getResult(0));
    if (isa_and_nonnull<lm::AddOp>(user)) {
      members.push_back(user);
    } else if (auto split = dyn_cast_or_null<lm::SplitOp>(user)) {
      auto gate = dyn_cast_or_null<lm::SiluMulOp>(onlyUser(split.getFirst()));
      if (gate && gate.getGate() == split.getFirst() && gate.getUp() == split.getSecond())
        members.append({split, gate});
    }
    fuse(members, linear);
  }

  /// quantize, with the norm (and the choice of the last token) that it alone reads.
  void fuseQuantize(lm::QuantizeOp quantize) {
    SmallVector<Operation *> members{quantize};
    Operation *anchor = quantize;
    if (auto norm = soleProducer<lm::RmsNormOp>(quantize.getX())) {
      members.push_back(anchor = norm);
      if (auto last = soleProducer<lm::LastTokenOp>(norm.getX()))
        members.push_back(last);
    }
    fuse(llvm::to_vector(llvm::reverse(members)), anchor);
  }

  void fuseNorm(lm::RmsNormOp norm) {
    SmallVector<Operation *> members{norm};
    if (auto last = soleProducer<lm::LastTokenOp>(norm.getX()))
      members.insert(members.begin(), last);
    fuse(members, norm);
  }

  /// Adds `value`'s rotation and slice, where nothing else reads them, before what is there.
  void addRotated(Value value, SmallVectorImpl<Operation *> &members) {
    if (auto rope = soleProducer<lm::RopeOp>(value)) {
      members.push_back(rope);
      value = rope.getX();
    }
    if (auto slice = soleProducer<lm::SliceOp>(value))
      members.push_back(slice);
  }

  void fuseAppend(lm::AppendOp append) {
    SmallVector<Operation *> members{append};
    addRotated(append.getKeys(), members);
    addRotated(append.getValues(), members);
    llvm::sort(members, [](Operation *a, Operation *b) { return a->isBeforeInBlock(b); });
    fuse(members, append);
  }

  /// attention, with the rotation of its queries.
  void fuseAttention(lm::AttentionOp attention) {
    SmallVector<Operation *> members{attention};
    addRotated(attention.getQ(), members);
    fuse(llvm::to_vector(llvm::reverse(members)), attention);
  }

  void fuseRope(lm::RopeOp rope) {
    SmallVector<Operation *> members;
    addRotated(rope.getResult(), members);
    if (members.empty())
      members.push_back(rope);
    fuse(llvm::to_vector(llvm::reverse(members)), rope);
  }

  /// Regions that reach further first; what is left stands alone.
  void runOnFunction(func::FuncOp function) {
    auto max_tokens = function->getAttrOfType<IntegerAttr>("max_tokens");
    const bool one_token = max_tokens && max_tokens.getInt() == 1;
    auto each = [&](auto match) {
      SmallVector<Operation *> ops;
      for (Operation &op : function.getBody().front())
        ops.push_back(&op);
      // A match erases only its own members; those come before or right behind in the list.
      DenseSet<Operation *> alive(ops.begin(), ops.end());
      for (Operation *op : ops) {
        if (!alive.contains(op))
          continue;
        match(op);
        alive.clear();
        for (Operation &left : function.getBody().front())
          alive.insert(&left);
      }
    };
    each([&](Operation *op) {
      if (isa<lm::LinearOp, lm::LogitsOp>(op))
        fuseLinear(op, one_token);
    });
    each([&](Operation *op) {
      if (auto append = dyn_cast<lm::AppendOp>(op))
        fuseAppend(append);
      else if (auto attention = dyn_cast<lm::AttentionOp>(op))
        fuseAttention(attention);
      else if (auto quantize = dyn_cast<lm::QuantizeOp>(op))
        fuseQuantize(quantize);
    });
    each([&](Operation *op) {
      if (auto rope = dyn_cast<lm::RopeOp>(op))
        fuseRope(rope);
      else if (auto norm = dyn_cast<lm::RmsNormOp>(op))
        fuseNorm(norm);
    });
    each([&](Operation *op) {
      if (!isa<lm::RefOp, lm::FusedOp, func::ReturnOp>(op))
        fuse({op}, op);
    });
  }

  void runOnOperation() override {
    for (auto function : getOperation().getOps<func::FuncOp>())
      runOnFunction(function);
  }
};

} // namespace
} // namespace ingot
