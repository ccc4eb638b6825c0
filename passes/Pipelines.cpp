// The compiler's main line, as a table of contents.
#include "passes/Passes.h"

#include "targets/Target.h"

#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassOptions.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;

namespace ingot {

void buildRoundingPipeline(OpPassManager &manager, const LoweringOptions &options) {
  if (options.quantize.empty() && options.quantize_output.empty())
    return;
  LmQuantizeWeightsOptions quantize;
  quantize.spec = options.quantize;
  quantize.output = options.quantize_output;
  manager.addPass(createLmQuantizeWeights(quantize));
  // Only now is it known which weights are rounded anyway.
  manager.addPass(createLmFoldNormGain());
}

void buildLoweringPipeline(OpPassManager &manager, const LoweringOptions &options) {
  int64_t prefill = 192, score = 32;
  bool half_weights = false, launched = false; // every kernel is a launch on a device
  if (auto target = makeTarget(options.target)) {
    prefill = (*target)->prefillTokens();
    half_weights = (*target)->multipliesHalves();
    launched = llvm::all_of((*target)->variants(), [](const Target *variant) {
      return variant->kernelForm() != KernelForm::objects;
    });
  } else {
    llvm::consumeError(target.takeError()); // reported by the first pass that needs the target
  }

  // Formats first: what may be fused depends on them.
  buildRoundingPipeline(manager, options);

  // Fewer, larger matrices: one pass over the activations and one barrier instead of three.
  manager.addPass(createLmFuseQkv());
  manager.addPass(createLmFuseGateUp());

  // After fusion, so that a merged weight is judged once.
  manager.addPass(createLmLegalizeEncodings({options.target}));

  // Needs the final formats (the group of activations follows the weight's).
  if (const int32_t bits = codeBits(options.activations))
    manager.addPass(
        createLmQuantizeActivations({bits, options.activations == Activations::f16, half_weights}));

  // From here on there is a function for each step; everything above was done once.
  LmSpecializeStepsOptions steps;
  steps.prefill = prefill;
  steps.score = score;
  steps.embeddings = options.embeddings;
  for (int64_t sequences : options.batch)
    if (sequences > 1)
      steps.batch.push_back(sequences);
  manager.addPass(createLmSpecializeSteps(steps));

  manager.addPass(createLmFuseRegions({/*norms_with_floats=*/launched}));
  manager.addPass(createKernelOutline());
  manager.addPass(createSymbolDCEPass()); // weights that fusion replaced

  manager.addPass(createKernelTile({options.target}));
  manager.addPass(createKernelPackWeights({options.target}));
  // Buffers are padded to whole tiles, so planning follows tiling; barriers follow the plan,
  // because reused memory needs them too.
  manager.addPass(createKernelPlanMemory());
  manager.addPass(createKernelInsertBarriers());
}

namespace {
struct PipelineOptions : PassPipelineOptions<PipelineOptions> {
  Option<std::string> target{*this, "target", llvm::cl::desc("Target name"),
                             llvm::cl::init("host")};
  Option<std::string> quantize{*this, "quantize", llvm::cl::desc("Weight format"),
                               llvm::cl::init("")};
  Option<std::string> activations{*this, "activations",
                                  llvm::cl::desc("int8, int16, f16 or f32; empty: the target's"),
                                  llvm::cl::init("")};
};
} // namespace

void registerAll() {
  registerIngotPasses();
  PassPipelineRegistration<PipelineOptions>(
      "ingot-lower", "From an imported model to launches over planned memory",
      [](OpPassManager &manager, const PipelineOptions &options) {
        buildLoweringPipeline(
            manager,
            {options.target, options.quantize, "",
             parseActivations(options.activations).value_or(defaultActivations(options.target))});
      });
}

} // namespace ingot
