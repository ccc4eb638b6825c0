// What a target sees of a kernel when it schedules it: the Halide Funcs of the pipeline with their
// roles and the variables that loops are made of. Made by Builder.cpp, read by targets/*/Schedules.
#pragma once

#include "dialects/kernel/KernelSpec.h"

#include "Halide.h"

#include <vector>

namespace ingot {

/// How products of u8 codes and i8 activations are summed; decides the shape of the accumulators.
enum class DotForm : uint8_t {
  quads,            ///< i32 += 4 products at once (exact)
  saturating_pairs, ///< i16 += 2 products at once, at most 8 steps, codes of <= 4 bits (exact)
  widened_pairs,    ///< codes and activations widened to i16, i32 += 2 products at once (exact)
  floats,           ///< codes decoded to f32
};

/// y[n, nb, t] = sum over groups of f32(acc) * (scale * act_scale) [+ min * act_sum].
/// n: row in its block of layout.rows; nb: block; t: token; g: activation group; q: step of k_inner
/// elements in the group; b: element of the step. Undefined Funcs are absent in that form.
struct LinearStage {
  DotForm form = DotForm::quads;
  Halide::Func result;       ///< f32 (n, nb, t); update 0 over (group)
  Halide::Func accumulator;  ///< i32 (n, g, nb, t); update 0 over (step.x, step.y)
  Halide::Func pairs;        ///< i16 (n, h, g, nb, t), saturating_pairs only: h = 16 elements
  Halide::Func codes;        ///< unpacked (b, n, q, g, nb): u8, i16 (widened) or f32 (floats)
  Halide::Func scales, mins; ///< f32 (n, g, nb)
  Halide::Func sums;         ///< f32 (g, t): activation sums times their scale; where mins are
  Halide::Func wide;         ///< i16 (k, g, t), widened_pairs only
  Halide::Var n, nb, t, g, q, b, h, k;
  Halide::RVar step_x, step_y, group; ///< elements of a step, steps, groups
  int32_t rows = 16, k_inner = 4, steps = 8, groups = 1, parts = 1;
  bool packed_codes = false; ///< two codes a byte
};

/// 1 / rms of a row: 16 partial sums of squares, then a fixed tree.
struct NormStage {
  Halide::Func partial; ///< f32 (l, t)
  Halide::Func inverse; ///< f32 (t)
  Halide::Var l, t;
};

/// Symmetric int8 codes of groups of a row.
struct QuantizeStage {
  Halide::Func source;              ///< f32 (k, g, t): what is quantized
  std::vector<Halide::Func> maxima; ///< |x| in 16 lanes (l, g, t), then 8, 4, 2, 1 lanes
  Halide::Func codes, scales, sums; ///< outputs: i8 (k, g, t), f32 (g, t), i32 (g, t)
  Halide::Var k, g, t, l;
  Halide::RVar sum_r;
  int32_t group = 32, groups = 1;
};

/// Causal attention of one head over blocks of 16 keys.
struct AttentionStage {
  Halide::Func partial_scores;        ///< f32 (l, blk, h, t): q.k; update over rd (head_dim)
  Halide::Func scores;                ///< f32 (l, blk, h, t): scaled, masked; kept for the tile
  Halide::Func maxima, maximum;       ///< f32 (l, h, t), (h, t)
  Halide::Func weights;               ///< f32 (l, blk, h, t): exp(score - maximum)
  Halide::Func partial_sums, inverse; ///< f32 (l, h, t), (h, t)
  Halide::Func values;                ///< f32 (d, h, t): update over (rl, rb)
  Halide::Var l, blk, h, t, d;
  Halide::RVar rd, max_rb, sum_rb, value_rl, value_rb;
  int32_t blocks = 1; ///< of 16 keys in the whole context
  int32_t head_dim = 64;
};

/// A Func that is written to memory, and its loops, innermost first.
struct OutputStage {
  enum class Kind : uint8_t {
    columns, ///< (c, t)
    blocks,  ///< (n, nb, t): blocks of rows of a linear
    pairs,   ///< (i, half, h, t): halves of rotated heads
    heads,   ///< (d, h, t)
    quant,   ///< part of a QuantizeStage
    scatter, ///< update 0 over (r0, r1, r2, r3) writes a cache
  };
  Kind kind = Kind::columns;
  Halide::Func func;
  std::vector<Halide::Var> vars;
  std::vector<Halide::RVar> rvars;
  int64_t width = 0; ///< extent of vars[0]
};

struct ScheduleRequest {
  const KernelSpec &spec;
  std::vector<OutputStage> outputs;
  std::vector<LinearStage> linears;
  std::vector<NormStage> norms;
  std::vector<QuantizeStage> quantizes;
  std::vector<AttentionStage> attentions;
};

} // namespace ingot
