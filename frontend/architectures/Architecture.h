// A model family as a table: which tensors it has and what their shapes are made of. One file a
// family; the builder that reads the table is shared.
#pragma once

#include "frontend/Import.h"

namespace ingot {

/// What a tensor's extent is made of.
enum class Extent { one, embedding, feed_forward, q, kv, vocab };

/// What a tensor is for.
enum class Role {
  token_embd,
  output_norm,
  output, // once
  attn_norm,
  attn_q,
  attn_k,
  attn_v,
  attn_output, // per layer
  ffn_norm,
  ffn_gate,
  ffn_up,
  ffn_down
};

struct TensorRow {
  Role role;
  const char *name; ///< `{}` is the layer
  Extent rows, columns;
  bool optional = false;
};

struct Architecture {
  const char *name; ///< general.architecture
  const char *description;
  bool rope_interleaved; ///< pairs (2i, 2i+1), or (i, i + head_dim/2)
  llvm::ArrayRef<TensorRow> tensors;
};

/// The families that Ingot compiles.
llvm::ArrayRef<const Architecture *> architectures();

extern const Architecture llama;

/// Builds the module of a decoder-only model with the tensors of `architecture`.
llvm::Expected<mlir::OwningOpRef<mlir::ModuleOp>>
buildDecoder(mlir::MLIRContext &context, const GgufFile &file, const Architecture &architecture,
             const ImportOptions &options, ModelInfo &info);

} // namespace ingot
