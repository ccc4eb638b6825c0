// The kernels as plain loops: the same operations on floats in the same order, so that results are
// compared bit for bit. Running sums of products are fused (one rounding a step), nothing else is:
// compiled without contraction.
#pragma once

#include "test/codegen/halide/Harness.h"

#include <cfloat>
#include <cmath>
#include <random>

namespace ingot::test {

/// Fixed tree over 16 values: l and l + 8, then l + 4, l + 2, l + 1.
template <typename Combine> inline float tree16(const float *lanes, Combine combine) {
  float v[16];
  std::memcpy(v, lanes, sizeof(v));
  for (int width = 8; width; width /= 2)
    for (int i = 0; i < width; ++i)
      v[i] = combine(v[i], v[i + width]);
  return v[0];
}
inline float sum16(const float *lanes) {
  return tree16(lanes, [](float a, float b) { return a + b; });
}

inline float twinExp(float x) {
  x = std::fmin(std::fmax(x, -87.0f), 88.0f);
  const float n = std::nearbyint(x * 1.44269504088896341f);
  float r = x - n * 0.693359375f;
  r = r - n * -2.12194440e-4f;
  const float coefficients[] = {1.0f / 5040, 1.0f / 720, 1.0f / 120, 1.0f / 24,
                                1.0f / 6,    0.5f,       1,          1};
  float p = coefficients[0];
  for (int i = 1; i < 8; ++i)
    p = p * r + coefficients[i];
  return p * std::ldexp(1.0f, int(n));
}

inline float twinPowerOfTwo(float x) {
  x = std::fmax(x, -125.0f);
  const float n = std::nearbyint(x), r = x - n;
  float p = 0.009582852944731712f;
  for (float c : {0.055906426161527634f, 0.24024099111557007f, 0.6931241750717163f, 1.0f})
    p = p * r + c;
  return std::ldexp(p, int(n));
}

/// x, y: [width]
inline void twinNorm(const float *x, const float *gain, float eps, int64_t width, float *y) {
  float lanes[16] = {};
  for (int64_t c = 0; c < width; ++c)
    lanes[c % 16] = std::fma(x[c], x[c], lanes[c % 16]);
  const float inverse = 1.0f / std::sqrt(sum16(lanes) * float(1.0 / double(width)) + eps);
  for (int64_t c = 0; c < width; ++c)
    y[c] = x[c] * inverse * gain[c];
}

/// x: [width]; codes: [width]; scales, sums: [width / group]
template <typename Code>
void twinQuantize(const float *x, int64_t width, int32_t group, Code *codes, float *scales,
                  int32_t *sums) {
  const auto limit = float(activationCodeLimit(8 * sizeof(Code)));
  for (int64_t g = 0; g < width / group; ++g) {
    float largest = 0;
    for (int32_t k = 0; k < group; ++k)
      largest = std::fmax(largest, std::fabs(x[g * group + k]));
    const float scale = largest * float(1.0 / limit);
    scales[g] = scale > 1e-30f ? scale : 0;
    const float inverse = scales[g] > 0 ? 1.0f / scales[g] : 0;
    sums[g] = 0;
    for (int32_t k = 0; k < group; ++k) {
      const float code = std::nearbyint(x[g * group + k] * inverse);
      codes[g * group + k] = Code(std::fmin(std::fmax(code, -limit), limit));
      sums[g] += codes[g * group + k];
    }
  }
}

/// The same of halves: scales are powers of two, sums multiples of 2^-24.
inline void twinQuantize(const float *x, int64_t width, int32_t group, _Float16 *codes,
                         float *scales, int32_t *sums) {
  for (int64_t g = 0; g < width / group; ++g) {
    float largest = 0;
    for (int32_t k = 0; k < group; ++k)
      largest = std::fmax(largest, std::fabs(x[g * group + k]));
    const float scale = largest > 0 ? std::ldexp(1.0f, std::ilogb(largest)) : 0;
    scales[g] = scale > 1e-30f ? scale : 0;
    sums[g] = 0;
    for (int32_t k = 0; k < group; ++k) {
      const float code = scales[g] > 0 ? x[g * group + k] / scales[g] : 0;
      codes[g * group + k] = _Float16(code);
      sums[g] += int32_t(std::ldexp(double(codes[g * group + k]), 24));
    }
  }
}

/// One output of a linear over halves of activations of one token.
inline float twinLinear(const TestMatrix &m, int64_t row, const _Float16 *codes,
                        const float *scales, const int32_t *sums, int32_t group) {
  const bool floats = m.encoding.isFloat();
  float y = 0;
  for (int64_t g = 0; g < m.columns / group; ++g) {
    float dot = 0;
    for (int32_t k = 0; k < group; ++k) {
      const int64_t at = row * m.columns + g * group + k;
      dot = std::fma(floats ? m.floats[at] : float(m.codes[at]), float(codes[g * group + k]), dot);
    }
    if (floats) {
      y = std::fma(dot, scales[g], y);
      continue;
    }
    const int64_t at = row * m.groups + g * group / m.encoding.groupElements(m.columns);
    y = std::fma(dot, m.scales[at] * scales[g], y);
    if (!m.encoding.symmetric())
      y = std::fma(m.mins[at], scales[g] * std::ldexp(float(sums[g]), -24), y);
  }
  return y;
}

/// One output of a linear over quantized activations of one token.
template <typename Code>
float twinLinear(const TestMatrix &m, int64_t row, const Code *codes, const float *scales,
                 const int32_t *sums, int32_t group) {
  const int64_t weight_group = m.encoding.groupElements(m.columns);
  float y = 0;
  for (int64_t g = 0; g < m.columns / group; ++g) {
    int32_t acc = 0; // sum of code * activation; the kernel sums stored codes and corrects
    for (int32_t k = 0; k < group; ++k)
      acc += int32_t(m.codes[row * m.columns + g * group + k]) * codes[g * group + k];
    const int64_t at = row * m.groups + g * group / weight_group;
    y = std::fma(float(acc), m.scales[at] * scales[g], y);
    if (!m.encoding.symmetric())
      y = std::fma(m.mins[at], scales[g] * float(sums[g]), y);
  }
  return y;
}

/// One output of a linear over float activations of one token.
inline float twinLinear(const TestMatrix &m, int64_t row, const float *x) {
  float y = 0;
  for (int64_t k = 0; k < m.columns; ++k)
    y = std::fma(m.at(row, k), x[k], y);
  return y;
}

inline float twinSilu(float v) { return v / (1.0f + twinExp(-v)); }

/// The codes of one head: x, codes: [head_dim]. Returns the scale.
inline float twinHeadCodes(const float *x, int32_t head_dim, int32_t limit, int16_t *codes) {
  float peak = 0;
  for (int32_t d = 0; d < head_dim; ++d)
    peak = std::fmax(peak, std::fabs(x[d]));
  float scale = peak * float(1.0 / limit);
  scale = scale > 1e-30f ? scale : 0;
  const float inverse = scale > 0 ? 1.0f / scale : 0;
  for (int32_t d = 0; d < head_dim; ++d)
    codes[d] = int16_t(std::fmax(std::fmin(std::nearbyint(x[d] * inverse), float(limit)), -limit));
  return scale;
}

/// A cache in a kernel's memory, whatever its elements are.
class TestCache {
public:
  TestCache(Memory &memory, int32_t value, CodeKind kv, int32_t head_dim, int32_t context)
      : memory(memory), value(value), kv(kv), head_dim(head_dim),
        positions(int32_t(cachePositions(context))) {}

