// Schedules of attention: one head and a tile of tokens at a time. Scores and weights of the tile
// for all keys so far are kept on the stack; keys and values are read once per tile. With 16-bit
// codes both products run in the dot product of pairs where the machine has one
// (Machine::word_pairs: vpdpwssd, vpmaddwd), else one element of a pair after the other.
#include "targets/cpu/Schedules.h"

using namespace ingot;
using namespace Halide;

namespace {

/// The query's heads, where `out` begins a tile of tokens.
void scheduleQuery(HeadStage &s, Func out, Var tile) {
  int32_t lanes = 16;
  while (s.pairs % lanes)
    lanes /= 2;
  auto place = [&](Func func) {
    func.compute_at(out, tile).store_in(MemoryType::Stack);
    func.bound_extent(s.half, 2).bound_extent(s.i, s.pairs);
    if (lanes > 1)
      func.vectorize(s.i, lanes);
    func.unroll(s.half);
  };
  place(s.source);
  if (!s.codes.defined())
    return;
  place(s.codes);
  if (s.interleaved) // pairs of codes are multiplied at once
    s.codes.reorder_storage(s.half, s.i, s.h, s.t);
  s.scale.compute_at(out, tile).store_in(MemoryType::Stack);
  schedulePeak(s.peak, s.scale, s.t);
}

/// One token reads the keys of a group of heads, then their values, then the next group's keys:
/// some kilobytes in each place, and the hardware's fetches ahead end with every page of 4 KiB. So
/// all of it is one sequence of blocks of 16 positions, and while one is read, that `bytes` further
/// on is asked for.
void askForHeads(ScheduleRequest &request, const AttentionStage &s, int32_t bytes, int32_t group,
                 int32_t side_by_side, int32_t columns) {
  // Halide numbers the names of Funcs and reductions, those of Vars it leaves alone.
  const auto loop = [](const RVar &r) { return AskAhead::loopVariable("." + r.name()); };
  const auto named = AskAhead::loopVariable;
  constexpr int32_t line = 64 / 2, span = kWeightCodeSpan / 16; // elements; blocks
  const int32_t block = 16 * s.head_dim;                        // elements
  const int32_t ahead = std::max(bytes / (2 * block) / side_by_side, 1) * side_by_side;
  const Expr last = s.position / 16;
  auto start = [&](const Expr &tile, const Expr &at) -> Expr {
    return (s.first_head + tile * group) / s.shared * (s.blocks * block) +
           clamp(at, 0, last) * block;
  };
  const Expr tile = named(".tile");
  auto ask = [&](const std::string &at, const ImageParam &memory, const Expr &when,
                 const std::vector<Expr> &elements) {
    request.asks.push_back({at, memory, elements, when});
  };

  // A step of keys is a line in each of the blocks side by side.
  const std::string keys_loop = s.partial_scores.name() + ".s1." + s.rd[1].name();
  const Expr step = loop(s.rd[1]) + loop(s.rd[2]) * (s.head_dim / 4),
             next = named(side_by_side > 1 ? ".blk_outer" : ".blk") * side_by_side + ahead;
  std::vector<Expr> keys, values;
  for (int32_t i = 0; i < side_by_side; ++i) {
    const Expr behind_keys = next - (last / side_by_side + 1) * side_by_side;
    keys.push_back(start(tile, next + i) + step * line);
    values.push_back(start(tile, behind_keys + i) + step * line);
  }
  ask(keys_loop, s.keys, next <= last, keys);
  ask(keys_loop, s.stored_values, next > last, values);

  // A step of values is two positions of one block, `columns` of them at once.
  const std::string values_loop = s.span_values.name() + ".s1." + s.pair_step.name();
  const Expr pair = loop(s.pair_step) * (2 * s.head_dim) + named(".d_outer") * (2 * columns),
             following = loop(s.value_span) * span + loop(s.pair_blk) + ahead;
  std::vector<Expr> more, next_keys;
  for (int32_t i = 0; i < 2 * columns; i += line) {
    more.push_back(start(tile, following) + pair + i);
    next_keys.push_back(start(tile + 1, following - (last + 1)) + pair + i);
  }
  ask(values_loop, s.stored_values, following <= last, more);
  ask(values_loop, s.keys, following > last && (tile + 1) * group < s.heads, next_keys);
}

} // namespace

