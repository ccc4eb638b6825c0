#include "dialects/lm/interpreter/Ops.h"

#include "llvm/Support/Parallel.h"

#include <algorithm>
#include <cmath>

namespace ingot::lm::reference {

// Eight partial sums, so that the compiler may keep them in one vector register.
static double dot(const float *a, const float *b, int64_t n) {
  double partial[8] = {};
  int64_t i = 0;
  for (; i + 8 <= n; i += 8)
    for (int j = 0; j < 8; ++j)
      partial[j] += double(a[i + j]) * double(b[i + j]);
  for (; i < n; ++i)
    partial[0] += double(a[i]) * double(b[i]);
  double sum = 0;
  for (double p : partial)
    sum += p;
  return sum;
}

Rows embedding(const std::vector<int32_t> &tokens, const WeightReader &table) {
  Rows result(tokens.size(), table.columns());
  for (size_t t = 0; t < tokens.size(); ++t)
    table.decodeRow(tokens[t], result.row(t));
  return result;
}

Rows rmsNorm(const Rows &x, const std::vector<float> &gain, double eps) {
  Rows result(x.tokens, x.columns);
  for (int64_t t = 0; t < x.tokens; ++t) {
    const double mean = dot(x.row(t), x.row(t), x.columns) / double(x.columns);
    const double factor = 1.0 / std::sqrt(mean + eps);
    for (int64_t i = 0; i < x.columns; ++i)
      result.row(t)[i] = float(x.row(t)[i] * factor * gain[i]);
  }
  return result;
}

/// `round(in, out, peak)` for each group, whose largest magnitude is `peak`.
template <typename Round> static Rows roundGroups(const Rows &x, int64_t group_size, Round round) {
  Rows result(x.tokens, x.columns);
  for (int64_t t = 0; t < x.tokens; ++t)
    for (int64_t g = 0; g < x.columns; g += group_size) {
      const float *in = x.row(t) + g;
      float peak = 0;
      for (int64_t i = 0; i < group_size; ++i)
        peak = std::max(peak, std::fabs(in[i]));
      round(in, result.row(t) + g, peak);
    }
  return result;
}

Rows quantize(const Rows &x, int64_t group_size, int32_t bits) {
  const float limit = float(activationCodeLimit(bits));
  return roundGroups(x, group_size, [&](const float *in, float *out, float peak) {
    const float scale = peak / limit, inverse = peak > 0 ? limit / peak : 0.0f;
    for (int64_t i = 0; i < group_size; ++i)
      out[i] = std::nearbyint(in[i] * inverse) * scale;
  });
}

Rows roundToHalves(const Rows &x, int64_t group_size) {
  return roundGroups(x, group_size, [&](const float *in, float *out, float peak) {
    const float scale = peak > 0 ? std::ldexp(1.0f, std::ilogb(peak)) : 0.0f;
    for (int64_t i = 0; i < group_size; ++i)
      out[i] = scale > 0 ? halfToFloat(floatToHalf(in[i] / scale)) * scale : 0.0f;
  });
}

Rows linear(const Rows &x, const WeightReader &weight) {
  Rows result(x.tokens, weight.rows());
  constexpr int64_t block = 16; // rows a task decodes into its own buffer
  llvm::parallelFor(0, (weight.rows() + block - 1) / block, [&](size_t task) {
    std::vector<float> row(weight.columns());
    const int64_t first = int64_t(task) * block;
    for (int64_t n = first; n < std::min(first + block, weight.rows()); ++n) {
      weight.decodeRow(n, row.data());
      for (int64_t t = 0; t < x.tokens; ++t)
        result.row(t)[n] = float(dot(row.data(), x.row(t), x.columns));
    }
  });
  return result;
}

Rows ropeAngles(int64_t tokens, int64_t position, int64_t head_dim, double theta) {
  Rows result(tokens, head_dim);
  for (int64_t t = 0; t < tokens; ++t)
    for (int64_t i = 0; i < head_dim / 2; ++i) {
      const double angle =
          double(position + t) * std::pow(theta, -2.0 * double(i) / double(head_dim));
      result.row(t)[i] = float(std::cos(angle));
      result.row(t)[head_dim / 2 + i] = float(std::sin(angle));
    }
  return result;
}

Rows rope(const Rows &x, const Rows &angles, bool interleaved) {
  Rows result(x.tokens, x.columns);
  const int64_t head_dim = angles.columns, half = head_dim / 2;
  for (int64_t t = 0; t < x.tokens; ++t)
    for (int64_t head = 0; head < x.columns; head += head_dim)
      for (int64_t i = 0; i < half; ++i) {
        const int64_t a = head + (interleaved ? 2 * i : i), b = interleaved ? a + 1 : a + half;
        const double cosine = angles.row(t)[i], sine = angles.row(t)[half + i];
        result.row(t)[a] = float(x.row(t)[a] * cosine - x.row(t)[b] * sine);
        result.row(t)[b] = float(x.row(t)[a] * sine + x.row(t)[b] * cosine);
      }
  return result;
}

/// One head of one position as the cache keeps it.
static void store(const float *in, int64_t head_dim, CodeKind element, int32_t limit, float *out) {
  if (element == CodeKind::i) {
    float peak = 0;
    for (int64_t d = 0; d < head_dim; ++d)
      peak = std::max(peak, std::fabs(in[d]));
    const float scale = peak / float(limit), inverse = peak > 0 ? float(limit) / peak : 0.0f;
    for (int64_t d = 0; d < head_dim; ++d)
      out[d] = std::nearbyint(in[d] * inverse) * scale;
    return;
  }
  for (int64_t d = 0; d < head_dim; ++d)
    out[d] = element == CodeKind::f16 ? halfToFloat(floatToHalf(in[d])) : in[d];
}

void append(const Rows &keys, const Rows &values, Cache &cache, int64_t position) {
  const int64_t d = cache.head_dim;
  for (int64_t t = 0; t < keys.tokens; ++t)
    for (int64_t i = 0; i < keys.columns; i += d) {
      const int64_t to = (position + t) * keys.columns + i;
      store(keys.row(t) + i, d, cache.element, keyCodeLimit(d), &cache.keys[to]);
      store(values.row(t) + i, d, cache.element, kValueCodeLimit, &cache.values[to]);
    }
}

Rows attention(const Rows &q, const Cache &cache, int64_t position, double scale) {
  Rows result(q.tokens, q.columns);
  const int64_t d = cache.head_dim, heads = q.columns / d, stride = cache.kv_heads * d;
  llvm::parallelFor(0, q.tokens * heads, [&](size_t task) {
    const int64_t t = int64_t(task) / heads, h = int64_t(task) % heads;
    const int64_t kv = h / (heads / cache.kv_heads) * d, length = position + t + 1;
    std::vector<double> weight(length); // [keys]
    double peak = -HUGE_VAL, sum = 0;
    for (int64_t s = 0; s < length; ++s) {
      weight[s] = scale * dot(q.row(t) + h * d, &cache.keys[s * stride + kv], d);
      peak = std::max(peak, weight[s]);
    }
    for (double &w : weight)
      sum += w = std::exp(w - peak);
    std::vector<double> out(d);
    for (int64_t s = 0; s < length; ++s)
      for (int64_t i = 0; i < d; ++i)
        out[i] += weight[s] * cache.values[s * stride + kv + i];
    for (int64_t i = 0; i < d; ++i)
      result.row(t)[h * d + i] = float(out[i] / sum);
  });
  return result;
}

Rows siluMul(const Rows &gate, const Rows &up) {
  Rows result(gate.tokens, gate.columns);
  for (size_t i = 0; i < gate.data.size(); ++i) {
    const double g = gate.data[i];
    result.data[i] = float(g / (1.0 + std::exp(-g)) * up.data[i]);
  }
  return result;
}

Rows add(const Rows &x, const Rows &y) {
  Rows result(x.tokens, x.columns);
  for (size_t i = 0; i < x.data.size(); ++i)
    result.data[i] = x.data[i] + y.data[i];
  return result;
}

Rows slice(const Rows &x, int64_t offset, int64_t columns) {
  Rows result(x.tokens, columns);
  for (int64_t t = 0; t < x.tokens; ++t)
    std::copy_n(x.row(t) + offset, columns, result.row(t));
  return result;
}

std::pair<Rows, Rows> split(const Rows &x, int64_t blocks) {
  Rows first(x.tokens, x.columns / 2), second(x.tokens, x.columns / 2);
  for (int64_t t = 0; t < x.tokens; ++t)
    for (int64_t i = 0; i < x.columns; ++i) {
      const int64_t block = i / blocks, to = block / 2 * blocks + i % blocks;
      (block % 2 ? second : first).row(t)[to] = x.row(t)[i];
    }
  return {std::move(first), std::move(second)};
}

Rows lastToken(const Rows &x) {
  Rows result(1, x.columns);
  std::copy_n(x.row(x.tokens - 1), x.columns, result.row(0));
  return result;
}

} // namespace ingot::lm::reference
