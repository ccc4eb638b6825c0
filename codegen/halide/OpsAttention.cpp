// The cache and attention over it.
#include "codegen/halide/KernelBuilder.h"

using namespace ingot;
using namespace Halide;

/// keys[p % 16, d, p / 16, head] and values[d, p, head] for p = position + t.
llvm::Error KernelBuilder::append(const KernelOp &op) {
  if (!values[op.operands[0]].rows || !values[op.operands[1]].rows)
    return fail("append takes rows");
  const Rows k = *values[op.operands[0]].rows, v = *values[op.operands[1]].rows;
  const int32_t head_dim = op.head_dim, half = head_dim / 2,
                context = int32_t(roundUp(spec.context, 16));
  const Type type = spec.kv == CodeKind::f16 ? Float(16) : Float(32);
  const bool interleaved = k.pair ? k.interleaved : false;
  Var l("key_lane"), d("cache_d"), blk("key_block"), h("cache_head"), p("cache_position");

  Func keys("keys_out");
  RDom r(0, half, 0, 2, 0, op.kv_heads, 0, sliceCount(), "append_key");
  Expr t = r.w + firstSlice(), at = position + t;
  Expr column = interleaved ? r.x * 2 + r.y : r.x + r.y * half;
  keys(l, d, blk, h) = undef(type);
  keys(at % 16, column, at / 16, r.z) =
      cast(type, pairOf(k, head_dim, interleaved, r.x, r.y, r.z, t));
  outputBuffer(keys, {16, head_dim, context / 16, op.kv_heads},
               denseStrides({16, head_dim, context / 16, op.kv_heads}));
  out.request.outputs.push_back(
      {OutputStage::Kind::scatter, keys, {l, d, blk, h}, {r.x, r.y, r.z, r.w}, half});

  Func stored("values_out");
  RDom rv(0, head_dim, 0, op.kv_heads, 0, sliceCount(), "append_value");
  Expr tv = rv.z + firstSlice();
  stored(d, p, h) = undef(type);
  stored(rv.x, position + tv, rv.y) = cast(type, v.at(rv.y * head_dim + rv.x, tv));
  outputBuffer(stored, {head_dim, context, op.kv_heads},
               denseStrides({head_dim, context, op.kv_heads}));
  out.request.outputs.push_back(
      {OutputStage::Kind::scatter, stored, {d, p, h}, {rv.x, rv.y, rv.z}, head_dim});
  return llvm::Error::success();
}

/// softmax(scale * q . K) V over positions 0 .. position + t, head by head.
llvm::Error KernelBuilder::attention(const KernelOp &op) {
  if (!values[op.operands[0]].rows || !values[op.operands[1]].buffer)
    return fail("attention takes rows and a cache");
  if (op.kv_heads <= 0 || op.heads % op.kv_heads)
    return fail("query heads are not a multiple of the cache's heads");
  const Rows query = *values[op.operands[0]].rows;
  ImageParam keys = *values[op.operands[1]].buffer, cached = *values[op.operands[1]].second;
  const int32_t head_dim = op.head_dim, shared = op.heads / op.kv_heads;

  AttentionStage s;
  s.head_dim = head_dim;
  s.blocks = int32_t(roundUp(spec.context, 16) / 16);
  Var l("lane"), blk("blk"), h("head"), t("at"), d("d");
  s.l = l, s.blk = blk, s.h = h, s.t = t, s.d = d;
  // Rows that pad the last tile of tokens attend like the last token: the cache ends there.
  Expr end = position + tokenCount();
  Expr last = spec.max_tokens == 1 ? Expr(position) : min(position + t, end - 1);
  Expr valid = blk * 16 + l <= last;
  Expr tile_end = spec.max_tokens == 1 ? end : min(position + (t / tile + 1) * tile, end);
  Expr tile_blocks = (tile_end + 15) / 16, all_blocks = (end + 15) / 16;
  Expr kv_head = h / shared;

  s.partial_scores = Func("partial_scores");
  RDom rd(0, head_dim, "rd");
  s.rd = rd.x;
  s.partial_scores(l, blk, h, t) = 0.0f;
  s.partial_scores(l, blk, h, t) +=
      cast<float>(keys(l, rd, blk, kv_head)) * query.at(h * head_dim + rd, t);
  s.scores = Func("scores");
  s.scores(l, blk, h, t) =
      select(valid, s.partial_scores(l, blk, h, t) * float(op.scale), Float(32).min());

  auto blocks = [&](const char *name) {
    RDom r(0, all_blocks, name);
    if (spec.max_tokens > 1)
      r.where(r.x < tile_blocks);
    return r;
  };
  RDom rm = blocks("max_blk"), rs = blocks("sum_blk");
  s.max_rb = rm.x, s.sum_rb = rs.x;
  s.maxima = Func("score_maxima");
  s.maxima(l, h, t) = Float(32).min();
  s.maxima(l, h, t) = max(s.maxima(l, h, t), s.scores(l, rm, h, t));
  s.maximum = Func("score_maximum");
  s.maximum(h, t) = tree16([](Expr a, Expr b) { return max(a, b); },
                           [&](int lane) { return s.maxima(lane, h, t); });
  s.weights = Func("weights");
  s.weights(l, blk, h, t) =
      select(valid, exponential(s.scores(l, blk, h, t) - s.maximum(h, t)), 0.0f);
  s.partial_sums = Func("weight_sums");
  s.partial_sums(l, h, t) = 0.0f;
  s.partial_sums(l, h, t) += s.weights(l, rs, h, t);
  s.inverse = Func("inverse_sum");
  s.inverse(h, t) = 1.0f / sumTree16([&](int lane) { return s.partial_sums(lane, h, t); });

  s.values = Func("weighted_values");
  RDom rv(0, 16, 0, all_blocks, "value_p");
  if (spec.max_tokens > 1)
    rv.where(rv.y < tile_blocks);
  s.value_rl = rv.x, s.value_rb = rv.y;
  s.values(d, h, t) = 0.0f;
  s.values(d, h, t) +=
      s.weights(rv.x, rv.y, h, t) * cast<float>(cached(d, rv.x + rv.y * 16, kv_head));

  Rows y;
  y.width = int64_t(op.heads) * head_dim;
  y.head_dim = head_dim;
  Func result = s.values, inverse = s.inverse;
  y.head = [=](Expr dd, Expr head, Expr, Expr tt) -> Expr {
    return result(dd, head, tt) * inverse(head, tt);
  };
  auto head = y.head;
  y.at = [=](Expr c, Expr tt) -> Expr { return head(c % head_dim, c / head_dim, 0, tt); };
  values[op.result].rows = y;
  out.request.attentions.push_back(s);
  return llvm::Error::success();
}
