// One function per op kind: makes the op's value from the values of its operands. Values of rows are
// expressions in (column, token) until something that needs a loop of its own (a linear, a norm, a
// quantization, attention) turns them into Funcs; the target schedules those.
//
// Sums of floats have one order, whatever the tile: groups, columns, channels and positions in
// order; squares and softmax weights in 16 partial sums (index mod 16), then a fixed tree. With
// strict_float in the target, decode and prefill give the same bits.
#include "codegen/halide/Builder.h"
#include "codegen/halide/Kernel.h"
#include "codegen/halide/Math.h"
#include "support/Error.h"
#include "targets/Target.h"

#include <functional>
#include <optional>

using namespace ingot;
using namespace Halide;

namespace {

int64_t roundUp(int64_t value, int64_t to) { return (value + to - 1) / to * to; }

/// Rows as expressions: at(column, token); pair(i, half, head, token) where heads are rotated.
struct Rows {
  int64_t width = 0;
  std::function<Expr(Expr, Expr)> at;
  std::function<Expr(Expr, Expr, Expr)> block; ///< (n, nb, token); column = nb * 16 + n
  std::function<Expr(Expr, Expr, Expr, Expr)> pair, head; ///< head: (d, head, _, token)
  int32_t head_dim = 0;
  bool interleaved = false;
  int32_t buffer = -1; ///< the input value, when this is one
};

struct Quant {
  Func codes, scales, sums; // (k, t), (g, t), (g, t)
  int32_t group = 32;
};

struct Matrix {
  const KernelValue *value = nullptr;
  ImageParam codes, scales, mins;
};

struct Value {
  std::optional<Rows> rows;
  std::optional<Quant> quant;
  std::optional<Matrix> matrix;
  std::optional<ImageParam> buffer, second; // tokens, vector, angles; keys and values of a cache
  int32_t quantize_stage = -1;
};

/// Bounds and strides of a buffer, fastest dimension first: nothing is read from the argument.
template <typename Buffer>
void setShape(Buffer buffer, const std::vector<Expr> &extents,
              const std::vector<int64_t> &strides) {
  for (size_t i = 0; i < extents.size(); ++i)
    buffer.dim(int(i)).set_bounds(0, extents[i]).set_stride(int32_t(strides[i]));
}

std::vector<int64_t> denseStrides(const std::vector<int64_t> &extents) {
  std::vector<int64_t> strides;
  int64_t stride = 1;
  for (int64_t extent : extents) {
    strides.push_back(stride);
    stride *= extent;
  }
  return strides;
}

/// A step of a group as a step of one of its halves. Bounds inference does not see that both sides
/// of the selection stay inside.
Expr inHalf(Expr step, int32_t half) {
  return unsafe_promise_clamped(select(step < half, step, step - half), 0, half - 1);
}

/// A stored float as f32; bf16 is the upper half of one.
Expr widen(Expr stored) {
  if (stored.type() == UInt(16))
    return reinterpret<float>(cast<uint32_t>(stored) << 16);
  return cast<float>(stored);
}

class Builder {
public:
  Builder(const KernelSpec &spec, const ingot::Target &target)
      : spec(spec), target(target), out{Pipeline(), {}, {spec, {}, {}, {}, {}, {}}, false} {}

  llvm::Expected<BuiltKernel> build();

private:
  using Step = llvm::Error (Builder::*)(const KernelOp &);
  static Step stepFor(KernelOp::Kind kind);

  llvm::Error fail(const llvm::Twine &message) {
    return inputError("kernel " + spec.name, "", message);
  }

  ImageParam input(Type type, const std::string &name, const std::vector<int64_t> &extents) {
    ImageParam param(type, int(extents.size()), name);
    std::vector<Expr> bounds(extents.begin(), extents.end());
    for (size_t i = 0; i < extents.size(); ++i)
      bounds[i] = Expr(int32_t(extents[i]));
    setShape(param, bounds, denseStrides(extents));
    int64_t elements = 1;
    for (int64_t extent : extents)
      elements *= extent;
    out.large_buffers |= elements > INT32_MAX;
    out.arguments.push_back(param);
    return param;
  }

  Rows bufferRows(ImageParam param, int64_t width) {
    Rows rows;
    rows.width = width;
    rows.at = [param](Expr c, Expr t) { return param(c, t); };
    return rows;
  }

