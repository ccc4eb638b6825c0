// Heads of rows, and their way into the cache.
#include "codegen/halide/KernelBuilder.h"

using namespace ingot;
using namespace Halide;

/// The heads of `rows` by pairs that rotate together: what both products of attention start from.
HeadStage KernelBuilder::headOf(const Rows &rows, const std::string &name, int32_t head_dim) {
  HeadStage s;
  s.pairs = head_dim / 2;
  s.interleaved = rows.pair && rows.interleaved;
  s.i = Var(name + "_i"), s.half = Var(name + "_half"), s.h = Var(name + "_h");
  s.t = Var(name + "_t");
  s.source = Func(name);
  s.source(s.i, s.half, s.h, s.t) = pairOf(rows, head_dim, s.interleaved, s.i, s.half, s.h, s.t);
  return s;
}

/// code = x * (1 / scale) rounded to nearest, ties to even; scale = max|x| / limit over the head.
void KernelBuilder::quantizeHead(HeadStage &s, const std::string &name, int32_t limit) {
  int32_t lanes = 16;
  while (s.pairs % lanes)
    lanes /= 2;
  RDom r(0, s.pairs / lanes, 0, 2, name + "_peak_r");
  s.peak = peak(name + "_peak", lanes, {s.h, s.t},
                [&](Expr lane) { return abs(s.source(r.x * lanes + lane, r.y, s.h, s.t)); });
  Expr scale = s.peak.steps.back()(0, s.h, s.t) * float(1.0 / limit);
  s.scale = Func(name + "_scale");
  s.scale(s.h, s.t) = select(scale > 1e-30f, scale, 0.0f);
  Expr inverse = select(s.scale(s.h, s.t) > 0.0f, 1.0f / s.scale(s.h, s.t), 0.0f);
  Expr code = s.source(s.i, s.half, s.h, s.t) * inverse;
  s.codes = Func(name + "_codes");
  s.codes(s.i, s.half, s.h, s.t) = toCode<int16_t>(clamp(code, float(-limit), float(limit)));
}

/// Keys and values of position p = position + t to their places (KernelValue).
llvm::Error KernelBuilder::append(const KernelOp &op) {
  if (!values[op.operands[0]].rows || !values[op.operands[1]].rows)
    return fail("append takes rows");
  const Rows k = *values[op.operands[0]].rows, v = *values[op.operands[1]].rows;
  const int32_t head_dim = op.head_dim, half = head_dim / 2, kv_heads = op.kv_heads,
                context = int32_t(cachePositions(spec.context));
  auto scatter = [&](Func func, const std::vector<int64_t> &extents, const std::vector<RVar> &r,
                     int64_t width) {
    std::vector<Expr> bounds(extents.size());
    for (size_t i = 0; i < extents.size(); ++i)
      bounds[i] = Expr(int32_t(extents[i]));
    outputBuffer(func, bounds, denseStrides(extents));
    out.request.outputs.push_back({OutputStage::Kind::scatter, func, func.args(), r, width});
  };
  Var e("pair"), l("key_lane"), d("cache_d"), blk("key_block"), h("cache_head"),
      p("cache_position");
  AppendStage s{headOf(k, "key", head_dim), headOf(v, "value", head_dim)};

  Func keys("keys_out"), stored("values_out");
  RDom r(0, half, 0, 2, 0, kv_heads, 0, sliceCount(), "append_key");
  RDom rv(0, half, 0, 2, 0, kv_heads, 0, sliceCount(), "append_value");
  Expr t = r.w + firstSlice(), at = position + t;
  Expr tv = rv.w + firstSlice(), at_v = position + tv;
  Expr column = s.keys.interleaved ? r.x * 2 + r.y : r.x + r.y * half;
  Expr column_v = rv.x + rv.y * half;
  const std::vector<RVar> rk{r.x, r.y, r.z, r.w}, rvs{rv.x, rv.y, rv.z, rv.w};
  if (spec.kv != CodeKind::i) {
    const Type type = spec.kv == CodeKind::f16 ? Float(16) : Float(32);
    keys(l, d, blk, h) = undef(type);
    keys(at % 16, column, at / 16, r.z) = cast(type, s.keys.source(r.x, r.y, r.z, t));
    scatter(keys, {16, head_dim, context / 16, kv_heads}, rk, half);
    stored(d, p, h) = undef(type);
    stored(column_v, at_v, rv.z) = cast(type, s.values.source(rv.x, rv.y, rv.z, tv));
    scatter(stored, {head_dim, context, kv_heads}, rvs, half);
    return llvm::Error::success();
  }
  quantizeHead(s.keys, "key", keyCodeLimit(head_dim));
  quantizeHead(s.values, "value", kValueCodeLimit);
  keys(e, l, d, blk, h) = undef<int16_t>();
  keys(column % 2, at % 16, column / 2, at / 16, r.z) = s.keys.codes(r.x, r.y, r.z, t);
  scatter(keys, {2, 16, half, context / 16, kv_heads}, rk, half);
  stored(e, d, p, h) = undef<int16_t>();
  stored(at_v % 2, column_v, at_v / 2, rv.z) = s.values.codes(rv.x, rv.y, rv.z, tv);
  scatter(stored, {2, head_dim, context / 2, kv_heads}, rvs, half);
  for (auto [head, name] :
       {std::pair{&s.keys, "key_scales_out"}, {&s.values, "value_scales_out"}}) {
    Func scales(name);
    RDom rs(0, kv_heads, 0, sliceCount(), name);
    Expr ts = rs.y + firstSlice();
    scales(p, h) = undef<float>();
    scales(position + ts, rs.x) = head->scale(rs.x, ts);
    scatter(scales, {context, kv_heads}, {rs.x, rs.y}, 1);
  }
  out.request.appends.push_back(s);
  return llvm::Error::success();
}
