// What a target sees of a kernel when it schedules it: the Halide Funcs of the pipeline with their
// roles and the variables that loops are made of. Made by Builder.cpp, read by targets/*/Schedules.
#pragma once

#include "targets/Target.h"

#include "Halide.h"

#include <vector>

namespace ingot {

/// y[n, nb, stream, t] = sum over groups of f32(acc) * (scale * act_scale) [+ min * act_sum].
/// n: row in its block of layout.rows; nb: block of a stream (Tile); t: token; g: activation group;
/// q: step of k_inner elements in the group; b: element of the step. Undefined Funcs are absent in
/// that form.
struct LinearStage {
  DotForm form = DotForm::quads;
  Halide::Func result;      ///< f32 (n, nb, stream, t); update 0 over (group)
  Halide::Func accumulator; ///< i32 (n, g, nb, stream, t); update 0 over (step.x, step.y); f32 of
                            ///< halves
  Halide::Func pairs; ///< i16 or i32 (p, n, run, g, nb, stream, t), the forms of pairs: p of a step
  /// Unpacked (b, n, q, g, nb, stream): u8 or i8, i16 (widened), f16 or f32 (halves; undefined
  /// where weights are); or f32 (b, n, q, g, nb) (floats).
  Halide::Func codes;
  Halide::Func scales, mins; ///< f32 (n, g, nb, stream)
  Halide::Func sums;         ///< f32 (g, t): activation sums times their scale; where mins are
  Halide::Func copies;       ///< activations (k, g, t): as wide as codes, or to be in registers
  std::vector<Halide::ImageParam> reads; ///< what is read of the packed matrix
  Halide::Var n, nb, stream, t, g, q, b, p, k;
  Halide::RVar step_x, step_y, group; ///< elements of a step or pair, steps, groups
  Halide::RVar pair, pair_run;        ///< pairs of a step, runs of steps that they are summed over
  Halide::Var run;
  int32_t run_steps = 1;
  int32_t rows = 16, k_inner = 4, steps = 8, groups = 1;
  int32_t code_bits = 8; ///< of weights in memory
};

/// 1 / rms of a row: 16 partial sums of squares, then a fixed tree.
struct NormStage {
  Halide::Func partial; ///< f32 (l, t)
  Halide::Func inverse; ///< f32 (t)
  Halide::Var l, t;
};

/// The largest of many magnitudes: `lanes` of them side by side, then half as many, down to one.
struct PeakStage {
  std::vector<Halide::Func> steps; ///< f32 (l, ...); the first has an update over a reduction
  Halide::Var l;
  int32_t lanes = 16;
};

/// Symmetric codes of groups of a row: i8, i16 or f16.
struct QuantizeStage {
  Halide::Func source;              ///< f32 (k, g, t): what is quantized
  PeakStage peak;                   ///< of |x|: (l, g, t)
  Halide::Func codes, scales, sums; ///< i8 (k, g, t), f32 (g, t), i32 (g, t)
  Halide::Func row;                 ///< i8 (c, t): the codes for a linear of the same kernel
  Halide::Var c;
  Halide::Var k, g, t;
  Halide::RVar sum_r;
  int32_t group = 32, groups = 1;
};

/// A head of a row: values (i, half, h, t), pairs that rotate together at equal i.
struct HeadStage {
  Halide::Func source; ///< f32
  // 16-bit codes of it, where it meets a cache of those: round(source / scale).
  PeakStage peak;     ///< of |source|: (l, h, t)
  Halide::Func scale; ///< f32 (h, t)
  Halide::Func codes; ///< i16 (i, half, h, t)
  Halide::Var i, half, h, t;
  int32_t pairs = 32; ///< extent of i
  bool interleaved = false;
};

/// Causal attention of one head over blocks of 16 keys. Over a cache of 16-bit codes (`codes` is
/// defined) both products are integers: of a query's codes, and of the codes of a span of 4 blocks'
/// softmax weights, each times its value's scale.
struct AttentionStage {
  HeadStage query;
  Halide::Func partial_scores;            ///< f32 or i32 (l, blk, h, t): q.k; update over rd
  Halide::Func scores;                    ///< f32 (l, blk, h, t): scaled, masked; kept for the tile
  Halide::Func maxima, maximum;           ///< f32 (l, h, t), (h, t)
  Halide::Func weights;                   ///< f32 (l, blk, h, t): exp(score - maximum)
  Halide::Func partial_sums, inverse;     ///< f32 (l, h, t), (h, t)
  Halide::Func values;                    ///< f32 (d, h, t): update over (rl, rb) or (span)
  PeakStage span_peak;                    ///< of weight * scale of value: (l, span, h, t)
  Halide::Func span_scale;                ///< f32 (span, h, t)
  Halide::Func codes;                     ///< i16 (l, blk, h, t): of weight * scale of value
  Halide::Func span_values;               ///< i32 (d, span, h, t): update over (pair, step, blk)
  Halide::ImageParam keys, stored_values; ///< of the cache: blocks of 16 positions
  Halide::Var l, blk, h, t, d, span;
  std::vector<Halide::RVar> rd; ///< head_dim: (d), or pairs of codes first
  Halide::RVar max_rb, sum_rb, value_rl, value_rb, value_span, pair, pair_step, pair_blk;
  Halide::Expr position;          ///< of the first token
  Halide::Expr first_head, heads; ///< of queries, that a call computes
  int32_t blocks = 1;             ///< of 16 keys in the whole context
  int32_t head_dim = 64;
  int32_t shared = 1; ///< heads that have the same keys
};

/// A Func that is written to memory, and its loops, innermost first.
struct OutputStage {
  enum class Kind : uint8_t {
    columns, ///< (c, t)
    blocks,  ///< (n, t), update 0 over (stream, nb): blocks of rows of a linear
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

/// Keys and values on their way into a cache of 16-bit codes.
struct AppendStage {
  HeadStage keys, values;
};

/// Lines that a loop asks for before something else reads them. Halide's own prefetch asks for what
/// the same loop reads some iterations on, and nothing else.
struct AskAhead {
  std::string loop; ///< how the loop's name ends; each of its iterations asks
  Halide::ImageParam memory;
  std::vector<Halide::Expr> elements; ///< one of each line
  Halide::Expr when;

  /// A variable of the loop, or of one around it, by the end of its name; 0 where Halide made no
  /// loop of it.
  static Halide::Expr loopVariable(const std::string &ending) {
    return Halide::Internal::Variable::make(Halide::Int(32), "ask_ahead" + ending);
  }
};

struct ScheduleRequest {
  const KernelSpec &spec;
  std::vector<OutputStage> outputs;
  std::vector<LinearStage> linears;
  std::vector<NormStage> norms;
  std::vector<QuantizeStage> quantizes;
  std::vector<AttentionStage> attentions;
  std::vector<AppendStage> appends;
  std::vector<AskAhead> asks; ///< what the schedule adds
};

} // namespace ingot
