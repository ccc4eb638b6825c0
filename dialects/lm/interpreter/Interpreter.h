// Runs a module of lm operations: the meaning of a model, before or after any pass that leaves lm
// operations (fused, quantized, or cut into kernels).
#pragma once

#include "dialects/lm/interpreter/Ops.h"

#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/StringMap.h"

#include <functional>

namespace ingot::lm {

/// KV caches live as long as the interpreter. Not thread-safe; operations use all cores inside.
class Interpreter {
public:
  explicit Interpreter(mlir::ModuleOp module);

  /// What is called behind every operation that has been run, with its results: rows, which it may
  /// change, or null.
  using Observer = std::function<void(mlir::Operation &, llvm::ArrayRef<reference::Rows *>)>;
  void observe(Observer with) { observer = std::move(with); }

  /// Runs `function(tokens: tensor<Txi32>, position: i32)` and returns its one result
  /// [tokens or 1][vocab_size]. Errors: no such function, a token outside the vocabulary, a weight
  /// without payload, positions outside the context, an operation that is not lm.
  llvm::Expected<reference::Rows> run(llvm::StringRef function, std::vector<int32_t> tokens,
                                      int64_t position);

private:
  struct Value; // rows, tokens, position, weight or cache
  using Frame = llvm::DenseMap<mlir::Value, Value>;

  llvm::Expected<std::vector<Value>> runBlock(mlir::Block &block, Frame &frame);
  llvm::Expected<std::vector<Value>> runOp(mlir::Operation &op, Frame &frame);
  llvm::Expected<Value> resolve(llvm::StringRef symbol);

  mlir::ModuleOp module;
  llvm::StringMap<std::unique_ptr<WeightReader>> weights;
  llvm::StringMap<std::unique_ptr<reference::Cache>> caches;
  Observer observer;
};

} // namespace ingot::lm
