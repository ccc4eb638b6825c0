// What the runtime has no function for (Kernels.cpp): embeddings, float matrices, caches of floats.
// HVX as V66 has it computes with integers only, so every float is computed by itself, in the order
// that other machines have it in. Loops of floats are not unrolled: they are long, and code for a
// tile of them would be longer than what it computes.
#include "targets/hexagon/Schedules.h"

using namespace ingot;
using namespace Halide;

namespace {

void scheduleLinear(ScheduleRequest &request, LinearStage &s, OutputStage &output) {
  const bool one = request.spec.max_tokens == 1;
  Func y = s.result;
  Stage out = output.func.update();
  Var out_n = output.vars[0], out_t = output.vars[1], to("token_tile"), ti("token_in_tile");
  RVar out_stream = output.rvars[0], out_nb = output.rvars[1];
  output.func.bound(out_n, 0, 16);
  if (one) {
    output.func.bound(out_t, 0, 1);
    out.reorder(out_n, out_stream, out_t, out_nb);
  } else {
    out.split(out_t, to, ti, request.spec.tile.token_tile, TailStrategy::RoundUp);
    out.reorder(out_n, ti, out_stream, to, out_nb);
  }
  y.compute_at(LoopLevel(output.func, one ? VarOrRVar(out_nb) : VarOrRVar(to)));
  y.store_in(MemoryType::Stack).bound_extent(s.n, 16);
  y.update().reorder(s.n, s.t, s.step_x, s.step_y, s.stream, s.group, s.nb);
  s.codes.compute_at(y, s.stream).store_in(MemoryType::Stack).bound_extent(s.n, 16);
  s.codes.reorder(s.n, s.b, s.q, s.g, s.nb).reorder_storage(s.n, s.b, s.q, s.g, s.nb);
}

void scheduleAttention(ScheduleRequest &request, AttentionStage &s, OutputStage &output) {
  const bool one = request.spec.max_tokens == 1;
  const int32_t group = int32_t(kernelInterface(request.spec).grain);
  const int32_t tile = one ? group : request.spec.tile.token_tile;
  const Var side = one ? s.h : s.t, across = one ? s.t : s.h;
  Func out = output.func;
  Var d = output.vars[0], h = output.vars[1], t = output.vars[2];
  Var to("tile"), ti("in_tile");
  out.bound(d, 0, s.head_dim);
  if (one)
    out.bound(t, 0, 1).split(h, to, ti, group, TailStrategy::RoundUp).reorder(d, ti, t, to);
  else
    out.split(t, to, ti, tile, TailStrategy::RoundUp).reorder(d, ti, to, h);
  Func query = s.query.source;
  query.compute_at(out, to).store_in(MemoryType::Stack);
  query.bound_extent(s.query.half, 2).bound_extent(s.query.i, s.query.pairs);
  if (s.query.interleaved)
    query.reorder_storage(s.query.half, s.query.i, s.query.h, s.query.t);

  for (Func kept : {s.scores, s.weights}) {
    kept.compute_at(out, to).store_in(MemoryType::Stack).bound_storage(s.blk, s.blocks);
    kept.bound_extent(s.l, 16).reorder(s.l, side, s.blk, across);
    kept.reorder_storage(s.l, side, s.blk, across);
  }
  s.partial_scores.compute_at(s.scores, s.blk);
  s.partial_scores.store_in(MemoryType::Stack).bound_extent(s.l, 16);
  s.partial_scores.update().reorder(s.l, side, s.rd[0], s.rd[1]);
  for (auto [func, r] : {std::pair{s.maxima, s.max_rb}, std::pair{s.partial_sums, s.sum_rb}}) {
    Func partial = func;
    partial.compute_at(out, to).store_in(MemoryType::Stack).bound_extent(s.l, 16);
    partial.update().reorder(s.l, side, r);
  }
  for (Func scalar : {s.maximum, s.inverse})
    scalar.compute_at(out, to).store_in(MemoryType::Stack);
  s.values.compute_at(out, to).store_in(MemoryType::Stack).bound_extent(s.d, s.head_dim);
  s.values.update().reorder(s.d, side, s.value_rl, s.value_rb);
}

void scheduleRows(ScheduleRequest &request) {
  const int32_t max_tokens = request.spec.max_tokens;
  for (NormStage &norm : request.norms) {
    norm.inverse.compute_root().store_in(MemoryType::Stack).bound_storage(norm.t, max_tokens);
    norm.partial.compute_at(norm.inverse, norm.t).store_in(MemoryType::Stack);
    norm.partial.bound_extent(norm.l, 16);
  }
  for (OutputStage &output : request.outputs)
    if (output.kind == OutputStage::Kind::pairs)
      output.func.bound(output.vars[1], 0, 2);
}

} // namespace

void hexagon::schedule(ScheduleRequest &request) {
  for (LinearStage &stage : request.linears)
    scheduleLinear(request, stage, request.outputs.front());
  for (AttentionStage &stage : request.attentions)
    scheduleAttention(request, stage, request.outputs.front());
  scheduleRows(request);
}
