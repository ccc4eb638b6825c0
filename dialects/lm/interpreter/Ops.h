// What the operations of the lm dialect mean: one free function an op, plain loops, fp32 values and
// fp64 sums. Every pass, kernel and target is tested against these; nothing here is clever.
// T: tokens of the step; position: tokens in the cache before it.
#pragma once

#include "dialects/lm/Weights.h"

#include <functional>
#include <vector>

namespace ingot::lm::reference {

/// A row per token. Quantized activations are kept as the values they stand for.
struct Rows {
  int64_t tokens = 0, columns = 0;
  std::vector<float> data; // [tokens][columns]

  Rows() = default;
  Rows(int64_t tokens, int64_t columns)
      : tokens(tokens), columns(columns), data(tokens * columns) {}
  float *row(int64_t t) { return data.data() + t * columns; }
  const float *row(int64_t t) const { return data.data() + t * columns; }
};

/// The keys and values of one layer, rounded to the cache's element type as they are stored.
struct Cache {
  int64_t context = 0, kv_heads = 0, head_dim = 0;
  CodeKind element = CodeKind::f32; ///< i (16 bits), f16 or f32
  std::vector<float> keys, values;  // [positions until now][kv_heads * head_dim]
};

Rows embedding(const std::vector<int32_t> &tokens, const WeightReader &table);
Rows rmsNorm(const Rows &x, const std::vector<float> &gain, double eps);
/// Rounded to symmetric codes of `bits` bits, with a scale for each group.
Rows quantize(const Rows &x, int64_t group_size, int32_t bits);
/// Rounded to halves beside a power of two for each group.
Rows roundToHalves(const Rows &x, int64_t group_size);
Rows linear(const Rows &x, const WeightReader &weight);
Rows ropeAngles(int64_t tokens, int64_t position, int64_t head_dim, double theta);
Rows rope(const Rows &x, const Rows &angles, bool interleaved);
void append(const Rows &keys, const Rows &values, Cache &cache, int64_t position);
Rows attention(const Rows &q, const Cache &cache, int64_t position, double scale);
Rows siluMul(const Rows &gate, const Rows &up);
Rows add(const Rows &x, const Rows &y);
Rows slice(const Rows &x, int64_t offset, int64_t columns);
std::pair<Rows, Rows> split(const Rows &x, int64_t blocks);
Rows lastToken(const Rows &x);

} // namespace ingot::lm::reference
