//===- Passes.td - every pass of Ingot, in pipeline order ---------------------===//
//
// Names start with the dialect that a pass works on. Pipelines.cpp says why the order is what it is.

#ifndef INGOT_PASSES
#define INGOT_PASSES

include "mlir/Pass/PassBase.td"

def TargetOption : Option<"target", "target", "std::string", "\"host\"",
                            "Target whose machine model decides; see `ingot targets`">;

//===--- Number formats --------------------------------------------------------===//

def LmQuantizeWeights : Pass<"lm-quantize-weights", "::mlir::ModuleOp"> {
  let summary = "Round weights to nearest in another number format";
  let description = [{
    Rewrites the recipe of every matrix that a linear layer reads: its type changes, the rounding is
    done when weights are packed. The output layer (and a tied embedding) takes `output`, by default
    the same format but with at least 8 bits.

    Before: `lm.weight @w : tensor<64x64xf32> = [dense_resource<w> : tensor<64x64xf32>]`
    After (spec=int4:g32): `lm.weight @w : tensor<64x64x!lm.q<i4, g32, f16>> = [... xf32>]`
  }];
  let options = [
    Option<"spec", "spec", "std::string", "\"\"", "Format, e.g. int4:g32, uint4:g32, int8, f16">,
    Option<"output", "output", "std::string", "\"\"", "Format of the output layer">
  ];
  let statistics = [Statistic<"quantized", "weights-quantized", "Weights given another format">];
}

def LmLegalizeEncodings : Pass<"lm-legalize-encodings", "::mlir::ModuleOp"> {
  let summary = "Give every weight a format that the target's kernels read, without rounding";
  let description = [{
    The target names, for each stored format, one that holds exactly the same values (Q4_K's two-level
    scales become f32 scales). Nothing is rounded here.
  }];
  let options = [TargetOption];
  let statistics = [Statistic<"changed", "weights-legalized", "Weights whose format changed">];
}

def LmQuantizeActivations : Pass<"lm-quantize-activations", "::mlir::ModuleOp"> {
  let summary = "Feed linear layers of integer weights with integer activations, or halves";
  let description = [{
    Inserts one `lm.quantize` for each value that such layers read. The group is 32 columns, or what
    divides the weight's group. Of halves, layers of f16 weights may read them, too.
  }];
  let options = [Option<"bits", "bits", "int32_t", "8", "Of a code: 8 or 16">,
                 Option<"halves", "halves", "bool", "false", "Codes are floats of 16 bits">,
                 Option<"half_weights", "half-weights", "bool", "false",
                        "Layers of f16 weights read halves">];
  let statistics = [Statistic<"inserted", "quantize-inserted", "lm.quantize operations inserted">];
}

//===--- Fusion ------------------------------------------------------------------===//

def LmFoldNormGain : Pass<"lm-fold-norm-gain", "::mlir::ModuleOp"> {
  let summary = "Multiply the gain of a norm into the linear layers behind it";
  let description = [{
    Only where each such weight is re-encoded anyway, so that no second rounding is added; the norm's
    gain becomes a vector of ones that all such norms share.
  }];
  let statistics = [Statistic<"folded", "gains-folded", "Norm gains folded into weights">];
}

def LmFuseQkv : Pass<"lm-fuse-qkv", "::mlir::ModuleOp"> {
  let summary = "One linear layer for query, key and value";
  let description = [{
    Linear layers of the same input and number format become one whose weight has the rows of all,
    followed by `lm.slice`.
  }];
  let statistics = [Statistic<"fused", "linears-fused", "Linear layers that were merged away">];
}

def LmFuseGateUp : Pass<"lm-fuse-gate-up", "::mlir::ModuleOp"> {
  let summary = "One linear layer for gate and up, their rows interleaved";
  let description = [{
    Rows alternate in blocks of `block`, so that a kernel has a gate and its up value at hand together
    and `lm.silu_mul` becomes its epilogue.
  }];
  let options = [Option<"block", "block", "int64_t", "16", "Rows of one kind that stay together">];
  let statistics = [Statistic<"fused", "linears-fused", "Linear layers that were merged away">];
}

