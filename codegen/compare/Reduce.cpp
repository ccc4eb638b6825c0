#include "codegen/compare/Reduce.h"

#include "dialects/lm/Lm.h"
#include "frontend/Import.h"
#include "frontend/mlir/ModuleFile.h"
#include "support/Error.h"
#include "support/Files.h"
#include "support/Progress.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/Support/Format.h"

#include <numeric>

using namespace mlir;

namespace ingot {
namespace {

using Shows = llvm::function_ref<llvm::Expected<bool>(ArrayRef<size_t> left_out)>;

/// Leaves out as many of `items` as `shows` allows, in smaller and smaller runs of neighbours
/// (Zeller & Hildebrandt, "Simplifying and isolating failure-inducing input", 2002), until no
/// single one can go. Returns what was left out.
llvm::Expected<std::vector<size_t>> leaveOut(std::vector<size_t> items, Shows shows) {
  std::vector<size_t> out;
  for (size_t run = items.size(); run && !items.empty();) {
    bool less = false;
    for (size_t at = 0; at < items.size();) {
      const size_t end = std::min(at + run, items.size());
      std::vector<size_t> more = out;
      more.insert(more.end(), items.begin() + at, items.begin() + end);
      auto still = shows(more);
      if (!still)
        return still.takeError();
      if (!*still) {
        at = end;
        continue;
      }
      out = std::move(more);
      items.erase(items.begin() + at, items.begin() + end);
      less = true;
    }
    run = run > 1 ? (run + 1) / 2 : less ? 1 : 0;
  }
  return out;
}

func::FuncOp forwardOf(ModuleOp module) { return module.lookupSymbol<func::FuncOp>("forward"); }

std::vector<Operation *> operationsOf(ModuleOp module) {
  std::vector<Operation *> all;
  for (Operation &op : forwardOf(module).getBody().front().without_terminator())
    all.push_back(&op);
  return all;
}

/// Of the operands and earlier results with the type of the operation's result: the first operand
/// from the front of the model (of an addition, what went by its block), else the nearest result.
Value insteadOf(Operation &op) {
  const Type type = op.getResult(0).getType();
  Value instead;
  for (Value operand : op.getOperands())
    if (Operation *from = operand.getDefiningOp(); from && operand.getType() == type)
      if (!instead || from->isBeforeInBlock(instead.getDefiningOp()))
        instead = operand;
  for (Operation *before = op.getPrevNode(); !instead && before; before = before->getPrevNode())
    if (before->getNumResults() == 1 && before->getResult(0).getType() == type)
      instead = before->getResult(0);
  return instead;
}

/// Removes what nothing reads: operations, appends to caches that no attention reads, symbols.
void sweep(ModuleOp module) {
  Block &body = forwardOf(module).getBody().front();
  for (Operation &op : llvm::make_early_inc_range(llvm::reverse(body))) {
    if (auto append = dyn_cast<lm::AppendOp>(op)) {
      auto ref = append.getCache().getDefiningOp<lm::RefOp>();
      const bool read = llvm::any_of(body.getOps<lm::AttentionOp>(), [&](lm::AttentionOp other) {
        auto its = other.getCache().getDefiningOp<lm::RefOp>();
        return its && ref && its.getSymbol() == ref.getSymbol();
      });
      if (!read)
        op.erase();
    } else if (!op.hasTrait<OpTrait::IsTerminator>() && op.use_empty()) {
      op.erase();
    }
  }
  for (Operation &op : llvm::make_early_inc_range(module.getBody()->getOperations()))
    if (isa<lm::WeightOp, lm::KvCacheOp>(op) &&
        SymbolTable::symbolKnownUseEmpty(SymbolTable::getSymbolName(&op), module))
      op.erase();
}

class Reducer {
public:
  explicit Reducer(const ReduceRequest &request) : request(request) {}

  llvm::Expected<Reduction> run() {
    const CompileOptions &compile = request.a.compile;
    auto imported = importModel(context, request.model,
                                {compile.context, compile.default_context, compile.kv_cache});
    if (!imported)
      return imported.takeError();
    model = std::move(*imported);
    auto made = ScratchFolder::beside(request.output);
    if (!made)
      return made.takeError();
    scratch.emplace(std::move(*made));

    Reduction result;
    result.operations_before = int64_t(operationsOf(*model.module).size());
    tokens = request.layers.tokens;
    progress.stage("compiling both anew");
    auto first = compareOn(*model.module, tokens);
    if (!first)
      return first.takeError();
    if (!first->first)
      return inputError("", "--reduce",
                        "programs that are compiled anew do not differ by more than the bound",
                        "a file is damaged, or was compiled with options that it does not keep");
    kept = std::move(*first);
    for (auto step : {&Reducer::fewerTokens, &Reducer::fewerBlocks, &Reducer::fewerOperations})
      if (llvm::Error error = (this->*step)())
        return std::move(error);

    OwningOpRef<ModuleOp> least = without(left_out);
    std::string text;
    llvm::raw_string_ostream stream(text);
    stream << "// Tokens ";
    llvm::interleave(tokens, stream, ",");
    stream << ", step " << request.layers.step << ": differs by more than "
           << llvm::format("%g", request.bound) << " in " << kept->values[*kept->first].kernel
           << "\n"
           << moduleFile(*least, model.file->name());
    const std::string file = scratch->file("reduced");
    if (llvm::Error error = writeFile(file, text))
      return std::move(error);
    if (llvm::Error error = publish(file, request.output))
      return std::move(error);
    result.operations = int64_t(operationsOf(*least).size());
    result.tokens = tokens;
    result.comparison = std::move(*kept);
    result.runs = runs;
    return result;
  }

private:
  llvm::Error fewerTokens() {
    progress.stage("leaving out tokens");
    std::vector<size_t> all(tokens.size());
    std::iota(all.begin(), all.end(), 0);
    auto without = [&](ArrayRef<size_t> out) {
      std::vector<int32_t> rest;
      for (size_t i = 0; i < tokens.size(); ++i)
        if (!llvm::is_contained(out, i))
          rest.push_back(tokens[i]);
      return rest;
    };
    // From the end: what comes first matters most.
    std::reverse(all.begin(), all.end());
    const size_t least = request.layers.step == "prefill" ? 2 : 1;
    auto out = leaveOut(all, [&](ArrayRef<size_t> left) -> llvm::Expected<bool> {
      return tokens.size() - left.size() >= least && shows(*model.module, without(left));
    });
    if (!out)
      return out.takeError();
    tokens = without(*out);
    return llvm::Error::success();
  }

