// From a model file to an `lm` module.
#pragma once

#include "frontend/gguf/Gguf.h"
#include "frontend/tokenizer/Tokenizer.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

#include <memory>
#include <string>

namespace ingot {

/// The numbers that describe a model; all checked against its tensors.
struct ModelInfo {
  std::string architecture, name;
  uint64_t parameters = 0;
  int64_t layers = 0, embedding_length = 0, feed_forward_length = 0;
  int64_t heads = 0, kv_heads = 0, head_dim = 0, vocab_size = 0;
  int64_t context_length = 0;       ///< compiled
  int64_t model_context_length = 0; ///< what the model was made for
  double rope_theta = 0, rms_norm_eps = 0;
};

struct ImportOptions {
  int64_t context = 0; ///< 0: the model's own, at most `default_context`
  int64_t default_context = 2048;
  CodeKind kv_cache = CodeKind::i; ///< elements: i (16 bits), f16 or f32
};

/// The module's weights are views of `file`, which must outlive it.
struct ImportedModel {
  std::unique_ptr<GgufFile> file;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  ModelInfo info;
  TokenizerSource tokenizer;
  std::string chat_template;      ///< Jinja; empty where the file has none
  std::string bos_text, eos_text; ///< what the template may insert
};

/// Reads `path`, a GGUF file or a module file (frontend/mlir), and builds `@forward(tokens,
/// position) -> logits`. Errors name the file and the field or tensor at fault.
llvm::Expected<ImportedModel> importModel(mlir::MLIRContext &context, llvm::StringRef path,
                                          const ImportOptions &options);

} // namespace ingot