  static Expr blockOf(const Rows &rows, Expr n, Expr nb, Expr t) {
    return rows.block ? rows.block(n, nb, t) : rows.at(nb * 16 + n, t);
  }
  static Expr pairOf(const Rows &rows, int32_t head_dim, bool interleaved, Expr i, Expr half,
                     Expr head, Expr t) {
    if (rows.pair && rows.head_dim == head_dim && rows.interleaved == interleaved)
      return rows.pair(i, half, head, t);
    return interleaved ? rows.at(head * head_dim + 2 * i + half, t)
                       : rows.at(head * head_dim + half * (head_dim / 2) + i, t);
  }

  llvm::Error embedding(const KernelOp &op);
  llvm::Error rmsNorm(const KernelOp &op);
  llvm::Error quantize(const KernelOp &op);
  llvm::Error linear(const KernelOp &op);
  llvm::Error linearFloat(const KernelOp &op);
  llvm::Error add(const KernelOp &op);
  llvm::Error siluMul(const KernelOp &op);
  llvm::Error lastToken(const KernelOp &op);
  llvm::Error ropeAngles(const KernelOp &op);
  llvm::Error rope(const KernelOp &op);
  llvm::Error slice(const KernelOp &op);
  llvm::Error append(const KernelOp &op);
  llvm::Error attention(const KernelOp &op);

  void declareInput(int32_t index);
  void declareCache(Value &value);
  llvm::Error finishOutput(int32_t index);
  void linearResult(const KernelOp &op, LinearStage stage);
  void outputBuffer(Func func, const std::vector<Expr> &extents,
                    const std::vector<int64_t> &strides) {
    setShape(func.output_buffer(), extents, strides);
    functions.push_back(func);
  }

  const KernelSpec &spec;
  const ingot::Target &target;
  BuiltKernel out;
  std::vector<Value> values;
  std::vector<Func> functions;
  Param<int32_t> begin{"slice_begin"}, extent{"slice_extent"}, tokens{"tokens"},
      position{"position"};
  int64_t padded_tokens = 1;
  int32_t tile = 1;
  SliceAxis axis = SliceAxis::tokens;
  bool one_token = false; ///< the output has one row whatever `tokens` is

