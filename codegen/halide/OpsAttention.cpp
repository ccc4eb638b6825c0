// Attention over the cache.
#include "codegen/halide/KernelBuilder.h"

using namespace ingot;
using namespace Halide;

/// softmax(scale * q . K) V over positions 0 .. position + t, head by head. A row's softmax weights
/// are exp(score - maximum of the row), with 16-bit codes by powers of two, so their order of
/// summation, and with 16-bit codes the spans that share a scale, depend on positions alone: one
/// token or many give the same bits.
llvm::Error KernelBuilder::attention(const KernelOp &op) {
  if (!values[op.operands[0]].rows || values[op.operands[1]].cache.empty())
    return fail("attention takes rows and a cache");
  if (op.kv_heads <= 0 || op.heads % op.kv_heads)
    return fail("query heads are not a multiple of the cache's heads");
  const std::vector<ImageParam> cache = values[op.operands[1]].cache;
  const int32_t head_dim = op.head_dim, half = head_dim / 2, shared = op.heads / op.kv_heads;
  const bool integers = spec.kv == CodeKind::i;
  const int32_t span_blocks = integers ? kWeightCodeSpan / 16 : 1;

  AttentionStage s;
  s.keys = cache[0], s.stored_values = cache[1];
  s.position = position, s.first_head = begin, s.heads = extent;
  s.shared = shared;
  s.head_dim = head_dim;
  s.blocks = int32_t(cachePositions(spec.context) / 16);
  Var l("lane"), blk("blk"), h("head"), t("at"), d("d"), span("span");
  s.l = l, s.blk = blk, s.h = h, s.t = t, s.d = d, s.span = span;
  // Rows that pad the last tile of tokens attend like the last token: the cache ends there.
  Expr end = position + tokenCount();
  Expr last = spec.max_tokens == 1 ? Expr(position) : min(position + t, end - 1);
  Expr valid = blk * 16 + l <= last;
  Expr tile_end = spec.max_tokens == 1 ? end : min(position + (t / tile + 1) * tile, end);
  const int32_t span_keys = span_blocks * 16;
  Expr tile_spans = (tile_end + span_keys - 1) / span_keys;
  Expr all_spans = (end + span_keys - 1) / span_keys;
  Expr kv_head = h / shared;
  auto overKeys = [&](const char *name, int32_t each) {
    RDom r(0, all_spans * each, name);
    if (spec.max_tokens > 1)
      r.where(r.x < tile_spans * each);
    return r;
  };

  // Where a span has no keys yet, one token reads those before again, which are near, and drops
  // them.
  auto filled = [&](Expr block) {
    return spec.max_tokens == 1 ? min(block, position / 16) : block;
  };

  s.query = headOf(*values[op.operands[0]].rows, "query", head_dim);
  s.partial_scores = Func("partial_scores");
  s.scores = Func("scores");
  Expr score;
  if (integers) {
    quantizeHead(s.query, "query", keyCodeLimit(head_dim));
    // Codes that lie side by side in a pair: (e) of pair (j) [of half (o)].
    const bool halves = !s.query.interleaved && half % 2 == 0;
    RDom rd(0, 2, 0, halves ? half / 2 : half, 0, halves ? 2 : 1, "rd");
    Expr i, part;
    if (s.query.interleaved)
      i = rd.y, part = rd.x;
    else if (halves)
      i = rd.x + 2 * rd.y, part = rd.z;
    else
      i = (rd.x + 2 * rd.y) % half, part = (rd.x + 2 * rd.y) / half;
    s.rd = {rd.x, rd.y, rd.z};
    Expr pair = halves ? rd.y + rd.z * (half / 2) : Expr(rd.y);
    s.partial_scores(l, blk, h, t) = 0;
    s.partial_scores(l, blk, h, t) += cast<int32_t>(cache[0](rd.x, l, pair, filled(blk), kv_head)) *
                                      cast<int32_t>(s.query.codes(i, part, h, t));
    score = cast<float>(s.partial_scores(l, blk, h, t)) *
            (cache[2](blk * 16 + l, kv_head) *
             (s.query.scale(h, t) * float(op.scale * 1.4426950408889634))); // log2(e)
  } else {
    // Columns in order.
    RDom rd(0, s.query.interleaved ? 2 : half, 0, s.query.interleaved ? half : 2, "rd");
    Expr column = s.query.interleaved ? rd.x + 2 * rd.y : rd.x + half * rd.y;
    s.rd = {rd.x, rd.y};
    s.partial_scores(l, blk, h, t) = 0.0f;
    s.partial_scores(l, blk, h, t) +=
        cast<float>(cache[0](l, column, blk, kv_head)) *
        (s.query.interleaved ? s.query.source(rd.y, rd.x, h, t) : s.query.source(rd.x, rd.y, h, t));
    score = s.partial_scores(l, blk, h, t) * float(op.scale);
  }
  s.scores(l, blk, h, t) = select(valid, score, Float(32).min());

  RDom rm = overKeys("max_blk", span_blocks), rs = overKeys("sum_blk", span_blocks);
  s.max_rb = rm.x, s.sum_rb = rs.x;
  s.maxima = Func("score_maxima");
  s.maxima(l, h, t) = Float(32).min();
  s.maxima(l, h, t) = max(s.maxima(l, h, t), s.scores(l, rm, h, t));
  s.maximum = Func("score_maximum");
  s.maximum(h, t) = tree16([](Expr a, Expr b) { return max(a, b); },
                           [&](int lane) { return s.maxima(lane, h, t); });
  s.weights = Func("weights");
  s.weights(l, blk, h, t) = select(valid,
                                   integers ? powerOfTwo(s.scores(l, blk, h, t) - s.maximum(h, t))
                                            : exponential(s.scores(l, blk, h, t) - s.maximum(h, t)),
                                   0.0f);
  s.partial_sums = Func("weight_sums");
  s.partial_sums(l, h, t) = 0.0f;
  s.partial_sums(l, h, t) += s.weights(l, rs, h, t);
  s.inverse = Func("inverse_sum");
  s.inverse(h, t) = 1.0f / sumTree16([&](int lane) { return s.partial_sums(lane, h, t); });

  s.values = Func("weighted_values");
  s.values(d, h, t) = 0.0f;
  if (integers) {
    auto weighted = [&](Expr lane, Expr block) {
      return s.weights(lane, block, h, t) * cache[3](block * 16 + lane, kv_head);
    };
    RDom rp(0, span_blocks, "span_peak_blk");
    s.span_peak = peak("span_peak", 16, {span, h, t},
                       [&](Expr lane) { return weighted(lane, span * span_blocks + rp); });
    Expr scale = s.span_peak.steps.back()(0, span, h, t) * float(1.0 / kWeightCodeLimit);
    s.span_scale = Func("span_scale");
    s.span_scale(span, h, t) = select(scale > 1e-30f, scale, 0.0f);
    Expr shared_scale = s.span_scale(blk / span_blocks, h, t);
    Expr inverse = select(shared_scale > 0.0f, 1.0f / shared_scale, 0.0f);
    s.codes = Func("weight_codes");
    s.codes(l, blk, h, t) = toCode<int16_t>(weighted(l, blk) * inverse);
    RDom rv(0, 2, 0, 8, 0, span_blocks, "value_p");
    s.pair = rv.x, s.pair_step = rv.y, s.pair_blk = rv.z;
    s.span_values = Func("span_values");
    s.span_values(d, span, h, t) = 0;
    s.span_values(d, span, h, t) +=
        cast<int32_t>(cache[1](rv.x, d, filled(span * span_blocks + rv.z) * 8 + rv.y, kv_head)) *
        cast<int32_t>(s.codes(rv.x + 2 * rv.y, span * span_blocks + rv.z, h, t));
    RDom rc = overKeys("value_span", 1);
    s.value_span = rc.x;
    s.values(d, h, t) += cast<float>(s.span_values(d, rc, h, t)) * s.span_scale(rc, h, t);
  } else {
    RDom rv(0, 16, 0, all_spans, "value_p");
    if (spec.max_tokens > 1)
      rv.where(rv.y < tile_spans);
    s.value_rl = rv.x, s.value_rb = rv.y;
    s.values(d, h, t) +=
        s.weights(rv.x, rv.y, h, t) * cast<float>(cache[1](d, rv.x + rv.y * 16, kv_head));
  }

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
