// Linear layers, over quantized and float activations.
#include "codegen/halide/KernelBuilder.h"

#include <cmath>

using namespace ingot;
using namespace Halide;

namespace {

/// A step of a group as a step of one of its halves. Bounds inference does not see that both sides
/// of the selection stay inside.
Expr inHalf(Expr step, int32_t half) {
  return unsafe_promise_clamped(select(step < half, step, step - half), 0, half - 1);
}

/// Where weights are that meet step `step` of a group of activations, of `steps` steps: `ratio`
/// such groups are one of theirs, whose halves have `half` steps.
struct Place {
  Expr step, in_half, group;
  Place(Expr of_step, Var g, int32_t ratio, int32_t steps, int32_t half)
      : step(ratio == 1 ? of_step : (g % ratio) * steps + of_step),
        in_half(ratio == 1 ? step % half : inHalf(step, half)),
        group(ratio == 1 ? Expr(g) : g / ratio) {}
};

} // namespace

void KernelBuilder::linearResult(const KernelOp &op, LinearStage stage) {
  Rows y;
  y.width = spec.values[op.operands[1]].height;
  Func result = stage.result;
  y.block = [result](Expr n, Expr nb, Expr stream, Expr t) -> Expr {
    return result(n, nb, stream, t);
  };
  y.at = [result](Expr c, Expr t) -> Expr { return result(c % 16, c / 16, 0, t); };
  values[op.result].rows = y;
  out.request.linears.push_back(stage);
}

llvm::Error KernelBuilder::checkGroups(const KernelValue &matrix, const Quant &x) {
  const int64_t group = matrix.encoding.groupElements(matrix.width);
  if (group % x.group)
    return fail("weight groups of " + llvm::Twine(group) + " are not whole activation groups of " +
                llvm::Twine(x.group));
  return llvm::Error::success();
}

