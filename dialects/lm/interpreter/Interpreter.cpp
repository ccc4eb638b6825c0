#include "dialects/lm/interpreter/Interpreter.h"

#include "support/Error.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Interfaces/CallInterfaces.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace ingot::lm {

struct Interpreter::Value {
  std::shared_ptr<reference::Rows> rows;
  std::shared_ptr<std::vector<int32_t>> tokens;
  int64_t position = 0;
  const WeightReader *weight = nullptr;
  reference::Cache *cache = nullptr;

  Value() = default;
  Value(reference::Rows r) : rows(std::make_shared<reference::Rows>(std::move(r))) {}
};

Interpreter::Interpreter(ModuleOp module) : module(module) {}

llvm::Expected<Interpreter::Value> Interpreter::resolve(StringRef symbol) {
  Value value;
  Operation *op = module.lookupSymbol(symbol);
  if (auto weight = dyn_cast_or_null<WeightOp>(op)) {
    std::unique_ptr<WeightReader> &reader = weights[symbol];
    if (!reader) {
      auto opened = WeightReader::open(weight);
      if (!opened)
        return opened.takeError();
      reader = std::make_unique<WeightReader>(std::move(*opened));
    }
    value.weight = reader.get();
    return value;
  }
  auto cache_op = cast<KvCacheOp>(op);
  std::unique_ptr<reference::Cache> &cache = caches[symbol];
  if (!cache) {
    auto type = cast<CacheType>(cache_op.getType());
    cache = std::make_unique<reference::Cache>();
    cache->context = type.getPositions();
    cache->kv_heads = type.getKvHeads();
    cache->head_dim = type.getHeadDim();
    cache->element = type.getElementType().isInteger() ? CodeKind::i
                     : type.getElementType().isF16()   ? CodeKind::f16
                                                       : CodeKind::f32;
  }
  value.cache = cache.get();
  return value;
}

llvm::Expected<reference::Rows> Interpreter::run(StringRef name, std::vector<int32_t> tokens,
                                                 int64_t position) {
  auto function = module.lookupSymbol<func::FuncOp>(name);
  if (!function || function.isDeclaration() || function.getNumArguments() != 2 ||
      function.getNumResults() != 1)
    return inputError("", "function '" + name + "'",
                      "expected one that takes tokens and a position");
  if (tokens.empty() || position < 0)
    return inputError("", "", "expected at least one token and a position of 0 or more");
  Frame frame;
  Value token_value, position_value;
  token_value.tokens = std::make_shared<std::vector<int32_t>>(std::move(tokens));
  position_value.position = position;
  frame[function.getArgument(0)] = token_value;
  frame[function.getArgument(1)] = position_value;
  auto results = runBlock(function.getBody().front(), frame);
  if (!results)
    return results.takeError();
  return std::move(*results->front().rows);
}

llvm::Expected<std::vector<Interpreter::Value>> Interpreter::runBlock(Block &block, Frame &frame) {
  for (Operation &op : block.without_terminator()) {
    auto results = runOp(op, frame);
    if (!results)
      return results.takeError();
    if (observer) {
      SmallVector<reference::Rows *> rows;
      for (const Value &value : *results)
        rows.push_back(value.rows.get());
      observer(op, rows);
    }
    for (auto [result, value] : llvm::zip(op.getResults(), *results))
      frame[result] = std::move(value);
    // Activations die with their last use, so that a long text does not keep every layer's.
    for (mlir::Value operand : op.getOperands())
      if (llvm::all_of(operand.getUsers(), [&](Operation *user) {
            return user == &op || (user->getBlock() == &block && user->isBeforeInBlock(&op));
          }))
        frame.erase(operand);
  }
  std::vector<Value> results;
  for (mlir::Value operand : block.getTerminator()->getOperands())
    results.push_back(frame.lookup(operand));
  return results;
}