  llvm::Error fewerBlocks() {
    progress.stage("leaving out blocks of layers");
    std::vector<size_t> additions;
    const std::vector<Operation *> all = operationsOf(*model.module);
    for (size_t i = 0; i < all.size(); ++i)
      if (isa<lm::AddOp>(all[i]))
        additions.push_back(i);
    return fewer(additions);
  }

  llvm::Error fewerOperations() {
    progress.stage("leaving out operations");
    std::vector<size_t> left;
    OwningOpRef<ModuleOp> rest = without(left_out, &left);
    std::vector<size_t> items;
    for (auto [i, op] : llvm::zip(left, operationsOf(*rest)))
      if (op->getNumResults() == 1 &&
          !isa<lm::RefOp, lm::EmbeddingOp, lm::LogitsOp, lm::RopeAnglesOp>(op))
        items.push_back(i);
    std::reverse(items.begin(), items.end()); // what is read last goes first
    return fewer(items);
  }

  llvm::Error fewer(std::vector<size_t> items) {
    const std::vector<size_t> before = left_out;
    auto out = leaveOut(std::move(items), [&](ArrayRef<size_t> more) -> llvm::Expected<bool> {
      std::vector<size_t> all = before;
      all.insert(all.end(), more.begin(), more.end());
      OwningOpRef<ModuleOp> candidate = without(all);
      return candidate && shows(*candidate, tokens);
    });
    if (!out)
      return out.takeError();
    left_out.insert(left_out.end(), out->begin(), out->end());
    return llvm::Error::success();
  }

  /// The model without those operations of @forward: what read them reads what they read. Null
  /// where one cannot go. `left`: which of the whole model's operations are there.
  OwningOpRef<ModuleOp> without(std::vector<size_t> operations,
                                std::vector<size_t> *left = nullptr) {
    OwningOpRef<ModuleOp> copy = model.module->clone();
    const std::vector<Operation *> all = operationsOf(*copy);
    DenseMap<Operation *, size_t> indices;
    for (auto [i, op] : llvm::enumerate(all))
      indices[op] = i;
    llvm::sort(operations);
    for (size_t i : operations) {
      Value instead = all[i]->getNumResults() == 1 ? insteadOf(*all[i]) : Value();
      if (!instead)
        return nullptr;
      all[i]->getResult(0).replaceAllUsesWith(instead);
      all[i]->erase();
    }
    sweep(*copy);
    for (Operation *op : left ? operationsOf(*copy) : std::vector<Operation *>())
      left->push_back(indices.lookup(op));
    return copy;
  }

  /// A model that cannot be compiled or run does not show what is looked for.
  bool shows(ModuleOp module, ArrayRef<int32_t> ids) {
    auto comparison = compareOn(module, ids);
    if (!comparison) {
      llvm::consumeError(comparison.takeError());
      return false;
    }
    if (!comparison->first)
      return false;
    kept = std::move(*comparison);
    return true;
  }

  llvm::Expected<Comparison> compareOn(ModuleOp module, ArrayRef<int32_t> ids) {
    ++runs;
    progress.advance();
    const std::string file = scratch->file("candidate.mlir");
    if (llvm::Error error = writeFile(file, moduleFile(module, model.file->name())))
      return std::move(error);
    LayerRequest layers = request.layers;
    layers.tokens.assign(ids.begin(), ids.end());
    auto a = trace(request.a, file, "a", layers);
    if (!a)
      return a.takeError();
    auto b = request.b ? trace(*request.b, file, "b", layers)
                       : traceReference(file, request.a.compile, layers, *a);
    if (!b)
      return b.takeError();
    return compareLayers(*a, *b, request.bound);
  }

  llvm::Expected<LayerTrace> trace(const ReduceSide &side, const std::string &file, StringRef name,
                                   LayerRequest layers) {
    CompileOptions compile = side.compile;
    compile.model = file;
    compile.output = scratch->file(name);
    compile.progress = ProgressForm::none; // there is one already
    compile.selftest_tokens = 0;
    if (llvm::Error error = compileModel(compile))
      return std::move(error);
    layers.isa = side.isa;
    return traceProgram(side.runner, compile.output, layers);
  }

  const ReduceRequest &request;
  MLIRContext context;
  ImportedModel model;
  std::optional<ScratchFolder> scratch;
  std::vector<int32_t> tokens;
  std::vector<size_t> left_out; ///< indices of operations of the whole model
  std::optional<Comparison> kept;
  int64_t runs = 0;
  Progress progress;
};

} // namespace

llvm::Expected<Reduction> reduceDifference(const ReduceRequest &request) {
  return Reducer(request).run();
}

} // namespace ingot