llvm::Error KernelBuilder::linear(const KernelOp &op) {
  Value &activations = values[op.operands[0]];
  if (!values[op.operands[1]].matrix)
    return fail("linear takes a matrix");
  if (!activations.quant && activations.quantize_stage < 0)
    return linearFloat(op);
  const KernelValue &read = spec.values[op.operands[0]];
  if (read.holdsHalves())
    return linearHalves(op);
  const Quant x = quantized(activations);
  const Matrix matrix = *values[op.operands[1]].matrix;
  const KernelValue &value = *matrix.value;
  const PackedLayout &layout = value.layout;
  const Encoding &encoding = value.encoding;
  if (encoding.isFloat())
    return fail("a float matrix needs float activations");
  const int32_t group = x.group, ki = layout.k_inner;
  const int32_t weight_group = int32_t(encoding.groupElements(value.width));
  if (llvm::Error error = checkGroups(value, x))
    return error;

  LinearStage s;
  s.code_bits = layout.code_bits;
  const bool wide = read.codeBits() == 16;
  s.form = dotForm(target.machine(), encoding, read);
  // Pairs that one instruction sums beside each other in lanes of their own, to be added at the end
  // of a group; or, where the codes are unpacked for many tokens anyway, laid out pair by pair.
  // Products of two signed bytes fit i16.
  const bool make_signed = signedCodes(target.machine()) && !wide;
  const bool beside = s.form == DotForm::saturating_pairs || s.form == DotForm::lanes ||
                      (s.form == DotForm::widened_pairs && (make_signed || spec.max_tokens == 1));
  const int32_t at_once = s.form == DotForm::lanes ? 1 : 2; // products in one of `pairs`
  const int32_t split = s.form == DotForm::widened_pairs && !beside ? ki / 2 : 1;
  s.rows = layout.rows;
  s.k_inner = ki / split;
  s.steps = group / s.k_inner;
  s.groups = int32_t(value.width / group);
  Var n("n"), nb("nb"), stream("stream"), t("lt"), g("g"), q("q"), b("b"), p("p"), k("k");
  s.stream = stream, s.n = n, s.nb = nb, s.t = t, s.g = g, s.q = q, s.b = b, s.p = p, s.k = k;

  // Staged in a Func of its own: an inlined mask lets Halide narrow the codes to i8, and u8 x i8 is
  // the only product that the dot instructions take.
  s.codes = Func("unpacked");
  Expr own_step = split == 1 ? Expr(q) : q / split,
       byte_of_step = split == 1 ? Expr(b) : b + s.k_inner * (q % split);
  const Place place(own_step, g, weight_group / group, group / ki,
                    std::max(weight_group / 2 / ki, 1));
  Expr block = nb + streamStart(stream, value.height);
  Expr code = storedCode(matrix, byte_of_step, n, place.step, place.in_half, place.group, block);
  int32_t offset = encoding.minCode(); // of what a code stands for from what is multiplied
  const bool widened = s.form == DotForm::widened_pairs && !make_signed;
  const bool table = encoding.table != CodeTable::none;
  if (table && (widened || make_signed)) {
    code = lookUp(encoding.values(), code);
    offset = 0;
  } else if (table) {
    code = lookUpAbove(encoding.values(), offset, code);
  }
  if (widened) {
    code = cast<int16_t>(code);
  } else if (make_signed && !table) {
    if (encoding.bits == 8) {
      code = code ^ cast<uint8_t>(128);
      offset += 128;
    }
    code = reinterpret<int8_t>(code);
  }
  s.codes(b, n, q, g, nb, stream) = code;

  s.scales = Func("weight_scales");
  s.scales(n, g, nb, stream) = scaleOf(matrix, false, n, place.group, block);
  s.reads = {matrix.codes, matrix.scales};
  Expr start = offset ? x.sums(g, t) * offset : Expr(0);

  // Runs of steps whose sums of pairs i16 holds.
  s.run_steps = s.form == DotForm::saturating_pairs
                    ? std::min(pairSteps(target.machine(), encoding), s.steps)
                    : s.steps;
  const int32_t runs = s.steps / s.run_steps;
  Var run("run");
  s.run = run;
  RDom r(0, beside ? at_once : s.k_inner, 0, s.run_steps, "step");
  s.step_x = r.x, s.step_y = r.y;
  Expr of_step = beside ? r.x + at_once * p : Expr(r.x),
       of_group = runs > 1 ? r.y + s.run_steps * run : Expr(r.y),
       at = of_step + s.k_inner * of_group;
  Expr code_at = s.codes(of_step, n, of_group, g, nb, stream),
       activation = x.codes(at + g * group, t);
  if (widened || (s.form == DotForm::quads && target.machine().dot_by_lane)) {
    s.copies = Func("activations");
    Expr copied = x.codes(k + g * group, t);
    s.copies(k, g, t) = widened ? cast<int16_t>(copied) : copied;
    activation = s.copies(at, g, t);
  }
  s.accumulator = Func("dots");
  s.accumulator(n, g, nb, stream, t) = start;
  if (!beside) {
    s.accumulator(n, g, nb, stream, t) += cast<int32_t>(code_at) * cast<int32_t>(activation);
  } else {
    s.pairs = Func("pairs");
    const std::vector<Var> of{p, n, run, g, nb, stream, t};
    if (s.form == DotForm::saturating_pairs) {
      s.pairs(of) = cast<int16_t>(0);
      s.pairs(of) = saturating_add(s.pairs(of), cast<int16_t>(code_at) * cast<int16_t>(activation));
    } else if (s.form == DotForm::lanes) {
      s.pairs(of) = cast<int16_t>(0);
      s.pairs(of) += cast<int16_t>(code_at) * cast<int16_t>(activation);
    } else if (make_signed) {
      s.pairs(of) = 0;
      s.pairs(of) += cast<int32_t>(cast<int16_t>(code_at) * cast<int16_t>(activation));
    } else {
      s.pairs(of) = 0;
      s.pairs(of) += cast<int32_t>(code_at) * cast<int32_t>(activation);
    }
    RDom rp(0, ki / at_once, 0, runs, "pair");
    s.pair = rp.x, s.pair_run = rp.y;
    s.accumulator(n, g, nb, stream, t) += cast<int32_t>(s.pairs(rp.x, n, rp.y, g, nb, stream, t));
  }

  s.result = Func("linear");
  RDom rg(0, s.groups, "rg");
  s.group = rg.x;
  s.result(n, nb, stream, t) = 0.0f;
  Expr term = cast<float>(s.accumulator(n, rg, nb, stream, t)) *
              (s.scales(n, rg, nb, stream) * x.scales(rg, t));
  Expr sum = s.result(n, nb, stream, t) + term;
  if (!encoding.symmetric()) {
    s.mins = Func("weight_mins");
    s.mins(n, g, nb, stream) = scaleOf(matrix, true, n, place.group, block);
    s.reads.push_back(matrix.mins);
    s.sums = Func("scaled_sums");
    s.sums(g, t) = x.scales(g, t) * cast<float>(x.sums(g, t));
    sum = sum + s.mins(n, rg, nb, stream) * s.sums(rg, t);
  }
  s.result(n, nb, stream, t) = sum;
  linearResult(op, s);
  return llvm::Error::success();
}

