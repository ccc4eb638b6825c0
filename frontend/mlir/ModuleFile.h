// A module of lm operations as a text, whose weights stay in a GGUF file that it names: what
// `ingot compare --reduce` writes, and whoever wants to change a model by hand.
//
//   module attributes {lm.source = "model.gguf"} {
//     lm.weight @blk.0.attn_q.weight : tensor<...> = [dense_resource<blk.0.attn_q.weight> : ...]
//     func.func @forward(...) ... }
#pragma once

#include "frontend/Import.h"

namespace ingot {

bool isModuleFile(llvm::StringRef path);

/// Reads it; its GGUF file says everything else (tokenizer, chat template, names). A weight is the
/// tensor of its name. Caches must be as `options` ask.
llvm::Expected<ImportedModel> importModuleFile(mlir::MLIRContext &context, llvm::StringRef path,
                                               const ImportOptions &options);

/// The text of a module as it was imported, or of a part of it. `source`: the GGUF file.
std::string moduleFile(mlir::ModuleOp module, llvm::StringRef source);

} // namespace ingot
