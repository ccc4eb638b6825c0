// HVX as V66 has it computes with integers only, and so do the emulators of V68. So whatever is a
// float is computed one by one, in the same order as 16 lanes side by side do it elsewhere: results
// agree bit for bit. What is left in vectors is the bulk of the work, codes times codes.
//
// Loops of floats are not unrolled: they are long, and code for a tile of them would be longer than
// what it computes.
#include "targets/hexagon/Schedules.h"

using namespace ingot;
using namespace Halide;

namespace {

void schedulePeak(PeakStage &stage, Func consumer, Var at) {
  int32_t lanes = stage.lanes;
  for (Func &step : stage.steps) {
    step.compute_at(consumer, at).store_in(MemoryType::Stack).bound_extent(stage.l, lanes);
    lanes /= 2;
  }
}

void scheduleLinear(ScheduleRequest &request, LinearStage &s, OutputStage &output) {
  const int32_t max_tokens = request.spec.max_tokens;
  const bool one = max_tokens == 1;
  const int32_t tile = one ? 1 : request.spec.tile.token_tile;
  Func y = s.result, acc = s.accumulator;
  Stage out = output.func.update();
  Var out_n = output.vars[0], out_t = output.vars[1];
  RVar out_stream = output.rvars[0], out_nb = output.rvars[1];
  Var to("token_tile"), ti("token_in_tile"), lane("byte_lane");
  LoopLevel tile_loop(output.func, one ? VarOrRVar(out_nb) : VarOrRVar(to)),
      block_loop(output.func, out_nb);

  output.func.bound(out_n, 0, 16);
  if (one) {
    output.func.bound(out_t, 0, 1);
    out.reorder(out_n, out_stream, out_t, out_nb);
  } else {
    out.split(out_t, to, ti, tile, TailStrategy::RoundUp);
    out.reorder(out_n, ti, out_stream, to, out_nb);
  }
  y.compute_at(tile_loop);
  y.store_in(MemoryType::Stack).bound_extent(s.n, 16);

  if (s.form == DotForm::floats) {
    y.update().reorder(s.n, s.t, s.step_x, s.step_y, s.stream, s.group, s.nb);
    s.codes.compute_at(y, s.stream).store_in(MemoryType::Stack).bound_extent(s.n, 16);
    s.codes.reorder(s.n, s.b, s.q, s.g, s.nb).reorder_storage(s.n, s.b, s.q, s.g, s.nb);
    return;
  }

  Var y_to("sums_tile"), y_ti("sum_in_tile");
  y.update().split(s.t, y_to, y_ti, tile).reorder(s.n, y_ti, y_to, s.stream, s.group, s.nb);
  acc.compute_at(y, y_to).store_in(MemoryType::Stack).bound_extent(s.n, 16);
  acc.vectorize(s.n, 16).unroll(s.t);
  Stage sums = acc.update();
  sums.reorder(s.step_x, s.n, s.t, s.step_y).vectorize(s.n, 16);
  sums.atomic().vectorize(s.step_x, s.k_inner).unroll(s.t).unroll(s.step_y);

  s.codes.store_in(MemoryType::Stack).bound_extent(s.b, s.k_inner).bound_extent(s.n, 16);
  s.codes.compute_at(block_loop).bound_extent(s.q, s.steps);
  s.codes.fuse(s.b, s.n, lane).vectorize(lane, 16 * s.k_inner);
  // Half precision is widened by shifts and masks.
  for (Func scale : {s.scales, s.mins})
    if (scale.defined())
      scale.store_in(MemoryType::Stack).bound_extent(s.n, 16).compute_at(block_loop).vectorize(s.n);
  if (s.sums.defined()) {
    s.sums.store_in(MemoryType::Stack).bound_extent(s.g, s.groups);
    s.sums.compute_at(tile_loop);
  }
}

void scheduleQuery(HeadStage &s, Func out, Var tile) {
  auto place = [&](Func func) {
    func.compute_at(out, tile).store_in(MemoryType::Stack);
    func.bound_extent(s.half, 2).bound_extent(s.i, s.pairs);
    if (s.interleaved)
      func.reorder_storage(s.half, s.i, s.h, s.t);
  };
  place(s.source);
  if (!s.codes.defined())
    return;
  place(s.codes);
  s.scale.compute_at(out, tile).store_in(MemoryType::Stack);
  schedulePeak(s.peak, s.scale, s.t);
}

void scheduleAttention(ScheduleRequest &request, AttentionStage &s, OutputStage &output) {
  const bool one = request.spec.max_tokens == 1, integers = s.codes.defined();
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
  scheduleQuery(s.query, out, to);

  for (Func kept : {s.scores, s.weights}) {
    kept.compute_at(out, to).store_in(MemoryType::Stack).bound_storage(s.blk, s.blocks);
    kept.bound_extent(s.l, 16).reorder(s.l, side, s.blk, across);
    kept.reorder_storage(s.l, side, s.blk, across);
  }
  s.partial_scores.compute_at(s.scores, s.blk);
  s.partial_scores.store_in(MemoryType::Stack).bound_extent(s.l, 16);
  Stage products = s.partial_scores.update();
  if (integers)
    products.reorder({s.rd[0], s.l, side, s.blk, s.rd[1], s.rd[2]});
  else
    products.reorder(s.l, side, s.rd[0], s.rd[1]);
  for (auto [func, r] : {std::pair{s.maxima, s.max_rb}, std::pair{s.partial_sums, s.sum_rb}}) {
    Func partial = func;
    partial.compute_at(out, to).store_in(MemoryType::Stack).bound_extent(s.l, 16);
    partial.update().reorder(s.l, side, r);
  }
  for (Func scalar : {s.maximum, s.inverse})
    scalar.compute_at(out, to).store_in(MemoryType::Stack);
  s.values.compute_at(out, to).store_in(MemoryType::Stack).bound_extent(s.d, s.head_dim);
  if (!integers) {
    s.values.update().reorder(s.d, side, s.value_rl, s.value_rb);
    return;
  }
  Var di("d_inner"), d_outer("d_outer");
  s.values.update().split(s.d, d_outer, di, s.head_dim).reorder(di, side, d_outer, s.value_span);
  s.codes.compute_at(s.values, s.value_span).store_in(MemoryType::Stack).bound_extent(s.l, 16);
  s.codes.bound_extent(s.blk, 4);
  s.span_scale.compute_at(s.values, s.value_span).store_in(MemoryType::Stack);
  s.span_scale.reorder(s.span, across, side);
  schedulePeak(s.span_peak, s.span_scale, side);
  s.span_values.compute_at(s.values, d_outer).store_in(MemoryType::Stack);
  s.span_values.bound_extent(s.d, s.head_dim);
  s.span_values.update().reorder({s.pair, s.d, side, s.pair_step, s.pair_blk});
}

void scheduleRows(ScheduleRequest &request) {
  const int32_t max_tokens = request.spec.max_tokens;
  for (NormStage &norm : request.norms) {
    norm.inverse.compute_root().store_in(MemoryType::Stack).bound_storage(norm.t, max_tokens);
    norm.partial.compute_at(norm.inverse, norm.t).store_in(MemoryType::Stack);
    norm.partial.bound_extent(norm.l, 16);
  }
  for (QuantizeStage &stage : request.quantizes) {
    schedulePeak(stage.peak, stage.scales, stage.g);
    stage.codes.bound(stage.k, 0, stage.group);
    if (stage.row.defined())
      for (Func func : {stage.row, stage.codes, stage.scales, stage.sums})
        func.compute_root().store_in(MemoryType::Stack);
  }
  for (AppendStage &append : request.appends)
    for (int part : {0, 1}) { // keys, values: the first two outputs
      HeadStage &head = part ? append.values : append.keys;
      head.scale.compute_root().store_in(MemoryType::Stack).bound_storage(head.t, max_tokens);
      schedulePeak(head.peak, head.scale, head.t);
      head.codes.compute_at(request.outputs[part].func, request.outputs[part].rvars.back());
      head.codes.store_in(MemoryType::Stack);
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