  int16_t code(bool values, int32_t h, int32_t p, int32_t d) const {
    return memory.get<int16_t>(value, values)[at(values, h, p, d)];
  }
  float scale(bool values, int32_t h, int32_t p) const {
    return memory.get<float>(value, 2 + values)[h * positions + p];
  }
  /// An element as a number.
  float read(bool values, int32_t h, int32_t p, int32_t d) const {
    if (kv == CodeKind::i)
      return float(code(values, h, p, d)) * scale(values, h, p);
    const int64_t i = at(values, h, p, d);
    return kv == CodeKind::f16 ? float(memory.get<_Float16>(value, values)[i])
                               : memory.get<float>(value, values)[i];
  }
  /// Stores a head of a position: x[head_dim].
  void write(bool values, int32_t h, int32_t p, const float *x) {
    std::vector<int16_t> codes(head_dim);
    if (kv == CodeKind::i)
      memory.get<float>(value, 2 + values)[h * positions + p] = twinHeadCodes(
          x, head_dim, values ? kValueCodeLimit : keyCodeLimit(head_dim), codes.data());
    for (int32_t d = 0; d < head_dim; ++d) {
      const int64_t i = at(values, h, p, d);
      if (kv == CodeKind::i)
        memory.get<int16_t>(value, values)[i] = codes[d];
      else if (kv == CodeKind::f16)
        memory.get<_Float16>(value, values)[i] = _Float16(x[d]);
      else
        memory.get<float>(value, values)[i] = x[d];
    }
  }

