// The manifest: everything a compiled program knows about itself (runtime/manifest.fbs).
#pragma once

#include "codegen/link/Selftest.h"
#include "frontend/Import.h"
#include "targets/Target.h"

#include "mlir/IR/BuiltinOps.h"

namespace ingot {

struct ManifestInputs {
  mutable mlir::ModuleOp planned;       // ModuleOp is a handle whose look-ups are not const
  std::vector<mlir::ModuleOp> variants; ///< of `planned`, with the tiles of each
  const ImportedModel *model = nullptr;
  const Target *target = nullptr;
  std::string quantize;
  Activations activations = Activations::int8;
  CodeKind kv_cache = CodeKind::i;
  std::string weights_file; ///< name of the file that the weights are in; empty: in the program
  const SelftestRecord *selftest = nullptr; ///< or none
};

/// The flatbuffer. Deterministic. The hash of the model's file is left blank: it is known when the
/// weights are packed, errors in the tokenizer or chat template are to be known before.
llvm::Expected<std::string> buildManifest(const ManifestInputs &inputs);
/// Fills in the hash, 32 hex digits.
void setSourceHash(std::string &manifest, llvm::StringRef hash);
/// The same for the weights, where they have a file.
void setWeightsHash(std::string &manifest, llvm::StringRef hash);

} // namespace ingot