void ingot::scheduleAttention(ScheduleRequest &request, const Machine &machine, AttentionStage &s,
                              OutputStage &output) {
  const bool one = request.spec.max_tokens == 1, integers = s.codes.defined();
  // What is unrolled side by side and shares keys and values: the heads of a group, or tokens.
  const int32_t group = int32_t(kernelInterface(request.spec).grain);
  const int32_t tile = one ? group : request.spec.tile.token_tile;
  const Var side = one ? s.h : s.t, across = one ? s.t : s.h;
  const int32_t lanes = s.head_dim % 16 ? 1 : 16;
  Func out = output.func;
  Var d = output.vars[0], h = output.vars[1], t = output.vars[2];
  Var to("tile"), ti("in_tile"), bo("blk_outer"), bi("blk_inner"), d_outer("d_outer");

  out.bound(d, 0, s.head_dim).vectorize(d, lanes);
  if (one)
    out.bound(t, 0, 1).split(h, to, ti, group, TailStrategy::RoundUp).reorder(d, ti, t, to);
  else
    out.split(t, to, ti, tile, TailStrategy::RoundUp).reorder(d, ti, to, h);
  out.unroll(ti);
  scheduleQuery(s.query, out, to);

  for (Func kept : {s.scores, s.weights}) {
    kept.compute_at(out, to).store_in(MemoryType::Stack).bound_storage(s.blk, s.blocks);
    kept.bound_extent(s.l, 16).reorder(s.l, side, s.blk, across).vectorize(s.l, 16).unroll(side);
    kept.reorder_storage(s.l, side, s.blk, across);
  }
  auto pairUp = [&](Stage stage, RVar pair) {
    if (machine.word_pairs)
      stage.atomic().vectorize(pair, 2);
    else
      stage.unroll(pair);
  };
  // Enough sums side by side to hide the latency of the products: 5 cycles where one instruction
  // multiplies and adds, else that of the addition.
  const bool adds = machine.byte_dot == ByteDot::mixed_quads;
  const int32_t most = adds ? 6 : machine.word_pairs ? 3 : 2;
  const int32_t side_by_side = !integers || tile > most           ? 1
                               : tile == 1 || (adds && tile <= 3) ? 4
                                                                  : 2;
  s.partial_scores.store_in(MemoryType::Stack).bound_extent(s.l, 16).vectorize(s.l, 16);
  s.partial_scores.unroll(side);
  if (side_by_side > 1) {
    s.scores.split(s.blk, bo, bi, side_by_side, TailStrategy::RoundUp);
    s.scores.reorder(s.l, side, bi, bo, across).unroll(bi);
    s.partial_scores.compute_at(s.scores, bo).bound_extent(s.blk, side_by_side).unroll(s.blk);
  } else {
    s.partial_scores.compute_at(s.scores, s.blk);
  }
  Stage products = s.partial_scores.update();
  if (integers) {
    products.reorder({s.rd[0], s.l, side, s.blk, s.rd[1], s.rd[2]}).vectorize(s.l, 16);
    pairUp(products, s.rd[0]);
    products.unroll(side);
    if (side_by_side > 1)
      products.unroll(s.blk);
  } else {
    products.reorder(s.l, side, s.rd[0], s.rd[1]).vectorize(s.l, 16).unroll(side);
  }

  for (auto [func, r] : {std::pair{s.maxima, s.max_rb}, std::pair{s.partial_sums, s.sum_rb}}) {
    Func partial = func;
    partial.compute_at(out, to).store_in(MemoryType::Stack).bound_extent(s.l, 16);
    partial.vectorize(s.l, 16).unroll(side);
    partial.update().reorder(s.l, side, r).vectorize(s.l, 16).unroll(side);
  }
  for (Func scalar : {s.maximum, s.inverse})
    scalar.compute_at(out, to).store_in(MemoryType::Stack).unroll(side);

  s.values.compute_at(out, to).store_in(MemoryType::Stack).bound_extent(s.d, s.head_dim);
  s.values.vectorize(s.d, lanes).unroll(side);
  if (!integers) {
    s.values.update().reorder(s.d, side, s.value_rl, s.value_rb).vectorize(s.d, lanes).unroll(side);
    if (lanes > 1 && s.head_dim <= 128)
      s.values.update().unroll(s.d);
    return;
  }
  // As many columns at once as leave the sums of the tile in registers.
  const int32_t registers = 512 / machine.vector_bits; // of 16 sums
  int32_t columns = lanes;
  while (lanes == 16 && s.head_dim % (2 * columns) == 0 &&
         2 * columns / 16 * registers * tile <= machine.vector_registers * 3 / 4)
    columns *= 2;
  if (one && lanes > 1)
    askForHeads(request, s, machine.rates.prefetch_bytes, group, side_by_side, columns);
  Var di("d_inner");
  s.values.update()
      .split(s.d, d_outer, di, columns)
      .reorder(di, side, d_outer, s.value_span)
      .vectorize(di, lanes)
      .unroll(di)
      .unroll(side);
  s.codes.compute_at(s.values, s.value_span).store_in(MemoryType::Stack).bound_extent(s.l, 16);
  s.codes.bound_extent(s.blk, 4).vectorize(s.l, 16).unroll(side).unroll(s.blk);
  s.span_scale.compute_at(s.values, s.value_span).store_in(MemoryType::Stack);
  s.span_scale.reorder(s.span, across, side).unroll(side);
  schedulePeak(s.span_peak, s.span_scale, side);
  s.span_values.compute_at(s.values, d_outer).store_in(MemoryType::Stack);
  s.span_values.bound_extent(s.d, columns).vectorize(s.d, lanes).unroll(s.d).unroll(side);
  s.span_values.update()
      .reorder({s.pair, s.d, side, s.pair_step, s.pair_blk})
      .vectorize(s.d, lanes)
      .unroll(s.d)
      .unroll(side);
  Stage weighted = s.span_values.update();
  pairUp(weighted, s.pair);
}