  /// Random heads of positions below `count`.
  void randomize(int32_t kv_heads, int32_t count) {
    std::mt19937 random(21);
    std::normal_distribution<float> normal;
    std::vector<float> x(head_dim);
    for (int32_t h = 0; h < kv_heads; ++h)
      for (int32_t p = 0; p < count; ++p)
        for (bool values : {false, true}) {
          for (float &v : x)
            v = normal(random) * (values ? 1 : 2);
          write(values, h, p, x.data());
        }
  }
  /// softmax(scale * query . keys) values over `keys` positions of head h, in doubles.
  std::vector<double> attention(const float *query, double scale, int32_t h, int32_t keys) const {
    std::vector<double> weights(keys), result(head_dim);
    double largest = -DBL_MAX, total = 0;
    for (int32_t p = 0; p < keys; ++p) {
      for (int32_t d = 0; d < head_dim; ++d)
        weights[p] += double(read(false, h, p, d)) * query[d] * scale;
      largest = std::fmax(largest, weights[p]);
    }
    for (double &weight : weights)
      total += weight = std::exp(weight - largest);
    for (int32_t p = 0; p < keys; ++p)
      for (int32_t d = 0; d < head_dim; ++d)
        result[d] += weights[p] / total * read(true, h, p, d);
    return result;
  }

private:
  /// keys [p % 16][d][p / 16][h], values [d][p][h]; codes come in pairs (KernelValue).
  int64_t at(bool values, int64_t h, int64_t p, int64_t d) const {
    if (kv == CodeKind::i)
      return values
                 ? ((h * (positions / 2) + p / 2) * head_dim + d) * 2 + p % 2
                 : (((h * (positions / 16) + p / 16) * (head_dim / 2) + d / 2) * 16 + p % 16) * 2 +
                       d % 2;
    return values ? (h * positions + p) * head_dim + d
                  : ((h * (positions / 16) + p / 16) * head_dim + d) * 16 + p % 16;
  }

  Memory &memory;
  int32_t value;
  CodeKind kv;
  int32_t head_dim, positions;
};

/// Of matrices that linear layers are tested with.
inline const Encoding encodings[] = {
    integers(CodeKind::u, 4, 32, CodeKind::f16, true),  // Q4_1
    integers(CodeKind::i, 4, 32, CodeKind::f16, false), // Q4_0
    integers(CodeKind::i, 8, 32, CodeKind::f16, false), // Q8_0
    integers(CodeKind::u, 5, 32, CodeKind::f16, true),  // Q5_1
    integers(CodeKind::u, 4, 32, CodeKind::f32, true),  // Q4_K, Q2_K widened
    integers(CodeKind::i, 6, 16, CodeKind::f32, false), // Q6_K widened
    integers(CodeKind::u, 2, 16, CodeKind::f32, true),
    integers(CodeKind::i, 3, 16, CodeKind::f32, false),
    integers(CodeKind::i, 8, 0, CodeKind::f32, false), // a scale a row
    integers(CodeKind::i, 4, 0, CodeKind::f16, false),
    *Encoding::parse("iq4_nl, g32, f16"),
    *Encoding::parse("e2m1, g32, e8m0"), // MXFP4
};

/// norm (or nothing), last token (or all), quantize: a kernel, and how it is run.
struct QuantizeKernel {
  KernelSpec spec;
  int32_t x = -1, gain = -1, q = -1;
  bool last = false;

  QuantizeKernel(const Target &target, int64_t width, int32_t group, int32_t bits,
                 int32_t max_tokens, bool norm, bool last, CodeKind code = CodeKind::i)
      : last(last) {
    SpecMaker make(max_tokens);
    x = make.rows(width);
    gain = norm ? make.input(KernelValue::Kind::vector, width) : -1;
    int32_t rows = x;
    if (last)
      rows = make.rowsOp(KernelOp::Kind::last_token, {rows}, width);
    if (norm) {
      rows = make.rowsOp(KernelOp::Kind::rms_norm, {rows, gain}, width);
      make.spec.ops.back().eps = 1e-6;
    }
    q = make.quantize(rows, group, bits, code);
    spec = make.finish(target, {q});
  }
  /// Random numbers, and a group of zeros.
  void fill(Memory &memory, int32_t group) const {
    memory.randomRows(x, 9);
    for (int32_t k = 0; k < group; ++k)
      memory.get<float>(x)[k] = 0;
    if (gain >= 0)
      memory.randomRows(gain, 10);
  }
  /// Slice by slice.
  void run(LoadedKernel &kernel, Memory &memory, int32_t tokens) const {
    if (last)
      kernel.run(memory, 0, 1, tokens);
    else
      for (int32_t begin = 0; begin < tokens; begin += 2)
        kernel.run(memory, begin, std::min(2, tokens - begin), tokens);
  }
};

} // namespace ingot::test
