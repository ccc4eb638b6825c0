// Schedules of linear layers.
//
// One token: weights stream past once; each group of a block of 16 rows is unpacked into registers
// and multiplied at once. Many tokens: a block of rows is unpacked once into the first-level cache
// and used by all tokens, a tile of them at a time, with the sums in registers.
#include "targets/cpu/Schedules.h"

using namespace ingot;
using namespace Halide;

namespace {

void vectorizeGroups(Func func, Var var, int32_t groups) {
  const int32_t lanes = lanesFor(groups);
  if (lanes > 1)
    func.vectorize(var, lanes, TailStrategy::ShiftInwards);
}

/// Weights come from memory. Where they pass group by group there are few loads in flight, so that
/// asking ahead is worth an instruction a cache line; where a block of rows is unpacked in one go
/// and then multiplied for long, the next block is asked for at the start of one.
void prefetchWeights(bool by_group, int32_t bytes, int32_t streams, LinearStage &s, Stage out,
                     RVar block) {
  if (!by_group && streams > 1)
    return; // Halide would ask for everything between them
  if (by_group && !s.codes.defined())
    return; // for two groups, line by line: nearly as many instructions as products take
  const int64_t group_bytes = int64_t(s.rows) * s.k_inner * s.steps * s.code_bits / 8;
  const int64_t ahead = std::max<int64_t>(bytes / streams / group_bytes, 1);
  for (ImageParam part : s.reads)
    if (by_group)
      s.result.update().prefetch(part, s.stream, s.group, int32_t(ahead),
                                 PrefetchBoundStrategy::NonFaulting);
    else
      out.prefetch(part, block, block, 1, PrefetchBoundStrategy::NonFaulting);
}

} // namespace

