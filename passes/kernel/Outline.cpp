// kernel-outline: one kernel.func for each distinct region, a kernel.launch for each region.
#include "passes/Passes.h"

#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;

namespace ingot {
#define GEN_PASS_DEF_KERNELOUTLINE
#include "passes/Passes.h.inc"

namespace {

/// "u4g32", "i8row", "f16": a number format inside a symbol name.
std::string compact(Type element) {
  std::string text = lm::encodingOf(element)->str(), out;
  for (char c : text.substr(0, text.find('+')))
    if (llvm::isAlnum(c))
      out += c;
  if (out.size() > 3 && !lm::encodingOf(element)->isFloat())
    out = out.substr(0, out.rfind('f')); // the scale's type is not worth its letters
  return out;
}

/// anchor, the shape that sets it apart, epilogue and token count: `linear_1536x576_u4g32_add_t1`.
std::string kernelName(lm::FusedOp fused, int64_t max_tokens) {
  std::string name = fused.getAnchor().str();
  bool after_anchor = false;
  for (Operation &op : fused.getBody().front()) {
    const StringRef op_name = op.getName().stripDialect();
    if (isa<lm::LinearOp, lm::LogitsOp>(op)) {
      auto weight = cast<RankedTensorType>(op.getOperand(1).getType());
      name += "_" + std::to_string(weight.getDimSize(0)) + "x" +
              std::to_string(weight.getDimSize(1)) + "_" + compact(weight.getElementType());
    }
    if (after_anchor && isa<lm::AddOp, lm::SiluMulOp, lm::QuantizeOp>(op))
      name += "_" + op_name.str();
    if (isa<lm::LastTokenOp>(op))
      name += "_last";
    after_anchor |= op_name == fused.getAnchor();
  }
  if (fused.getAnchor() != "linear" && fused.getAnchor() != "logits" && fused->getNumResults())
    if (auto rows = dyn_cast<RankedTensorType>(fused->getResult(0).getType()))
      name += "_" + std::to_string(rows.getShape().back());
  return name + "_t" + std::to_string(max_tokens);
}

bool hasLinear(lm::FusedOp fused) {
  return llvm::any_of(fused.getBody().front(),
                      [](Operation &op) { return isa<lm::LinearOp, lm::LogitsOp>(op); });
}

/// A region whose work depends on a sequence's position or cache.
bool isPerSequence(lm::FusedOp fused) {
  return llvm::any_of(fused.getInputs().getTypes(),
                      [](Type type) { return type.isInteger(32) || isa<lm::CacheType>(type); });
}

/// Makes the region one of a single token.
void fixOneToken(lm::FusedOp fused) {
  auto fix = [](Value value) {
    if (auto type = dyn_cast<RankedTensorType>(value.getType()); type && !type.hasStaticShape())
      value.setType(lm::oneToken(type));
  };
  Block &body = fused.getBody().front();
  llvm::for_each(body.getArguments(), fix);
  for (Operation &op : body)
    llvm::for_each(op.getResults(), fix);
}

struct Outline : impl::KernelOutlineBase<Outline> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    OpBuilder builder(module.getBodyRegion());
    if (auto first = *module.getOps<func::FuncOp>().begin())
      builder.setInsertionPoint(first);
    SymbolTable symbols(module);
    llvm::StringMap<kernel::FuncOp> known;

    // Most kernels that take many tokens serve all such steps, so they take the most any passes.
    int64_t most = 1;
    for (auto step : module.getOps<func::FuncOp>())
      if (auto tokens = step->getAttrOfType<IntegerAttr>("max_tokens"))
        most = std::max(most, tokens.getInt());

    SmallVector<lm::FusedOp> all;
    module.walk([&](lm::FusedOp op) { all.push_back(op); });
    for (lm::FusedOp fused : all) {
      auto step = fused->getParentOfType<func::FuncOp>();
      const bool batch = step->hasAttr("batch"), per_sequence = batch && isPerSequence(fused);
      if (per_sequence)
        fixOneToken(fused);
      auto arguments = fused.getBody().getArgumentTypes();
      int64_t tokens = 1;
      if (llvm::any_of(arguments, [](Type type) {
            auto tensor = dyn_cast<RankedTensorType>(type);
            return tensor && !tensor.hasStaticShape();
          }))
        tokens = batch && hasLinear(fused) ? step->getAttrOfType<IntegerAttr>("max_tokens").getInt()
                                           : most;
      std::string key;
      llvm::raw_string_ostream stream(key);
      OpPrintingFlags flags;
      flags.printGenericOpForm().useLocalScope();
      stream << tokens << ";";
      for (Type type : arguments)
        stream << type << ";";
      for (Operation &op : fused.getBody().front()) {
        op.print(stream, flags);
        stream << "\n";
      }
      kernel::FuncOp &callee = known[key];
      if (!callee) {
        callee = makeKernel(fused, tokens, builder);
        symbols.insert(callee);
        ++kernels;
      }
      OpBuilder at(fused);
      auto launch =
          kernel::LaunchOp::create(at, fused.getLoc(), fused.getResultTypes(), callee.getSymName(),
                                   fused.getInputs(), nullptr, per_sequence);
      fused.replaceAllUsesWith(launch.getResults());
      fused.erase();
      ++launches;
    }
  }

  kernel::FuncOp makeKernel(lm::FusedOp fused, int64_t max_tokens, OpBuilder &builder) {
    Block &body = fused.getBody().front();
    auto type =
        builder.getFunctionType(body.getArgumentTypes(), body.getTerminator()->getOperandTypes());
    auto function =
        kernel::FuncOp::create(builder, builder.getUnknownLoc(), kernelName(fused, max_tokens),
                               type, fused.getAnchor(), max_tokens, nullptr, nullptr, nullptr);
    IRMapping mapping;
    fused.getBody().cloneInto(&function.getBody(), mapping);
    Operation *terminator = function.getBody().front().getTerminator();
    OpBuilder at(terminator);
    kernel::ReturnOp::create(at, terminator->getLoc(), terminator->getOperands());
    terminator->erase();
    return function;
  }
};

} // namespace
} // namespace ingot
