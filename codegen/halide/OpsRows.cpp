// Ops that work on one row at a time.
#include "codegen/halide/KernelBuilder.h"

using namespace ingot;
using namespace Halide;

/// rows[c, t] = code[c] * scale + min of row tokens[t] of a packed matrix.
llvm::Error KernelBuilder::embedding(const KernelOp &op) {
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
    const int32_t ki = layout.k_inner, half = std::max(group / 2 / ki, 1);
    Expr wg = c / group, within = c % group;
    Expr code = storedCode(matrix, within % ki, n, within / ki, within / ki % half, wg, nb);
    return decoded(matrix, code, n, wg, nb);
  };
  values[op.result].rows = rows;
  return llvm::Error::success();
}

/// y[c, t] = x[c, t] * (1 / sqrt(mean(x^2) + eps)) * gain[c]   (Zhang & Sennrich 2019)
llvm::Error KernelBuilder::rmsNorm(const KernelOp &op) {
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

/// The largest of `magnitude`, which has a reduction for each lane and is not negative.
PeakStage KernelBuilder::peak(const std::string &name, int32_t lanes,
                              const std::vector<Var> &others,
                              const std::function<Expr(Expr lane)> &magnitude) {
  PeakStage stage;
  stage.lanes = lanes;
  stage.l = Var(name + "_lane");
  auto at = [&](Expr lane) {
    std::vector<Expr> arguments{lane};
    arguments.insert(arguments.end(), others.begin(), others.end());
    return arguments;
  };
  std::vector<Var> arguments{stage.l};
  arguments.insert(arguments.end(), others.begin(), others.end());
  Func first(name + "_lanes");
  first(arguments) = 0.0f;
  first(arguments) = max(first(arguments), magnitude(stage.l));
  stage.steps.push_back(first);
  for (int32_t width = lanes / 2; width; width /= 2) {
    Func half(name + "_" + std::to_string(width));
    half(arguments) = max(stage.steps.back()(arguments), stage.steps.back()(at(stage.l + width)));
    stage.steps.push_back(half);
  }
  return stage;
}

/// Per group: scale = max|x| / limit; code = x * (1 / scale) rounded to nearest, ties to even. Of
/// halves: scale = the largest power of two that is not above max|x|. A group whose scale is not
/// above 1e-30 is zero: its inverse could overflow.
llvm::Error KernelBuilder::quantize(const KernelOp &op) {
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
  Var k("quant_k"), g("quant_g"), t("quant_t");
  stage.k = k, stage.g = g, stage.t = t;
  Expr first = axis == SliceAxis::tokens ? firstSlice() : Expr(0);
  stage.source = Func("quant_source");
  stage.source(k, g, t) = x.at(g * group + k, t + first);
  RDom r(0, group / 16, "quant_r");
  stage.peak = peak("quant_max", 16, {g, t},
                    [&](Expr lane) { return abs(stage.source(r * 16 + lane, g, t)); });
  Func maximum = stage.peak.steps.back();
  stage.scales = Func("quant_scales");
  stage.codes = Func("quant_codes");
  stage.sums = Func("quant_sums");
  const KernelValue &value = spec.values[op.result];
  const bool wide = value.codeBits() == 16, halves = value.holdsHalves();
  const float limit = float(activationCodeLimit(wide ? 16 : 8));
  Expr scale = halves ? reinterpret<float>(reinterpret<int32_t>(maximum(0, g, t)) & 0x7f800000)
                      : maximum(0, g, t) * float(1.0 / limit);
  stage.scales(g, t) = select(scale > 1e-30f, scale, 0.0f);
  // Of a power of two, 2^-e has 254 less its biased exponent.
  Expr inverse = halves ? reinterpret<float>(0x7f000000 - reinterpret<int32_t>(stage.scales(g, t)))
                        : 1.0f / stage.scales(g, t);
  Expr code = stage.source(k, g, t) * select(stage.scales(g, t) > 0.0f, inverse, 0.0f);
  if (halves) {
    stage.codes(k, g, t) = reinterpret(Float(16), halfBits(code));
  } else {
    code = clamp(code, -limit, limit);
    stage.codes(k, g, t) = wide ? toCode<int16_t>(code) : toCode<int8_t>(code);
  }
  RDom rs(0, group, "quant_sum_r");
  Expr summand = stage.codes(rs, g, t);
  stage.sums(g, t) = 0;
  stage.sums(g, t) += halves ? halfInLeast(reinterpret<uint16_t>(summand)) : cast<int32_t>(summand);
  stage.sum_r = rs.x;
  values[op.result].quantize_stage = int32_t(out.request.quantizes.size());
  out.request.quantizes.push_back(stage);
  return llvm::Error::success();
}

/// What a linear reads: an input, or a quantization of this kernel, computed whole by each thread.
Quant KernelBuilder::quantized(Value &value) {
  if (!value.quant) {
    QuantizeStage &stage = out.request.quantizes[value.quantize_stage];
    stage.row = Func("quant_row");
    stage.c = Var("quant_c");
    stage.row(stage.c, stage.t) =
        stage.codes(stage.c % stage.group, stage.c / stage.group, stage.t);
    value.quant = Quant{stage.row, stage.scales, stage.sums, stage.group};
  }
  return *value.quant;
}

llvm::Error KernelBuilder::add(const KernelOp &op) {
  if (!values[op.operands[0]].rows || !values[op.operands[1]].rows)
    return fail("add takes rows");
  const Rows a = *values[op.operands[0]].rows, b = *values[op.operands[1]].rows;
  Rows y;
  y.width = a.width;
  y.at = [=](Expr c, Expr t) -> Expr { return a.at(c, t) + b.at(c, t); };
  if (a.block || b.block)
    y.block = [=, this](Expr n, Expr nb, Expr stream, Expr t) -> Expr {
      return blockOf(a, n, nb, stream, t) + blockOf(b, n, nb, stream, t);
    };
  values[op.result].rows = y;
  return llvm::Error::success();
}

/// y[n, nb] = silu(gate) * up, gate = x[n, 2 nb], up = x[n, 2 nb + 1]; silu(v) = v / (1 + exp(-v))
llvm::Error KernelBuilder::siluMul(const KernelOp &op) {
  if (!values[op.operands[0]].rows)
    return fail("silu_mul takes rows");
  const Rows x = *values[op.operands[0]].rows;
  Rows y;
  y.width = x.width / 2;
  y.block = [=, this](Expr n, Expr nb, Expr stream, Expr t) -> Expr {
    Expr gate = blockOf(x, n, 2 * nb, stream, t), up = blockOf(x, n, 2 * nb + 1, stream, t);
    return gate / (1.0f + exponential(-gate)) * up;
  };
  auto block = y.block;
  y.at = [=](Expr c, Expr t) -> Expr { return block(c % 16, c / 16, 0, t); };
  values[op.result].rows = y;
  return llvm::Error::success();
}

llvm::Error KernelBuilder::lastToken(const KernelOp &op) {
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
llvm::Error KernelBuilder::ropeAngles(const KernelOp &op) {
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
llvm::Error KernelBuilder::rope(const KernelOp &op) {
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

llvm::Error KernelBuilder::slice(const KernelOp &op) {
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