void ingot::scheduleLinear(ScheduleRequest &request, const Machine &machine, LinearStage &s,
                           OutputStage &output) {
  const int32_t max_tokens = request.spec.max_tokens;
  const bool one = max_tokens == 1;
  const int32_t tile = one ? 1 : request.spec.tile.token_tile;
  // The sums of tokens that are not in a register tile then wait on the stack.
  const bool few = weightsPassOnce(request.spec, s.form);
  const int32_t pass = few ? (max_tokens + tile - 1) / tile * tile : tile;
  Func y = s.result, acc = s.accumulator;
  Stage out = output.func.update();
  Var out_n = output.vars[0], out_t = output.vars[1];
  RVar out_stream = output.rvars[0], out_nb = output.rvars[1];
  Var to("token_tile"), ti("token_in_tile"), lane("byte_lane");
  LoopLevel tile_loop(output.func, one ? VarOrRVar(out_nb) : VarOrRVar(to)),
      block_loop(output.func, out_nb);

  output.func.bound(out_n, 0, 16);
  out.vectorize(out_n, 16);
  if (one) {
    output.func.bound(out_t, 0, 1);
    out.reorder(out_n, out_stream, out_t, out_nb);
  } else {
    out.split(out_t, to, ti, pass, TailStrategy::RoundUp);
    out.reorder(out_n, ti, out_stream, to, out_nb).unroll(ti);
  }
  y.compute_at(tile_loop);
  y.store_in(MemoryType::Stack).bound_extent(s.n, 16).vectorize(s.n, 16).unroll(s.nb).unroll(s.t);
  y.unroll(s.stream);

  if (s.form == DotForm::floats) {
    y.update().reorder(s.n, s.t, s.step_x, s.step_y, s.stream, s.group, s.nb);
    y.update().vectorize(s.n, 16).unroll(s.t);
    s.codes.compute_at(y, s.stream).store_in(MemoryType::Stack).bound_extent(s.n, 16);
    s.codes.reorder(s.n, s.b, s.q, s.g, s.nb).reorder_storage(s.n, s.b, s.q, s.g, s.nb);
    s.codes.vectorize(s.n, 16);
    return;
  }

  Var y_to("sums_tile"), y_ti("sum_in_tile");
  // Of many tokens, the blocks of all streams meet in registers.
  y.update().split(s.t, y_to, y_ti, tile);
  if (few)
    y.update().reorder(s.n, y_ti, y_to, s.stream, s.group, s.nb);
  else
    y.update().reorder(s.n, y_ti, s.stream, y_to, s.group, s.nb).unroll(s.stream);
  y.update().vectorize(s.n, 16).unroll(y_ti);
  prefetchWeights(few, machine.rates.prefetch_bytes, request.spec.tile.streams, s, out, out_nb);
  acc.compute_at(y, y_to).store_in(MemoryType::Stack).bound_extent(s.n, 16);
  acc.vectorize(s.n, 16).unroll(s.t).unroll(s.stream);

  // Steps of a group: all in a row for one token and for quads, which need few instructions. Else a
  // loop remains: in one straight run LLVM orders a token's steps one after the other, keeps all
  // codes for the next token, and spills them; of halves, those of 4 rows one after the other.
  RVar outer("step_outer"), inner("step_inner");
  const bool straight =
      s.form == DotForm::halves ? one && !s.codes.defined() : one || s.form == DotForm::quads;
  const int32_t run = straight ? s.run_steps : std::min(s.run_steps, 2);
  if (s.form == DotForm::halves) {
    Stage sums = acc.update();
    sums.split(s.step_y, outer, inner, run)
        .reorder({s.n, s.t, s.stream, s.step_x, inner, outer})
        .vectorize(s.n, 16)
        .unroll(s.t)
        .unroll(s.stream)
        .unroll(s.step_x)
        .unroll(inner);
  } else if (!s.pairs.defined()) {
    Stage sums = acc.update();
    sums.split(s.step_y, outer, inner, run).reorder({s.step_x, s.n, s.t, s.stream, inner, outer});
    sums.vectorize(s.n, 16).atomic().vectorize(s.step_x, s.k_inner).unroll(s.t).unroll(s.stream);
    sums.unroll(inner);
  } else {
    Func pairs = s.pairs;
    const int32_t at_once = s.form == DotForm::lanes ? 1 : 2, beside = s.k_inner / at_once;
    // Sums of several runs meet in the accumulator, one after the other.
    const bool runs = s.run_steps < s.steps;
    if (runs)
      pairs.compute_at(acc, s.pair_run);
    else
      pairs.compute_at(y, y_to);
    pairs.store_in(MemoryType::Stack)
        .bound_extent(s.run, 1)
        .bound_extent(s.p, beside)
        .bound_extent(s.n, 16);
    pairs.vectorize(s.p, beside).vectorize(s.n, 16).unroll(s.t).unroll(s.stream);
    Stage sums = pairs.update();
    sums.split(s.step_y, outer, inner, run)
        .reorder({s.step_x, s.p, s.n, s.t, s.stream, inner, outer});
    if (at_once > 1)
      sums.atomic(s.form == DotForm::saturating_pairs).vectorize(s.step_x, at_once);
    sums.vectorize(s.p, beside).vectorize(s.n, 16).unroll(s.t).unroll(s.stream).unroll(inner);
    acc.update()
        .reorder({s.pair, s.n, s.t, s.stream, s.pair_run})
        .atomic()
        .vectorize(s.pair, beside)
        .vectorize(s.n, 16);
    acc.update().unroll(s.t).unroll(s.stream);
    if (one)
      acc.update().unroll(s.pair_run);
  }

  // What is made of activations: once for all rows, or where tokens are many, once for a tile of
  // them and each block of rows, which costs less than reading it back from the second-level cache.
  auto placeActivations = [&](Func func, Var token) {
    if (max_tokens <= kTokenPadding)
      func.compute_root().bound_storage(token, int32_t(paddedTokens(max_tokens)));
    else
      func.compute_at(tile_loop);
  };

  // Unpacked codes: the group that is being multiplied, or the whole block of rows.
  if (s.codes.defined()) {
    s.codes.store_in(MemoryType::Stack).bound_extent(s.b, s.k_inner).bound_extent(s.n, 16);
    if (few)
      s.codes.compute_at(y, s.stream).bound_extent(s.q, s.steps);
    else
      s.codes.compute_at(block_loop).bound_extent(s.q, s.steps);
    if (s.form == DotForm::halves)
      s.codes.reorder_storage(s.n, s.b, s.q, s.g, s.nb, s.stream)
          .reorder(s.n, s.b, s.q, s.g, s.nb, s.stream)
          .vectorize(s.n, 16)
          .unroll(s.b);
    else
      s.codes.fuse(s.b, s.n, lane).vectorize(lane, 16 * s.k_inner);
    s.codes.unroll(s.q);
  }
  // Eight halves of a token lie in a register, of which a product takes a lane.
  const bool by_lane = s.form == DotForm::halves && machine.half_products;
  if (s.copies.defined()) {
    const int32_t at_once = by_lane ? s.k_inner * run : s.k_inner * s.steps;
    s.copies.store_in(MemoryType::Stack).bound_extent(s.k, at_once);
    s.copies.vectorize(s.k, by_lane ? 8 : 16);
  }
  if (by_lane) {
    s.copies.compute_at(acc, outer).unroll(s.k).unroll(s.t);
  } else if (s.copies.defined() && s.form == DotForm::quads) {
    // Steps are one straight run: what is copied for a group stays in registers, and a step takes
    // its lane.
    s.copies.compute_at(y, y_to).unroll(s.k).unroll(s.t);
  } else if (s.copies.defined()) {
    placeActivations(s.copies, s.t);
    if (max_tokens > kTokenPadding)
      s.copies.unroll(s.t);
  }

  for (Func scale : {s.scales, s.mins}) {
    if (!scale.defined())
      continue;
    scale.store_in(MemoryType::Stack).bound_extent(s.n, 16).vectorize(s.n, 16);
    if (few)
      scale.compute_at(y, s.stream);
    else
      scale.compute_at(block_loop);
  }
  if (s.sums.defined()) {
    s.sums.store_in(MemoryType::Stack).bound_extent(s.g, s.groups);
    placeActivations(s.sums, s.t);
    vectorizeGroups(s.sums, s.g, s.groups);
  }
}