def LmSpecializeSteps : Pass<"lm-specialize-steps", "::mlir::ModuleOp"> {
  let summary = "One function for each way a step is run";
  let description = [{
    `@forward` becomes `@decode` (one token), `@prefill` (up to `prefill` tokens, logits of the last)
    and `@score` (up to `score` tokens, logits of each).

    For each N > 1 of `batch` there is also `@decodeN`, which has the attribute `batch`: up to N tokens,
    each of a sequence of its own, logits of each. Its position and its caches stand for those of
    the token's sequence.

    With `embeddings` there is also `@embed`: as `@prefill`, but what it returns is what the output layer
    would get, of each token.
  }];
  let options = [
    Option<"embeddings", "embeddings", "bool", "false", "Make a step for hidden states">,
    Option<"prefill", "prefill", "int64_t", "192", "Most tokens of a prefill step">,
    Option<"score", "score", "int64_t", "32", "Most tokens of a score step">,
    ListOption<"batch", "batch", "int64_t", "Decode steps for so many sequences">
  ];
}

def LmFuseRegions : Pass<"lm-fuse-regions", "::mlir::ModuleOp"> {
  let summary = "Gather operations into the regions that become kernels";
  let description = [{
    Every operation ends up in one `lm.fused`: a linear layer with its residual addition or gate, a
    norm with the quantization behind it, rotation with the cache append, and so on.
  }];
  let options = [Option<"norms_with_floats", "norms-with-floats", "bool", "false",
                        "Of one token, linear layers of floats take the norm before them along">];
  let statistics = [Statistic<"regions", "regions", "Regions made">];
}

//===--- Kernels -------------------------------------------------------------------===//

def KernelOutline : Pass<"kernel-outline", "::mlir::ModuleOp"> {
  let summary = "Make a kernel of each region and launch it";
  let description = [{
    Regions with the same operations on the same types share one `kernel.func`. What depends on the
    position or the cache is, in a batch step, launched `per_sequence`: with the kernel that `@decode`
    has for one token. Linear layers get a kernel for each N of a batch step, because their tile and
    so their speed follows from it; other kernels of many tokens serve all steps.
  }];
  let dependentDialects = ["::ingot::kernel::KernelDialect"];
  let statistics = [Statistic<"kernels", "kernels", "Distinct kernels">,
                    Statistic<"launches", "launches", "Launches">];
}

def KernelTile : Pass<"kernel-tile", "::mlir::ModuleOp"> {
  let summary = "Choose each kernel's tile from the target's machine model";
  let options = [TargetOption];
  let dependentDialects = ["::ingot::kernel::KernelDialect"];
}

def KernelPackWeights : Pass<"kernel-pack-weights", "::mlir::ModuleOp"> {
  let summary = "Give each weight its packed layout and its place in the program";
  let description = [{
    Weights lie in the order in which a decode step first reads them, so that the system's read-ahead
    follows the step. Each starts on a 64-byte line.
  }];
  let options = [TargetOption];
  let dependentDialects = ["::ingot::kernel::KernelDialect"];
  let statistics = [Statistic<"bytes", "packed-bytes", "Bytes of packed weights">];
}

def KernelPlanMemory : Pass<"kernel-plan-memory", "::mlir::ModuleOp"> {
  let summary = "Give caches and intermediate results their places in memory";
  let description = [{
    The results of a step's launches: each gets the lowest offset that is free during its life
    (greedy by size; Pisarchyk & Lee 2020, section 4.3). Steps never run at the same time, so their
    intermediate results share one arena. KV caches lie apart, one set of them for every sequence:
    their offsets are those within such a set.
  }];
  let statistics = [Statistic<"arena", "arena-bytes", "Bytes of the arena">];
}

def KernelInsertBarriers : Pass<"kernel-insert-barriers", "::mlir::ModuleOp"> {
  let summary = "Let the threads meet where a launch touches what another wrote";
  let description = [{
    A barrier goes before a launch that reads or overwrites memory that a launch since the last barrier
    wrote, or overwrites memory that one read. Works on planned offsets, so it sees reused memory.
  }];
  let dependentDialects = ["::ingot::kernel::KernelDialect"];
  let statistics = [Statistic<"barriers", "barriers", "Barriers inserted">];
}

#endif
