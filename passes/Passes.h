// The passes (Passes.td) and the pipeline made of them (Pipelines.cpp).
#pragma once

#include "dialects/kernel/Kernel.h"
#include "dialects/lm/Lm.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/Pass.h"

#include <string>
#include <vector>

namespace ingot {

#define GEN_PASS_DECL
#include "passes/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "passes/Passes.h.inc"

/// What a user can choose about a compilation, as far as passes are concerned.
struct LoweringOptions {
  std::string target = "host";
  std::string quantize;        ///< --quantize, empty: as stored
  std::string quantize_output; ///< empty: chosen by lm-quantize-weights
  Activations activations = Activations::int8;
  /// Decode steps for this many sequences at once; 1 is always there. Ascending.
  std::vector<int64_t> batch{1, 4, 8};
  bool embeddings = false; ///< a step whose result is the hidden states
};

/// From the imported `lm` module to launches over planned memory.
void buildLoweringPipeline(mlir::OpPassManager &manager, const LoweringOptions &options);

/// Its first part: what changes a model's values as the user asked. Empty for a model compiled as
/// stored.
void buildRoundingPipeline(mlir::OpPassManager &manager, const LoweringOptions &options);

/// Registers all passes and the pipeline `ingot-lower{target=... quantize=... activations=...}`.
void registerAll();

} // namespace ingot
