// Ops that work on one row at a time, and what all kernels share.
#include "codegen/spirv/Builder.h"
#include "runtime/core/device.h"
#include "support/Error.h"

#include <cmath>
#include <numbers>

namespace ingot::spirv {
namespace {

int64_t roundUp(int64_t value, int64_t to) { return (value + to - 1) / to * to; }

} // namespace

Builder::Builder(mlir::MLIRContext &context, const KernelSpec &spec, bool per_sequence,
                 const Features &features)
    : spec(spec), per_sequence(per_sequence), interface(kernelInterface(spec)),
      scratch_bytes(scratchBytes(spec)),
      code(context, threads_of_a_group,
           static_cast<int32_t>(interface.arguments.size()) + (scratch_bytes ? 1 : 0), features),
      values(spec.values.size()) {}

llvm::Error Builder::fail(const llvm::Twine &message) {
  return inputError("kernel " + spec.name, "", message);
}

int32_t Builder::binding(int32_t value, int32_t part) const {
  for (size_t i = 0; i < interface.arguments.size(); ++i)
    if (interface.arguments[i].value == value && interface.arguments[i].part == part)
      return static_cast<int32_t>(i);
  return -1;
}

Num Builder::positionOf(Num of) {
  if (per_sequence)
    return code.parameter(code.add(of, code.i(INGOT_PARAMETER_POSITIONS)));
  return code.add(code.parameter(code.i(INGOT_PARAMETER_POSITION)), of);
}

Num Builder::cacheStart(int32_t value, int32_t part, Num of) {
  Num slot =
      per_sequence ? code.add(of, code.i(INGOT_PARAMETER_SLOTS)) : code.i(INGOT_PARAMETER_SLOTS);
  return code.mul(code.parameter(slot), code.i(bufferBytes(spec, value, part) / 4));
}

void Builder::declareInput(int32_t index) {
  const KernelValue &value = spec.values[index];
  if (value.kind == KernelValue::Kind::rows) {
    const int64_t stride = roundUp(value.width, 16);
    values[index].rows = {value.width, [=, this](Num c, Num t) {
                            return code.loadFloat(binding(index),
                                                  code.add(code.mul(t, code.i(stride)), c));
                          }};
  } else if (value.kind == KernelValue::Kind::quant) {
    int32_t group = 32;
    for (const KernelOp &op : spec.ops)
      if (op.kind == KernelOp::Kind::linear && op.operands[0] == index && op.act_group)
        group = op.act_group;
    auto at = [this](int32_t from, int64_t stride) {
      return [=, this](Num column, Num t) {
        return code.load(from, code.add(code.mul(t, code.i(stride)), column));
      };
    };
    auto floats = [this](std::function<Num(Num, Num)> bits) {
      return [=, this](Num g, Num t) { return code.asFloat(bits(g, t)); };
    };
    const bool halves = value.encoding.code == CodeKind::f16;
    auto sums = at(binding(index, 2), value.width / group);
    values[index].quant = {group, halves, at(binding(index), value.width * value.codeBits() / 32),
                           floats(at(binding(index, 1), value.width / group)), sums};
    if (halves)
      values[index].quant.sum = floats(sums);
  }
}

Num Builder::overThreads(Num own, const std::function<Num(Num, Num)> &combine) {
  // In two steps: neighbours combine theirs, then all combine what these made; each time pair by
  // pair, which is the order that shuffles have.
  const int32_t groups = code.threads / neighbours;
  Shared combined = code.shared(groups, true);
  const std::function<Num(const Shared &, Num, int32_t)> tree = [&](const Shared &from, Num first,
                                                                    int32_t count) -> Num {
    if (count == 1)
      return from.get(first);
    Num half = tree(from, first, count / 2);
    return combine(half, tree(from, code.add(first, code.i(count / 2)), count / 2));
  };
  if (code.features.shuffle) {
    for (int32_t mask = 1; mask < neighbours; mask *= 2)
      own = combine(own, code.shuffle(own, mask));
    code.when(code.equal(code.mod(code.thread(), neighbours), code.i(0)),
              [&] { combined.set(code.div(code.thread(), neighbours), own); });
  } else {
    Shared parts = code.shared(code.threads, true);
    parts.set(code.thread(), own);
    code.barrier();
    code.share(groups, [&](Num index) {
      combined.set(index, tree(parts, code.mul(index, code.i(neighbours)), neighbours));
    });
  }
  code.barrier();
  return tree(combined, code.i(0), groups);
}

/// rows[c, t] = row tokens[t] of a packed matrix, decoded.
void Builder::embedding(const KernelOp &op) {
  const Matrix matrix(code, spec.values[op.operands[1]], binding(op.operands[1]));
  const KernelValue &value = matrix.value;
  Num id = code.umin(code.load(binding(op.operands[0]), token), code.i(value.height - 1));
  Num row = code.mod(id, value.layout.rows), block = code.div(id, value.layout.rows);
  values[op.result].rows = {value.width, [=, this](Num c, Num) -> Num {
                              if (matrix.value.encoding.isFloat())
                                return matrix.element(block, row, c);
                              Num group = code.div(c, matrix.group), k = code.mod(c, matrix.group);
                              Num codes = matrix.codes(block, row, group, code.div(k, 4));
                              Num down = code.shiftLeft(code.mod(k, 4), code.i(3));
                              Num number = code.bitAnd(code.shiftRight(codes, down), code.i(255));
                              return matrix.decode(number, matrix.scale(block, row, group),
                                                   matrix.value.encoding.symmetric()
                                                       ? Num()
                                                       : matrix.min(block, row, group));
                            }};
}

/// y[c, t] = x[c, t] * (1 / sqrt(mean(x^2) + eps)) * gain[c]   (Zhang & Sennrich 2019)
void Builder::rmsNorm(const KernelOp &op) {
  const Rows x = values[op.operands[0]].rows;
  const int32_t gain = binding(op.operands[1]);
  Local sum = code.local(code.f(0));
  code.share(x.width, [&](Num c) {
    Num element = x.at(c, token);
    sum.set(code.fma(element, element, sum.get()));
  });
  Num all = overThreads(sum.get(), [&](Num a, Num b) { return code.fadd(a, b); });
  Num mean = code.fma(all, code.f(1.0 / double(x.width)), code.f(op.eps));
  Num inverse = code.fdiv(code.f(1), code.sqrt(mean));
  values[op.result].rows = {x.width, [=, this](Num c, Num t) {
                              return code.fmul(code.fmul(x.at(c, t), inverse),
                                               code.loadFloat(gain, c));
                            }};
}

/// Fills `scales`, of groups of `words` words of `in_word` elements each, by what `scale` makes of
/// a group's largest magnitude.
void Builder::scaleGroups(int64_t width, int in_word, int64_t words,
                          const std::function<Num(Num, int)> &element, const Shared &codes,
                          const Shared &scales, const std::function<Num(Num)> &scale) {
  // First each word's largest magnitude where its codes will be.
  code.share(width / in_word, [&](Num word) {
    Num largest;
    for (int k = 0; k < in_word; ++k) {
      Num magnitude = code.fabs(element(word, k));
      largest = k ? code.fmax(largest, magnitude) : magnitude;
    }
    codes.set(word, code.asBits(largest));
  });
  code.barrier();
  code.share(width / in_word / words, [&](Num g) {
    Local largest = code.local(code.f(0));
    Num first = code.mul(g, code.i(words));
    code.loop(code.i(0), code.i(words), 1, [&](Num word) {
      largest.set(code.fmax(largest.get(), code.asFloat(codes.get(code.add(first, word)))));
    });
    Num made = scale(largest.get());
    // The inverse of less could overflow.
    scales.set(g, code.select(code.fabove(made, code.f(1e-30)), made, code.f(0)));
  });
  code.barrier();
}

/// Per group: scale = max|x| / 127; code = x * (1 / scale) rounded to nearest, ties to even. The
/// row is quantized into shared memory, word by word.
llvm::Error Builder::quantize(const KernelOp &op) {
  const Rows x = values[op.operands[0]].rows;
  const int32_t group = op.act_group, words = group / 4;
  if (!x.at || group <= 0 || group % 16 || x.width % group)
    return fail("rows of " + llvm::Twine(x.width) + " columns cannot be quantized in groups of " +
                llvm::Twine(group));
  if (spec.values[op.result].encoding.code == CodeKind::f16) {
    roundToHalves(op);
    return llvm::Error::success();
  }
  const int64_t groups = x.width / group;
  Shared codes = code.shared(x.width / 4, false), scales = code.shared(groups, true),
         sums = code.shared(groups, false);
  auto element = [&](Num word, int k) {
    return x.at(code.add(code.mul(word, code.i(4)), code.i(k)), token);
  };
  scaleGroups(x.width, 4, words, element, codes, scales,
              [&](Num largest) { return code.fmul(largest, code.f(1.0 / 127)); });
  code.share(x.width / 4, [&](Num word) {
    Num scale = scales.get(code.div(word, words));
    Num inverse =
        code.select(code.fabove(scale, code.f(0)), code.fdiv(code.f(1), scale), code.f(0));
    Num packed;
    for (int k = 0; k < 4; ++k) {
      Num number =
          code.toInt(code.clamp(code.roundEven(code.fmul(element(word, k), inverse)), 127));
      number = code.shiftLeft(code.bitAnd(number, code.i(255)), code.i(8 * k));
      packed = k ? code.bitOr(packed, number) : number;
    }
    codes.set(word, packed);
  });
  code.barrier();
  code.share(groups, [&](Num g) {
    Local sum = code.local(code.i(0));
    Num first = code.mul(g, code.i(words));
    code.loop(code.i(0), code.i(words), 1, [&](Num word) {
      sum.add(code.dot(codes.get(code.add(first, word)), code.i(0x01010101)));
    });
    sums.set(g, sum.get());
  });
  code.barrier();
  values[op.result].quant = {group, false, [=](Num word, Num) { return codes.get(word); },
                             [=](Num g, Num) { return scales.get(g); },
                             [=](Num g, Num) { return sums.get(g); }};
  return llvm::Error::success();
}

/// Per group: scale = the largest power of two that is not above max|x|, code = x / scale as a
/// half: however large or small the numbers are, codes are within (-2, 2).
void Builder::roundToHalves(const KernelOp &op) {
  const Rows x = values[op.operands[0]].rows;
  const int32_t group = op.act_group, words = group / 2;
  const int64_t groups = x.width / group;
  Shared codes = code.shared(x.width / 2, false), scales = code.shared(groups, true),
         sums = code.shared(groups, true);
  auto element = [&](Num word, int k) {
    return x.at(code.add(code.mul(word, code.i(2)), code.i(k)), token);
  };
  scaleGroups(x.width, 2, words, element, codes, scales, [&](Num largest) {
    return code.asFloat(code.bitAnd(code.asBits(largest), code.i(0x7f800000)));
  });
  code.share(x.width / 2, [&](Num word) {
    Num scale = scales.get(code.div(word, words));
    // Of a power of two, exactly: 2^-e has 254 less its biased exponent.
    Num inverse = code.asFloat(code.sub(code.i(0x7f000000), code.asBits(scale)));
    inverse = code.select(code.fabove(scale, code.f(0)), inverse, code.f(0));
    codes.set(word, code.packHalves(code.fmul(element(word, 0), inverse),
                                    code.fmul(element(word, 1), inverse)));
  });
  code.barrier();
  code.share(groups, [&](Num g) {
    Local sum = code.local(code.f(0));
    Num first = code.mul(g, code.i(words));
    code.loop(code.i(0), code.i(words), 1, [&](Num word) {
      Num both = codes.get(code.add(first, word));
      sum.add(code.fadd(code.halfToFloat(both, 0), code.halfToFloat(both, 1)));
    });
    sums.set(g, sum.get());
  });
  code.barrier();
  values[op.result].quant = {group, true, [=](Num word, Num) { return codes.get(word); },
                             [=](Num g, Num) { return scales.get(g); },
                             [=](Num g, Num) { return sums.get(g); }};
}

/// Rotates pairs of columns of the first `heads` heads (Su et al. 2021).
void Builder::rope(const KernelOp &op) {
  const Rows x = values[op.operands[0]].rows;
  const int32_t angles = binding(op.operands[1]), head_dim = op.head_dim, half = head_dim / 2;
  const int64_t rotated = int64_t(op.heads) * head_dim;
  values[op.result].rows = {x.width, [=, this, interleaved = op.interleaved](Num c, Num t) {
                              Num d = code.mod(c, head_dim), head = code.sub(c, d), i, second, a, b;
                              if (interleaved) {
                                i = code.div(d, 2);
                                second = code.equal(code.mod(d, 2), code.i(1));
                                Num first = code.add(head, code.mul(i, code.i(2)));
                                a = x.at(first, t), b = x.at(code.add(first, code.i(1)), t);
                              } else {
                                i = code.mod(d, half);
                                second = code.negate(code.below(d, code.i(half)));
                                Num first = code.add(head, i);
                                a = x.at(first, t), b = x.at(code.add(first, code.i(half)), t);
                              }
                              Num row = code.add(code.mul(t, code.i(head_dim)), i);
                              Num cosine = code.loadFloat(angles, row);
                              Num sine = code.loadFloat(angles, code.add(row, code.i(half)));
                              Num one = code.fsub(code.fmul(a, cosine), code.fmul(b, sine));
                              Num other = code.fadd(code.fmul(a, sine), code.fmul(b, cosine));
                              Num result = code.select(second, other, one);
                              if (rotated == x.width)
                                return result;
                              return code.select(code.below(c, code.i(rotated)), result,
                                                 code.select(second, b, a));
                            }};
}

/// cos and sin of (position + t) * theta^(-2i / head_dim). Angles are counted in turns, as 64-bit
/// fractions, so that whole turns drop out exactly however large the position: what is left is at
/// most an eighth of a turn, where Taylor polynomials suffice. Nothing depends on the device's own
/// sine, whose error is not bounded far from zero.
void Builder::ropeAngles(const KernelOp &op) {
  const int32_t half = op.head_dim / 2, out = binding(op.result);
  Num position = positionOf(token);
  code.share(half, [&](Num index) {
    Num high = code.i(0), low = code.i(0);
    for (int32_t k = 0; k < half; ++k) {
      const long double turns = std::pow((long double)op.rope_theta, -2.0L * k / op.head_dim) /
                                (2 * std::numbers::pi_v<long double>);
      const auto fraction = static_cast<uint64_t>(std::ldexp(turns - std::floor(turns), 64));
      Num here = code.equal(index, code.i(k));
      high = code.select(here, code.i(int64_t(fraction >> 32)), high);
      low = code.select(here, code.i(int64_t(fraction & 0xffffffff)), low);
    }
    Num turn = code.add(code.mul(position, high), code.mulHigh(position, low));
    Num quarter = code.shiftRight(code.add(turn, code.i(1 << 29)), code.i(30));
    Num rest = code.sub(turn, code.shiftLeft(quarter, code.i(30)));
    Num x = code.fmul(code.toFloat(rest), code.f(2 * std::numbers::pi / 4294967296.0));
    Num square = code.fmul(x, x), sine = code.f(1.0 / 362880), cosine = code.f(-1.0 / 3628800);
    for (double c : {-1.0 / 5040, 1.0 / 120, -1.0 / 6, 1.0})
      sine = code.fma(sine, square, code.f(c));
    sine = code.fmul(sine, x);
    for (double c : {1.0 / 40320, -1.0 / 720, 1.0 / 24, -0.5, 1.0})
      cosine = code.fma(cosine, square, code.f(c));
    // A quarter of a turn on, (cos, sin) is (-sin, cos).
    Num odd = code.equal(code.mod(quarter, 2), code.i(1));
    Num swapped_cosine = code.select(odd, code.fsub(code.f(0), sine), cosine);
    Num swapped_sine = code.select(odd, cosine, sine);
    Num back = code.negate(code.below(quarter, code.i(2)));
    Num minus_cosine = code.fsub(code.f(0), swapped_cosine);
    Num minus_sine = code.fsub(code.f(0), swapped_sine);
    Num row = code.add(code.mul(token, code.i(op.head_dim)), index);
    code.storeFloat(out, row, code.select(back, minus_cosine, swapped_cosine));
    code.storeFloat(out, code.add(row, code.i(half)), code.select(back, minus_sine, swapped_sine));
  });
}

void Builder::storeRows(int32_t output) {
  const Rows rows = values[output].rows;
  const int64_t stride = roundUp(rows.width, 16);
  Num row = grid.tokens_each ? token : code.i(0);
  code.share(rows.width, [&](Num c) {
    code.storeFloat(binding(output), code.add(code.mul(row, code.i(stride)), c), rows.at(c, token));
  });
}

void Builder::storeQuant(int32_t output) {
  const Quant quant = values[output].quant;
  const int64_t width = spec.values[output].width, groups = width / quant.group;
  Num row = grid.tokens_each ? token : code.i(0);
  auto at = [&](int64_t stride, Num column) {
    return code.add(code.mul(row, code.i(stride)), column);
  };
  const int64_t words = width / (quant.halves ? 2 : 4);
  code.share(words, [&](Num word) {
    code.store(binding(output), at(words, word), quant.codes(word, token));
  });
  code.share(groups, [&](Num g) {
    code.storeFloat(binding(output, 1), at(groups, g), quant.scale(g, token));
    Num sum = quant.sum(g, token);
    code.store(binding(output, 2), at(groups, g), quant.halves ? code.asBits(sum) : sum);
  });
}

llvm::Error Builder::rowsOp(const KernelOp &op) {
  using Kind = KernelOp::Kind;
  auto rows = [&](int32_t operand) -> const Rows & { return values[op.operands[operand]].rows; };
  switch (op.kind) {
  case Kind::embedding:
    embedding(op);
    return llvm::Error::success();
  case Kind::rms_norm:
    rmsNorm(op);
    return llvm::Error::success();
  case Kind::quantize:
    return quantize(op);
  case Kind::rope:
    rope(op);
    return llvm::Error::success();
  case Kind::rope_angles:
    ropeAngles(op);
    return llvm::Error::success();
  case Kind::add:
    values[op.result].rows = {rows(0).width, [this, a = rows(0), b = rows(1)](Num c, Num t) {
                                return code.fadd(a.at(c, t), b.at(c, t));
                              }};
    return llvm::Error::success();
  case Kind::slice:
    values[op.result].rows = {spec.values[op.result].width,
                              [this, x = rows(0), offset = op.offset](Num c, Num t) {
                                return x.at(offset ? code.add(c, code.i(offset)) : c, t);
                              }};
    return llvm::Error::success();
  case Kind::last_token:
    values[op.result].rows = {rows(0).width, [this, x = rows(0)](Num c, Num) {
                                Num count = code.parameter(code.i(INGOT_PARAMETER_TOKENS));
                                return x.at(c, code.sub(count, code.i(1)));
                              }};
    return llvm::Error::success();
  case Kind::silu_mul: {
    // Blocks of 16 gates and as many ups alternate.
    values[op.result].rows = {
        rows(0).width / 2, [this, x = rows(0)](Num c, Num t) {
          Num first = code.add(code.mul(code.sub(c, code.mod(c, 16)), code.i(2)), code.mod(c, 16));
          return code.gated(x.at(first, t), x.at(code.add(first, code.i(16)), t));
        }};
    return llvm::Error::success();
  }
  case Kind::linear:
    return linear(op);
  case Kind::append:
    return append(op);
  case Kind::attention:
    return attention(op);
  }
  return fail("unknown operation");
}

llvm::Expected<DeviceKernel> Builder::build() {
  using Kind = KernelOp::Kind;
  auto has = [&](Kind kind) {
    return llvm::any_of(spec.ops, [&](const KernelOp &op) { return op.kind == kind; });
  };
  const bool one = spec.max_tokens == 1 && !per_sequence;
  grid.tokens_each = one || has(Kind::last_token) ? 0 : 1;
  if (has(Kind::append) && !per_sequence)
    // Neighbouring positions share words of a cache, so a workgroup writes both.
    grid.tokens_each = spec.max_tokens == 1 ? 0 : 2, grid.more_tokens = spec.max_tokens != 1;
  token = grid.tokens_each ? code.groupX() : code.i(0);
  for (int32_t index : spec.inputs)
    declareInput(index);
  for (const KernelOp &op : spec.ops)
    if (llvm::Error error = rowsOp(op))
      return std::move(error);
  if (!has(Kind::linear) && !has(Kind::attention))
    for (int32_t output : spec.outputs) {
      if (values[output].quant.codes)
        storeQuant(output);
      else if (values[output].rows.at)
        storeRows(output);
    }
  DeviceKernel kernel;
  kernel.grid = grid;
  kernel.scratch_bytes = scratch_bytes;
  kernel.shared_bytes = code.sharedBytes();
  auto words = code.finish();
  if (!words)
    return fail(llvm::toString(words.takeError()));
  kernel.words = std::move(*words);
  return kernel;
}

llvm::Expected<DeviceKernel> compileKernel(const KernelSpec &spec, bool per_sequence,
                                           const Features &features) {
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  return Builder(context, spec, per_sequence, features).build();
}

} // namespace ingot::spirv