  Expr tokenCount() { return spec.max_tokens == 1 ? Expr(1) : Expr(tokens); }
  Expr paddedTokenCount() {
    return spec.max_tokens == 1 ? Expr(1) : (Expr(tokens) + (tile - 1)) / tile * tile;
  }
  /// Index of the first slice when slices are tokens; with a single one it is 0.
  Expr firstSlice() { return axis == SliceAxis::tokens && singleToken() ? Expr(0) : Expr(begin); }
  Expr sliceCount() { return axis == SliceAxis::tokens && singleToken() ? Expr(1) : Expr(extent); }
  bool singleToken() const { return spec.max_tokens == 1 || one_token; }
};

Builder::Step Builder::stepFor(KernelOp::Kind kind) {
  using Kind = KernelOp::Kind;
  static constexpr std::pair<Kind, Step> steps[] = {
      {Kind::embedding, &Builder::embedding},   {Kind::rms_norm, &Builder::rmsNorm},
      {Kind::quantize, &Builder::quantize},     {Kind::linear, &Builder::linear},
      {Kind::add, &Builder::add},               {Kind::silu_mul, &Builder::siluMul},
      {Kind::last_token, &Builder::lastToken},  {Kind::rope_angles, &Builder::ropeAngles},
      {Kind::rope, &Builder::rope},             {Kind::slice, &Builder::slice},
      {Kind::append, &Builder::append},         {Kind::attention, &Builder::attention},
  };
  for (auto [key, step] : steps)
    if (key == kind)
      return step;
  return nullptr;
}

void Builder::declareCache(Value &value) {
  int32_t kv_heads = 1, head_dim = 1;
  for (const KernelOp &op : spec.ops)
    if (op.kind == KernelOp::Kind::append || op.kind == KernelOp::Kind::attention)
      kv_heads = op.kv_heads, head_dim = op.head_dim;
  const Type type = spec.kv == CodeKind::f16 ? Float(16) : Float(32);
  const int64_t context = roundUp(spec.context, 16);
  value.buffer = input(type, "keys", {16, head_dim, context / 16, kv_heads});
  value.second = input(type, "cached_values", {head_dim, context, kv_heads});
}

void Builder::declareInput(int32_t index) {
  const KernelValue &value = spec.values[index];
  Value &result = values[index];
  const std::string name = "in" + std::to_string(index);
  switch (value.kind) {
  case KernelValue::Kind::tokens:
    result.buffer = input(Int(32), name, {padded_tokens});
    break;
  case KernelValue::Kind::rows: {
    ImageParam param = input(Float(32), name, {roundUp(value.width, 16), padded_tokens});
    result.rows = bufferRows(param, value.width);
    result.rows->buffer = index;
    break;
  }
  case KernelValue::Kind::quant: {
    int32_t group = 32;
    for (const KernelOp &op : spec.ops)
      if (op.kind == KernelOp::Kind::linear && op.operands[0] == index && op.act_group)
        group = op.act_group;
    const int64_t groups = value.width / group;
    ImageParam codes = input(Int(8), name + "_codes", {value.width, padded_tokens});
    ImageParam scales = input(Float(32), name + "_scales", {groups, padded_tokens});
    ImageParam sums = input(Int(32), name + "_sums", {groups, padded_tokens});
    result.quant = Quant{codes, scales, sums, group};
    break;
  }
  case KernelValue::Kind::vector:
    result.buffer = input(Float(32), name, {roundUp(value.width, 16)});
    break;
  case KernelValue::Kind::matrix: {
    Matrix matrix;
    matrix.value = &value;
    const PackedLayout &layout = value.layout;
    const int64_t blocks = roundUp(value.height, layout.rows) / layout.rows;
    if (value.encoding.isFloat()) {
      const Type type = value.encoding.code == CodeKind::f32    ? Float(32)
                        : value.encoding.code == CodeKind::bf16 ? UInt(16)
                                                                : Float(16);
      matrix.codes = input(type, name + "_codes", {layout.rows, value.width, blocks});
    } else {
      const int64_t group = value.encoding.groupElements(value.width);
      const int64_t part = layout.code_bits == 4 ? group / 2 : group;
      const int64_t groups = value.width / group;
      const Type scale = layout.scale_type == CodeKind::f16 ? Float(16) : Float(32);
      matrix.codes = input(UInt(8), name + "_codes",
                           {layout.k_inner, layout.rows, part / layout.k_inner, groups, blocks});
      matrix.scales = input(scale, name + "_scales", {layout.rows, groups, blocks});
      if (!value.encoding.symmetric())
        matrix.mins = input(scale, name + "_mins", {layout.rows, groups, blocks});
    }
    result.matrix = matrix;
    break;
  }
  case KernelValue::Kind::cache:
    declareCache(result);
    break;
  case KernelValue::Kind::angles:
    result.buffer = input(Float(32), name, {value.width / 2, 2, padded_tokens});
    break;
  }
}

/// rows[c, t] = code[c] * scale + min of row tokens[t] of a packed matrix.
llvm::Error Builder::embedding(const KernelOp &op) {
  ImageParam ids = *values[op.operands[0]].buffer;
  const Matrix matrix = *values[op.operands[1]].matrix;
  const KernelValue &value = *matrix.value;
  const PackedLayout layout = value.layout;
  const Encoding encoding = value.encoding;
  Rows rows;
  rows.width = value.width;
  rows.at = [=](Expr c, Expr t) -> Expr {
    Expr row = clamp(ids(t), 0, int32_t(value.height - 1));
    Expr n = row % layout.rows, nb = row / layout.rows;
    if (encoding.isFloat())
      return widen(matrix.codes(n, c, nb));
    const int32_t group = int32_t(encoding.groupElements(value.width));
    Expr wg = c / group, within = c % group, code;
    if (layout.code_bits == 4) {
      Expr k = within % (group / 2);
      Expr byte = matrix.codes(k % layout.k_inner, n, k / layout.k_inner, wg, nb);
      code = select(within < group / 2, byte & cast<uint8_t>(15), byte >> cast<uint8_t>(4));
    } else {
      code = matrix.codes(within % layout.k_inner, n, within / layout.k_inner, wg, nb);
    }
    Expr result = cast<float>(cast<int32_t>(code) + encoding.minCode()) *
                  cast<float>(matrix.scales(n, wg, nb));
    if (!encoding.symmetric())
      result = result + cast<float>(matrix.mins(n, wg, nb));
    return result;
  };
  values[op.result].rows = rows;
  return llvm::Error::success();
}

/// y[c, t] = x[c, t] * (1 / sqrt(mean(x^2) + eps)) * gain[c]   (Zhang & Sennrich 2019)
llvm::Error Builder::rmsNorm(const KernelOp &op) {
  if (!values[op.operands[0]].rows || !values[op.operands[1]].buffer)
    return fail("rms_norm takes rows and a vector");
  const Rows x = *values[op.operands[0]].rows;
  ImageParam gain = *values[op.operands[1]].buffer;
  const int32_t width = int32_t(x.width);

  NormStage stage;
  stage.l = Var("norm_lane");
  stage.t = Var("norm_t");
  stage.partial = Func("norm_partial");
  stage.inverse = Func("norm_inverse");
  RDom r(0, (width + 15) / 16, "norm_r");
  Expr column = r * 16 + stage.l;
  Expr element = x.at(column, stage.t);
  if (width % 16)
    element = select(column < width, element, 0.0f);
  stage.partial(stage.l, stage.t) = 0.0f;
  stage.partial(stage.l, stage.t) += element * element;
  Expr sum = sumTree16([&](int lane) { return stage.partial(lane, stage.t); });
  stage.inverse(stage.t) = 1.0f / sqrt(sum * float(1.0 / width) + float(op.eps));

  Rows y;
  y.width = x.width;
  Func inverse = stage.inverse;
  y.at = [=](Expr c, Expr t) -> Expr { return x.at(c, t) * inverse(t) * gain(c); };
  values[op.result].rows = y;
  out.request.norms.push_back(stage);
  return llvm::Error::success();
}

/// Per group: scale = max|x| / 127; code = x * (1 / scale) rounded to nearest, ties to even. A group
/// whose scale is not above 1e-30 is zero: its inverse could overflow.
llvm::Error Builder::quantize(const KernelOp &op) {
  if (!values[op.operands[0]].rows)
    return fail("quantize takes rows");
  const Rows x = *values[op.operands[0]].rows;
  const int32_t group = op.act_group;
  if (group <= 0 || group % 16 || x.width % group)
    return fail("rows of " + llvm::Twine(x.width) + " columns cannot be quantized in groups of " +
                llvm::Twine(group));
  QuantizeStage stage;
  stage.group = group;
  stage.groups = int32_t(x.width / group);
  Var k("quant_k"), g("quant_g"), t("quant_t"), l("quant_lane");
  stage.k = k, stage.g = g, stage.t = t, stage.l = l;
  Expr first = axis == SliceAxis::tokens ? firstSlice() : Expr(0);
  stage.source = Func("quant_source");
  stage.source(k, g, t) = x.at(g * group + k, t + first);
  Func lanes("quant_max16");
  RDom r(0, group / 16, "quant_r");
  lanes(l, g, t) = 0.0f;
  lanes(l, g, t) = max(lanes(l, g, t), abs(stage.source(r * 16 + l, g, t)));
  stage.maxima.push_back(lanes);
  for (int width = 8; width; width /= 2) {
    Func half("quant_max_" + std::to_string(width));
    half(l, g, t) = max(stage.maxima.back()(l, g, t), stage.maxima.back()(l + width, g, t));
    stage.maxima.push_back(half);
  }
  Func maximum = stage.maxima.back();
  stage.scales = Func("quant_scales");
  stage.codes = Func("quant_codes");
  stage.sums = Func("quant_sums");
  Expr scale = maximum(0, g, t) * float(1.0 / 127.0);
  stage.scales(g, t) = select(scale > 1e-30f, scale, 0.0f);
  Expr inverse = select(stage.scales(g, t) > 0.0f, 1.0f / stage.scales(g, t), 0.0f);
  stage.codes(k, g, t) =
      cast<int8_t>(cast<int32_t>(clamp(round(stage.source(k, g, t) * inverse), -127.0f, 127.0f)));
  RDom rs(0, group, "quant_sum_r");
  stage.sums(g, t) = 0;
  stage.sums(g, t) += cast<int32_t>(stage.codes(rs, g, t));
  stage.sum_r = rs.x;
  values[op.result].quantize_stage = int32_t(out.request.quantizes.size());
  out.request.quantizes.push_back(stage);
  return llvm::Error::success();
}

void Builder::linearResult(const KernelOp &op, LinearStage stage) {
  Rows y;
  y.width = spec.values[op.operands[1]].height;
  Func result = stage.result;
  y.block = [result](Expr n, Expr nb, Expr t) -> Expr { return result(n, nb, t); };
  y.at = [result](Expr c, Expr t) -> Expr { return result(c % 16, c / 16, t); };
  values[op.result].rows = y;
  out.request.linears.push_back(stage);
}

llvm::Error Builder::linear(const KernelOp &op) {
  Value &activations = values[op.operands[0]];
  if (!values[op.operands[1]].matrix)
    return fail("linear takes a matrix");
  if (!activations.quant)
    return linearFloat(op);
  const Quant x = *activations.quant;
  const Matrix matrix = *values[op.operands[1]].matrix;
  const KernelValue &value = *matrix.value;
  const PackedLayout &layout = value.layout;
  const Encoding &encoding = value.encoding;
  if (encoding.isFloat())
    return fail("a float matrix needs float activations");
  const int32_t group = x.group, ki = layout.k_inner;
  const int32_t weight_group = int32_t(encoding.groupElements(value.width));
  if (weight_group % group)
    return fail("weight groups of " + llvm::Twine(weight_group) +
                " are not whole activation groups of " + llvm::Twine(group));

  LinearStage s;
  s.packed_codes = layout.code_bits == 4;
  s.form = ki == 4                                               ? DotForm::quads
           : s.packed_codes && target.machine().dot_saturates    ? DotForm::saturating_pairs
                                                                 : DotForm::widened_pairs;
  s.rows = layout.rows;
  s.k_inner = ki;
  s.steps = group / ki;
  s.groups = int32_t(value.width / group);
  Var n("n"), nb("nb"), t("lt"), g("g"), q("q"), b("b"), h("part"), k("k");
  s.n = n, s.nb = nb, s.t = t, s.g = g, s.q = q, s.b = b, s.h = h, s.k = k;
  const int32_t ratio = weight_group / group;

  // Staged in a Func of its own: an inlined mask lets Halide narrow the codes to i8, and u8 x i8 is
  // the only product that the dot instructions take.
  s.codes = Func("unpacked");
  Expr step = ratio == 1 ? Expr(q) : (g % ratio) * s.steps + q, wg = ratio == 1 ? Expr(g) : g / ratio;
  Expr code;
  if (s.packed_codes) {
    const int32_t half = weight_group / 2 / ki;
    Expr j = ratio == 1 ? step % half : inHalf(step, half);
    Expr byte = matrix.codes(b, n, j, wg, nb);
    code = select(step < half, byte & cast<uint8_t>(15), byte >> cast<uint8_t>(4));
  } else {
    code = matrix.codes(b, n, step, wg, nb);
  }
  s.codes(b, n, q, g, nb) = s.form == DotForm::widened_pairs ? cast<int16_t>(code) : code;

  s.scales = Func("weight_scales");
  s.scales(n, g, nb) = cast<float>(matrix.scales(n, wg, nb));
  Expr start = encoding.minCode() ? x.sums(g, t) * encoding.minCode() : Expr(0);

  s.accumulator = Func("dots");
  if (s.form == DotForm::saturating_pairs) {
    s.parts = group / 16;
    RDom r(0, 2, 0, 8, "step");
    s.pairs = Func("dots16");
    s.pairs(n, h, g, nb, t) = cast<int16_t>(0);
    s.pairs(n, h, g, nb, t) = saturating_add(
        s.pairs(n, h, g, nb, t), cast<int16_t>(s.codes(r.x, n, h * 8 + r.y, g, nb)) *
                                     cast<int16_t>(x.codes(r.x + 2 * r.y + 16 * h + g * group, t)));
    s.step_x = r.x, s.step_y = r.y;
    Expr sum = cast<int32_t>(s.pairs(n, 0, g, nb, t));
    for (int32_t part = 1; part < s.parts; ++part)
      sum = sum + cast<int32_t>(s.pairs(n, part, g, nb, t));
    s.accumulator(n, g, nb, t) = encoding.minCode() ? sum + start : sum;
  } else {
    RDom r(0, ki, 0, s.steps, "step");
    Expr activation = cast<int32_t>(x.codes(r.x + ki * r.y + g * group, t));
    if (s.form == DotForm::widened_pairs) {
      s.wide = Func("wide_activations");
      s.wide(k, g, t) = cast<int16_t>(x.codes(k + g * group, t));
      activation = cast<int32_t>(s.wide(r.x + ki * r.y, g, t));
    }
    s.accumulator(n, g, nb, t) = start;
    s.accumulator(n, g, nb, t) += cast<int32_t>(s.codes(r.x, n, r.y, g, nb)) * activation;
    s.step_x = r.x, s.step_y = r.y;
  }

  s.result = Func("linear");
  RDom rg(0, s.groups, "rg");
  s.group = rg.x;
  s.result(n, nb, t) = 0.0f;
  Expr term = cast<float>(s.accumulator(n, rg, nb, t)) * (s.scales(n, rg, nb) * x.scales(rg, t));
  Expr sum = s.result(n, nb, t) + term;
  if (!encoding.symmetric()) {
    s.mins = Func("weight_mins");
    s.mins(n, g, nb) = cast<float>(matrix.mins(n, wg, nb));
    s.sums = Func("scaled_sums");
    s.sums(g, t) = x.scales(g, t) * cast<float>(x.sums(g, t));
    sum = sum + s.mins(n, rg, nb) * s.sums(rg, t);
  }
  s.result(n, nb, t) = sum;
  linearResult(op, s);
  return llvm::Error::success();
}

/// y[n, t] = sum over k in order of decode(w[n, k]) * x[k, t]
llvm::Error Builder::linearFloat(const KernelOp &op) {
  if (!values[op.operands[0]].rows)
    return fail("linear takes rows or a quantized value");
  const Rows x = *values[op.operands[0]].rows;
  const Matrix matrix = *values[op.operands[1]].matrix;
  const KernelValue &value = *matrix.value;
  const PackedLayout &layout = value.layout;
  const Encoding &encoding = value.encoding;
  if (x.width != value.width)
    return fail("rows of " + llvm::Twine(x.width) + " columns meet a matrix of " +
                llvm::Twine(value.width));

  LinearStage s;
  s.form = DotForm::floats;
  s.rows = layout.rows;
  Var n("n"), nb("nb"), t("lt"), g("g"), q("q"), b("b");
  s.n = n, s.nb = nb, s.t = t, s.g = g, s.q = q, s.b = b;
  s.codes = Func("decoded");
  if (encoding.isFloat()) {
    s.k_inner = 1;
    s.steps = value.width % 16 ? 1 : 16;
    s.groups = int32_t(value.width) / s.steps;
    s.codes(b, n, q, g, nb) = widen(matrix.codes(n, b + q + g * s.steps, nb));
  } else {
    const int32_t weight_group = int32_t(encoding.groupElements(value.width));
    const int32_t ki = layout.k_inner, group = weight_group % 32 ? 16 : 32;
    const int32_t ratio = weight_group / group;
    s.k_inner = ki;
    s.steps = group / ki;
    s.groups = int32_t(value.width / group);
    Expr step = (g % ratio) * s.steps + q, wg = g / ratio, code;
    if (layout.code_bits == 4) {
      const int32_t half = weight_group / 2 / ki;
      Expr byte = matrix.codes(b, n, inHalf(step, half), wg, nb);
      code = select(step < half, byte & cast<uint8_t>(15), byte >> cast<uint8_t>(4));
    } else {
      code = matrix.codes(b, n, step, wg, nb);
    }
    Expr decoded = cast<float>(cast<int32_t>(code) + encoding.minCode()) *
                   cast<float>(matrix.scales(n, wg, nb));
    if (!encoding.symmetric())
      decoded = decoded + cast<float>(matrix.mins(n, wg, nb));
    s.codes(b, n, q, g, nb) = decoded;
  }
  RDom r(0, s.k_inner, 0, s.steps, 0, s.groups, "rk");
  s.step_x = r.x, s.step_y = r.y, s.group = r.z;
  s.result = Func("linear");
  s.result(n, nb, t) = 0.0f;
  s.result(n, nb, t) += s.codes(r.x, n, r.y, r.z, nb) *
                        x.at(r.x + s.k_inner * r.y + s.k_inner * s.steps * r.z, t);
  linearResult(op, s);
  return llvm::Error::success();
}

llvm::Error Builder::add(const KernelOp &op) {
  if (!values[op.operands[0]].rows || !values[op.operands[1]].rows)
    return fail("add takes rows");
  const Rows a = *values[op.operands[0]].rows, b = *values[op.operands[1]].rows;
  Rows y;
  y.width = a.width;
  y.at = [=](Expr c, Expr t) -> Expr { return a.at(c, t) + b.at(c, t); };
  if (a.block || b.block)
    y.block = [=](Expr n, Expr nb, Expr t) -> Expr {
      return blockOf(a, n, nb, t) + blockOf(b, n, nb, t);
    };
  values[op.result].rows = y;
  return llvm::Error::success();
}

/// y[n, nb] = silu(gate) * up, gate = x[n, 2 nb], up = x[n, 2 nb + 1]; silu(v) = v / (1 + exp(-v))
llvm::Error Builder::siluMul(const KernelOp &op) {
  if (!values[op.operands[0]].rows)
    return fail("silu_mul takes rows");
  const Rows x = *values[op.operands[0]].rows;
  Rows y;
  y.width = x.width / 2;
  y.block = [=](Expr n, Expr nb, Expr t) -> Expr {
    Expr gate = blockOf(x, n, 2 * nb, t), up = blockOf(x, n, 2 * nb + 1, t);
    return gate / (1.0f + exponential(-gate)) * up;
  };
  auto block = y.block;
  y.at = [=](Expr c, Expr t) -> Expr { return block(c % 16, c / 16, t); };
  values[op.result].rows = y;
  return llvm::Error::success();
}

llvm::Error Builder::lastToken(const KernelOp &op) {
  if (!values[op.operands[0]].rows)
    return fail("last_token takes rows");
  const Rows x = *values[op.operands[0]].rows;
  Rows y;
  y.width = x.width;
  Expr last = tokenCount() - 1;
  y.at = [=](Expr c, Expr) -> Expr { return x.at(c, last); };
  values[op.result].rows = y;
  return llvm::Error::success();
}

/// angle[i, t] = (position + t) * theta^(-2i / head_dim), in f64; cos and sin rounded to f32.
llvm::Error Builder::ropeAngles(const KernelOp &op) {
  Var i("angle_i"), half("angle_half"), t("angle_t");
  Func frequency("frequency"), angles("angles");
  Expr exponent = cast<double>(i) * Expr(-2.0 / op.head_dim);
  frequency(i) = pow(Expr(op.rope_theta), exponent);
  Expr angle = cast<double>(position + t + firstSlice()) * frequency(i);
  angles(i, half, t) = cast<float>(select(half == 0, cos(angle), sin(angle)));
  OutputStage stage;
  stage.kind = OutputStage::Kind::columns;
  stage.func = angles;
  stage.vars = {i, half, t};
  stage.width = 0; // scalar libm calls
  outputBuffer(angles, {op.head_dim / 2, 2, sliceCount()}, {1, op.head_dim / 2, op.head_dim});
  angles.bound(half, 0, 2).unroll(half);
  out.request.outputs.push_back(stage);
  return llvm::Error::success();
}

/// Rotates pairs of columns of the first `heads` heads (Su et al. 2021).
llvm::Error Builder::rope(const KernelOp &op) {
  if (!values[op.operands[0]].rows || !values[op.operands[1]].buffer)
    return fail("rope takes rows and angles");
  const Rows x = *values[op.operands[0]].rows;
  ImageParam angles = *values[op.operands[1]].buffer;
  const int32_t head_dim = op.head_dim, heads = op.heads;
  const bool interleaved = op.interleaved;
  if (head_dim <= 0 || head_dim % 2 || x.width % head_dim)
    return fail("rows of " + llvm::Twine(x.width) + " columns are not heads of " +
                llvm::Twine(head_dim));
  Rows y;
  y.width = x.width;
  y.head_dim = head_dim;
  y.interleaved = interleaved;
  const bool all = x.width == int64_t(heads) * head_dim;
  y.pair = [=](Expr i, Expr half, Expr head, Expr t) -> Expr {
    Expr a = pairOf(x, head_dim, interleaved, i, 0, head, t);
    Expr b = pairOf(x, head_dim, interleaved, i, 1, head, t);
    Expr c = angles(i, 0, t), s = angles(i, 1, t);
    Expr rotated = select(half == 0, a * c - b * s, a * s + b * c);
    return all ? rotated : select(head < heads, rotated, select(half == 0, a, b));
  };
  auto pair = y.pair;
  y.at = [=](Expr column, Expr t) -> Expr {
    Expr d = column % head_dim;
    return interleaved ? pair(d / 2, d % 2, column / head_dim, t)
                       : pair(d % (head_dim / 2), d / (head_dim / 2), column / head_dim, t);
  };
  values[op.result].rows = y;
  return llvm::Error::success();
}

llvm::Error Builder::slice(const KernelOp &op) {
  if (!values[op.operands[0]].rows)
    return fail("slice takes rows");
  const Rows x = *values[op.operands[0]].rows;
  Rows y;
  y.width = spec.values[op.result].width;
  const int32_t offset = op.offset;
  if (offset < 0 || offset + y.width > x.width)
    return fail("slice ends past its operand");
  y.at = [=](Expr c, Expr t) -> Expr { return x.at(c + offset, t); };
  values[op.result].rows = y;
  return llvm::Error::success();
}

/// keys[p % 16, d, p / 16, head] and values[d, p, head] for p = position + t.
llvm::Error Builder::append(const KernelOp &op) {
  if (!values[op.operands[0]].rows || !values[op.operands[1]].rows)
    return fail("append takes rows");
  const Rows k = *values[op.operands[0]].rows, v = *values[op.operands[1]].rows;
  const int32_t head_dim = op.head_dim, half = head_dim / 2, context = int32_t(roundUp(spec.context, 16));
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
llvm::Error Builder::attention(const KernelOp &op) {
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
  s.scores(l, blk, h, t) = select(valid, s.partial_scores(l, blk, h, t) * float(op.scale),
                                  Float(32).min());

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

llvm::Error Builder::finishOutput(int32_t index) {
  const KernelValue &value = spec.values[index];
  Value &made = values[index];
  if (value.kind == KernelValue::Kind::cache || value.kind == KernelValue::Kind::angles)
    return llvm::Error::success(); // append and rope_angles wrote it themselves
  if (made.quantize_stage >= 0) {
    QuantizeStage &stage = out.request.quantizes[made.quantize_stage];
    const int32_t width = int32_t(value.width), groups = stage.groups, group = stage.group;
    if (axis != SliceAxis::tokens)
      return fail("a quantized output is cut by tokens");
    outputBuffer(stage.codes, {group, groups, sliceCount()}, {1, group, width});
    outputBuffer(stage.scales, {groups, sliceCount()}, {1, groups});
    outputBuffer(stage.sums, {groups, sliceCount()}, {1, groups});
    for (Func func : {stage.codes, stage.scales, stage.sums})
      out.request.outputs.push_back({OutputStage::Kind::quant, func, {}, {}, 0});
    return llvm::Error::success();
  }
  if (!made.rows)
    return fail("output %" + llvm::Twine(index) + " is not computed");
  const Rows &rows = *made.rows;
  const int64_t stride = roundUp(value.width, 16);
  Func func("result");
  OutputStage stage;
  if (axis == SliceAxis::row_blocks) {
    Var n("out_n"), nb("out_nb"), t("out_t");
    func(n, nb, t) = blockOf(rows, n, nb + begin, t);
    outputBuffer(func, {16, extent, paddedTokenCount()}, {1, 16, stride});
    stage = {OutputStage::Kind::blocks, func, {n, nb, t}, {}, 16};
  } else if (axis == SliceAxis::heads) {
    if (!rows.head)
      return fail("the output of attention is written as it is");
    Var d("out_d"), h("out_h"), t("out_t");
    func(d, h, t) = rows.head(d, h + begin, 0, t);
    outputBuffer(func, {rows.head_dim, extent, paddedTokenCount()}, {1, rows.head_dim, stride});
    stage = {OutputStage::Kind::heads, func, {d, h, t}, {}, rows.head_dim};
  } else if (rows.pair) {
    Var i("out_i"), half("out_half"), h("out_h"), t("out_t");
    const int32_t head_dim = rows.head_dim;
    func(i, half, h, t) = rows.pair(i, half, h, t + firstSlice());
    const int64_t outer = rows.interleaved ? 1 : head_dim / 2, inner = rows.interleaved ? 2 : 1;
    outputBuffer(func, {head_dim / 2, 2, int32_t(rows.width / head_dim), sliceCount()},
                 {inner, outer, head_dim, stride});
    stage = {OutputStage::Kind::pairs, func, {i, half, h, t}, {}, head_dim / 2};
  } else {
    Var c("out_c"), t("out_t");
    func(c, t) = rows.at(c, t + firstSlice());
    outputBuffer(func, {int32_t(rows.width), sliceCount()}, {1, stride});
    stage = {OutputStage::Kind::columns, func, {c, t}, {}, rows.width};
  }
  out.request.outputs.push_back(stage);
  return llvm::Error::success();
}

llvm::Expected<BuiltKernel> Builder::build() {
  tile = spec.max_tokens == 1 ? 1 : std::max(1, spec.tile.token_tile);
  padded_tokens = paddedTokens(spec.max_tokens);
  values.resize(spec.values.size());
  for (const KernelOp &op : spec.ops) {
    if (op.kind == KernelOp::Kind::linear)
      axis = SliceAxis::row_blocks;
    else if (op.kind == KernelOp::Kind::attention)
      axis = SliceAxis::heads;
    one_token |= op.kind == KernelOp::Kind::last_token;
  }
  out.arguments = {begin, extent, tokens, position};
  for (int32_t index : spec.inputs)
    declareInput(index);
  for (const KernelOp &op : spec.ops)
    if (llvm::Error error = (this->*stepFor(op.kind))(op))
      return std::move(error);

  // Buffers follow spec.outputs, whatever the order of the ops: append and rope_angles come first
  // in `functions`, so outputs are collected value by value.
  std::vector<Func> own = std::move(functions), ordered;
  functions.clear();
  for (int32_t index : spec.outputs) {
    const KernelValue::Kind kind = spec.values[index].kind;
    if (kind == KernelValue::Kind::cache || kind == KernelValue::Kind::angles)
      functions.insert(functions.end(), own.begin(), own.end());
    else if (llvm::Error error = finishOutput(index))
      return std::move(error);
  }
  if (functions.empty())
    return fail("no output");
  out.pipeline = Pipeline(functions);
  return std::move(out);
}

} // namespace

llvm::Expected<BuiltKernel> ingot::buildKernel(const KernelSpec &spec,
                                               const ingot::Target &target) {
  return Builder(spec, target).build();
}
