// Schedules of attention: one head and a tile of tokens at a time. Scores of the tile against all
// keys so far are kept on the stack; keys and values are read once per tile.
#include "targets/x86/Schedules.h"

using namespace ingot;
using namespace Halide;

void ingot::scheduleAttention(ScheduleRequest &request, AttentionStage &s, OutputStage &output) {
  const bool one = request.spec.max_tokens == 1;
  const int32_t tile = one ? 1 : request.spec.tile.token_tile;
  const int32_t lanes = s.head_dim % 16 ? 1 : 16;
  Func out = output.func;
  Var d = output.vars[0], h = output.vars[1], t = output.vars[2];
  Var to("token_tile"), ti("token_in_tile");

  out.bound(d, 0, s.head_dim).vectorize(d, lanes);
  if (one)
    out.bound(t, 0, 1).split(t, to, ti, 1).reorder(d, ti, to, h);
  else
    out.split(t, to, ti, tile, TailStrategy::RoundUp).reorder(d, ti, to, h);
  out.unroll(ti);

  for (Func kept : {s.scores, s.weights}) {
    kept.compute_at(out, to).store_in(MemoryType::Stack).bound_storage(s.blk, s.blocks);
    kept.bound_extent(s.l, 16).reorder(s.l, s.t, s.blk, s.h).vectorize(s.l, 16).unroll(s.t);
    kept.reorder_storage(s.l, s.t, s.blk, s.h);
  }
  s.partial_scores.compute_at(s.scores, s.blk).store_in(MemoryType::Stack);
  s.partial_scores.bound_extent(s.l, 16).vectorize(s.l, 16).unroll(s.t);
  s.partial_scores.update().reorder(s.l, s.t, s.rd).vectorize(s.l, 16).unroll(s.t);

  for (auto [func, r] : {std::pair{s.maxima, s.max_rb}, std::pair{s.partial_sums, s.sum_rb}}) {
    Func partial = func;
    partial.compute_at(out, to).store_in(MemoryType::Stack).bound_extent(s.l, 16);
    partial.vectorize(s.l, 16).unroll(s.t);
    partial.update().reorder(s.l, s.t, r).vectorize(s.l, 16).unroll(s.t);
  }
  for (Func scalar : {s.maximum, s.inverse})
    scalar.compute_at(out, to).store_in(MemoryType::Stack).unroll(s.t);

  s.values.compute_at(out, to).store_in(MemoryType::Stack).bound_extent(s.d, s.head_dim);
  s.values.vectorize(s.d, lanes).unroll(s.t);
  s.values.update().reorder(s.d, s.t, s.value_rl, s.value_rb).vectorize(s.d, lanes).unroll(s.t);
  if (lanes > 1 && s.head_dim <= 128)
    s.values.update().unroll(s.d);
}
