// Schedules of linear layers.
//
// One token: weights stream past once; each group of a block of 16 rows is unpacked into registers
// and multiplied at once. Many tokens: a block of rows is unpacked once into the first-level cache
// and used by all tokens, a tile of them at a time, with the sums in registers.
#include "targets/x86/Schedules.h"

using namespace ingot;
using namespace Halide;

namespace {

void vectorizeGroups(Func func, Var var, int32_t groups) {
  const int32_t lanes = lanesFor(groups);
  if (lanes > 1)
    func.vectorize(var, lanes, TailStrategy::ShiftInwards);
}

} // namespace

void ingot::scheduleLinear(ScheduleRequest &request, LinearStage &s, OutputStage &output) {
  const bool one = request.spec.max_tokens == 1;
  const int32_t tile = one ? 1 : request.spec.tile.token_tile;
  Func out = output.func, y = s.result, acc = s.accumulator;
  Var out_n = output.vars[0], out_nb = output.vars[1], out_t = output.vars[2];
  Var to("token_tile"), ti("token_in_tile"), lane("byte_lane");

  out.bound(out_n, 0, 16).vectorize(out_n, 16);
  if (one) {
    out.bound(out_t, 0, 1).reorder(out_n, out_t, out_nb);
    y.compute_at(out, out_nb);
  } else {
    out.split(out_t, to, ti, tile, TailStrategy::RoundUp);
    out.reorder(out_n, ti, to, out_nb).unroll(ti);
    y.compute_at(out, to);
  }
  y.store_in(MemoryType::Stack).bound_extent(s.n, 16).vectorize(s.n, 16).unroll(s.nb).unroll(s.t);

  if (s.form == DotForm::floats) {
    y.update().reorder(s.n, s.t, s.step_x, s.step_y, s.group, s.nb);
    y.update().vectorize(s.n, 16).unroll(s.t);
    s.codes.compute_at(y, s.group).store_in(MemoryType::Stack).bound_extent(s.n, 16);
    s.codes.reorder(s.n, s.b, s.q, s.g, s.nb).reorder_storage(s.n, s.b, s.q, s.g, s.nb);
    s.codes.vectorize(s.n, 16);
    return;
  }

  y.update().reorder(s.n, s.t, s.group, s.nb).vectorize(s.n, 16).unroll(s.t);
  acc.compute_at(y, s.group).store_in(MemoryType::Stack).bound_extent(s.n, 16);
  acc.vectorize(s.n, 16).unroll(s.t);

  if (!s.pairs.defined()) {
    acc.update().reorder(s.step_x, s.n, s.t, s.step_y).vectorize(s.n, 16).atomic();
    acc.update().vectorize(s.step_x, s.k_inner).unroll(s.t).unroll(s.step_y);
  } else {
    const bool saturating = s.form == DotForm::saturating_pairs;
    Func pairs = s.pairs;
    pairs.compute_at(y, s.group).store_in(MemoryType::Stack);
    pairs.bound_extent(s.p, 2).bound_extent(s.n, 16);
    pairs.vectorize(s.p, 2).vectorize(s.n, 16).unroll(s.t);
    Stage sums = pairs.update();
    RVar outer("step_outer"), inner("step_inner");
    // With a tile of tokens a loop remains: in one straight run LLVM orders a token's steps one
    // after the other, keeps all codes for the next token, and spills them.
    if (one)
      sums.reorder(s.step_x, s.p, s.n, s.t, s.step_y).unroll(s.step_y);
    else
      sums.split(s.step_y, outer, inner, 2)
          .reorder(s.step_x, s.p, s.n, s.t, inner, outer)
          .unroll(inner);
    sums.atomic(saturating).vectorize(s.step_x, 2).vectorize(s.p, 2).vectorize(s.n, 16);
    sums.unroll(s.t);
    acc.update().reorder(s.pair, s.n, s.t).atomic().vectorize(s.pair, 2).vectorize(s.n, 16);
    acc.update().unroll(s.t);
  }

  // Unpacked codes: the group that is being multiplied, or the whole block of rows.
  s.codes.store_in(MemoryType::Stack).bound_extent(s.b, s.k_inner).bound_extent(s.n, 16);
  if (one)
    s.codes.compute_at(y, s.group).bound_extent(s.q, s.steps);
  else
    s.codes.compute_at(out, out_nb).bound_extent(s.q, s.steps);
  s.codes.fuse(s.b, s.n, lane).vectorize(lane, 16 * s.k_inner).unroll(s.q);
  if (s.form == DotForm::widened_pairs) {
    s.wide.store_in(MemoryType::Stack).bound_extent(s.k, s.k_inner * s.steps);
    s.wide.vectorize(s.k, 16);
    if (one)
      s.wide.compute_root();
    else
      s.wide.compute_at(out, to).unroll(s.t);
  }

  for (Func scale : {s.scales, s.mins}) {
    if (!scale.defined())
      continue;
    scale.store_in(MemoryType::Stack).bound_extent(s.n, 16).vectorize(s.n, 16);
    if (one)
      scale.compute_at(y, s.group);
    else
      scale.compute_at(out, out_nb);
  }
  if (s.sums.defined()) {
    s.sums.store_in(MemoryType::Stack).bound_extent(s.g, s.groups);
    if (one)
      s.sums.compute_root();
    else
      s.sums.compute_at(out, to);
    vectorizeGroups(s.sums, s.g, s.groups);
  }
}