/// Per group: dot = sum over k in order of code[n, k] * half[k, t], of products that are exact,
/// each added with one rounding; y[n, t] += dot * (scale * act_scale) [+ min * act_sum]. Weights of
/// f16 are codes without scales.
llvm::Error KernelBuilder::linearHalves(const KernelOp &op) {
  const Quant x = quantized(values[op.operands[0]]);
  const Matrix matrix = *values[op.operands[1]].matrix;
  const KernelValue &value = *matrix.value;
  const Encoding &encoding = value.encoding;
  const bool half_weights = encoding.isFloat();
  if (half_weights && encoding.code != CodeKind::f16)
    return fail("a matrix of f32 or bf16 needs float activations");
  if (value.width % x.group || x.group % 16)
    return fail("rows of " + llvm::Twine(value.width) + " columns are not groups of " +
                llvm::Twine(x.group));

  LinearStage s;
  s.form = DotForm::halves;
  s.code_bits = value.layout.code_bits;
  s.rows = value.layout.rows;
  s.k_inner = 4;
  s.steps = s.run_steps = x.group / s.k_inner;
  s.groups = int32_t(value.width / x.group);
  Var n("n"), nb("nb"), stream("stream"), t("lt"), g("g"), q("q"), b("b"), k("k");
  s.stream = stream, s.n = n, s.nb = nb, s.t = t, s.g = g, s.q = q, s.b = b, s.k = k;
  const Type factor = target.machine().half_products ? Float(16) : Float(32);
  RDom r(0, s.k_inner, 0, s.steps, "step");
  s.step_x = r.x, s.step_y = r.y;
  Expr at = r.x + s.k_inner * r.y, block = nb + streamStart(stream, value.height);
  s.reads = {matrix.codes};
  Expr weight;
  if (half_weights) {
    weight = matrix.codes(n, at + g * x.group, block);
  } else {
    if (value.layout.k_inner != s.k_inner)
      return fail("steps of " + llvm::Twine(value.layout.k_inner) + " elements");
    if (llvm::Error error = checkGroups(value, x))
      return error;
    const int32_t weight_group = int32_t(encoding.groupElements(value.width));
    const Place place(q, g, weight_group / x.group, s.steps,
                      std::max(weight_group / 2 / s.k_inner, 1));
    Expr code = storedCode(matrix, b, n, place.step, place.in_half, place.group, block);
    if (encoding.table != CodeTable::none)
      code = lookUp(encoding.values(), code);
    else
      code = cast<int16_t>(code) + cast<int16_t>(encoding.minCode());
    s.codes = Func("unpacked");
    s.codes(b, n, q, g, nb, stream) = cast(factor, code);
    weight = s.codes(r.x, n, r.y, g, nb, stream);
    s.scales = Func("weight_scales");
    s.scales(n, g, nb, stream) = scaleOf(matrix, false, n, place.group, block);
    s.reads.push_back(matrix.scales);
    if (!encoding.symmetric()) {
      s.mins = Func("weight_mins");
      s.mins(n, g, nb, stream) = scaleOf(matrix, true, n, place.group, block);
      s.reads.push_back(matrix.mins);
      s.sums = Func("scaled_sums");
      s.sums(g, t) = x.scales(g, t) * (cast<float>(x.sums(g, t)) * std::ldexp(1.0f, -24));
    }
  }
  s.copies = Func("activations");
  s.copies(k, g, t) = cast(factor, x.codes(k + g * x.group, t));
  s.accumulator = Func("dots");
  s.accumulator(n, g, nb, stream, t) = 0.0f;
  s.accumulator(n, g, nb, stream, t) += cast<float>(weight) * cast<float>(s.copies(at, g, t));

  s.result = Func("linear");
  RDom rg(0, s.groups, "rg");
  s.group = rg.x;
  s.result(n, nb, stream, t) = 0.0f;
  Expr scale = x.scales(rg, t);
  if (!half_weights)
    scale = s.scales(n, rg, nb, stream) * scale;
  Expr sum = s.result(n, nb, stream, t) + s.accumulator(n, rg, nb, stream, t) * scale;
  if (s.mins.defined())
    sum = sum + s.mins(n, rg, nb, stream) * s.sums(rg, t);
  s.result(n, nb, stream, t) = sum;
  linearResult(op, s);
  return llvm::Error::success();
}

/// y[n, t] = sum over k in order of decode(w[n, k]) * x[k, t]
llvm::Error KernelBuilder::linearFloat(const KernelOp &op) {
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
  Var n("n"), nb("nb"), stream("stream"), t("lt"), g("g"), q("q"), b("b");
  s.stream = stream, s.n = n, s.nb = nb, s.t = t, s.g = g, s.q = q, s.b = b;
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
    const int32_t half = std::max(weight_group / 2 / ki, 1);
    Expr step = (g % ratio) * s.steps + q, wg = g / ratio;
    Expr code = storedCode(matrix, b, n, step, inHalf(step, half), wg, nb);
    s.codes(b, n, q, g, nb) = decoded(matrix, code, n, wg, nb);
  }
  RDom r(0, s.k_inner, 0, s.steps, 0, s.groups, "rk");
  s.step_x = r.x, s.step_y = r.y, s.group = r.z;
  s.result = Func("linear");
  s.result(n, nb, stream, t) = 0.0f;
  s.result(n, nb, stream, t) += s.codes(r.x, n, r.y, r.z, nb + streamStart(stream, value.height)) *
                                x.at(r.x + s.k_inner * r.y + s.k_inner * s.steps * r.z, t);
  linearResult(op, s);
  return llvm::Error::success();
}