llvm::Expected<std::vector<Interpreter::Value>> Interpreter::runOp(Operation &op, Frame &frame) {
  auto rows = [&](mlir::Value value) -> const reference::Rows & {
    return *frame.lookup(value).rows;
  };
  auto one = [](reference::Rows result) { return std::vector<Value>{Value(std::move(result))}; };
  auto call = [&](Block &body) -> llvm::Expected<std::vector<Value>> {
    Frame inner;
    for (auto [argument, operand] : llvm::zip(body.getArguments(), op.getOperands()))
      inner[argument] = frame.lookup(operand);
    return runBlock(body, inner);
  };
  using Result = llvm::Expected<std::vector<Value>>;
  return llvm::TypeSwitch<Operation *, Result>(&op)
      .Case([&](RefOp ref) -> Result {
        auto value = resolve(ref.getSymbol());
        if (!value)
          return value.takeError();
        return std::vector<Value>{*value};
      })
      .Case([&](EmbeddingOp e) -> Result {
        const auto &tokens = *frame.lookup(e.getTokens()).tokens;
        const WeightReader &table = *frame.lookup(e.getTable()).weight;
        for (int32_t token : tokens)
          if (token < 0 || token >= table.rows())
            return inputError("", "",
                              "token " + Twine(token) + " is outside the vocabulary of " +
                                  grouped(table.rows()));
        return one(reference::embedding(tokens, table));
      })
      .Case([&](RmsNormOp n) -> Result {
        const WeightReader &gain = *frame.lookup(n.getGain()).weight;
        std::vector<float> values(gain.columns());
        gain.decodeRow(0, values.data());
        return one(reference::rmsNorm(rows(n.getX()), values, n.getEps().convertToDouble()));
      })
      .Case([&](QuantizeOp q) -> Result {
        auto type = cast<RankedTensorType>(q.getResult().getType());
        const Encoding format = *encodingOf(type.getElementType());
        if (format.code == CodeKind::f16)
          return one(reference::roundToHalves(rows(q.getX()), format.group_size));
        return one(reference::quantize(rows(q.getX()), format.group_size, format.bits));
      })
      .Case<LinearOp, LogitsOp>([&](auto linear) -> Result {
        return one(
            reference::linear(rows(linear.getX()), *frame.lookup(linear.getWeight()).weight));
      })
      .Case([&](RopeAnglesOp a) -> Result {
        return one(reference::ropeAngles(frame.lookup(a.getTokens()).tokens->size(),
                                         frame.lookup(a.getPosition()).position,
                                         columnsOf(a.getResult()), a.getTheta().convertToDouble()));
      })
      .Case([&](RopeOp r) -> Result {
        return one(reference::rope(rows(r.getX()), rows(r.getAngles()), r.getInterleaved()));
      })
      .Case([&](AppendOp a) -> Result {
        reference::Cache &cache = *frame.lookup(a.getCache()).cache;
        const int64_t position = frame.lookup(a.getPosition()).position;
        const int64_t end = position + rows(a.getKeys()).tokens;
        if (end > cache.context)
          return inputError(
              "", "", grouped(end) + " tokens do not fit the context of " + grouped(cache.context),
              "compile with a larger --context");
        // A long context takes memory as it is filled.
        const size_t filled = end * cache.kv_heads * cache.head_dim;
        cache.keys.resize(std::max(cache.keys.size(), filled));
        cache.values.resize(std::max(cache.values.size(), filled));
        reference::append(rows(a.getKeys()), rows(a.getValues()), cache, position);
        return std::vector<Value>();
      })
      .Case([&](AttentionOp a) -> Result {
        return one(reference::attention(rows(a.getQ()), *frame.lookup(a.getCache()).cache,
                                        frame.lookup(a.getPosition()).position,
                                        a.getScale().convertToDouble()));
      })
      .Case([&](SiluMulOp s) -> Result {
        return one(reference::siluMul(rows(s.getGate()), rows(s.getUp())));
      })
      .Case([&](AddOp a) -> Result { return one(reference::add(rows(a.getX()), rows(a.getY()))); })
      .Case([&](SliceOp s) -> Result {
        return one(reference::slice(rows(s.getX()), s.getOffset(), columnsOf(s.getResult())));
      })
      .Case([&](SplitOp s) -> Result {
        auto [first, second] = reference::split(rows(s.getX()), s.getBlocks());
        return std::vector<Value>{Value(std::move(first)), Value(std::move(second))};
      })
      .Case([&](LastTokenOp l) -> Result { return one(reference::lastToken(rows(l.getX()))); })
      .Case([&](FusedOp fused) -> Result { return call(fused.getBody().front()); })
      .Default([&](Operation *other) -> Result {
        // A launch names its kernel, whose body is lm operations again.
        if (auto callee = other->getAttrOfType<FlatSymbolRefAttr>("callee"))
          if (auto function = module.lookupSymbol<FunctionOpInterface>(callee.getValue()))
            return call(function.getFunctionBody().front());
        if (other->getNumResults() == 0 && other->getNumOperands() == 0)
          return std::vector<Value>(); // kernel.barrier: nothing to compute
        return inputError("", "operation '" + other->getName().getStringRef() + "'",
                          "the interpreter does not know it");
      });
}

} // namespace ingot::lm
