#include "targets/hexagon/runtime/tokens.h"

namespace ingot::hexagon {

namespace {

int32_t bits_of(int32_t value) { return 32 - __builtin_clz(static_cast<uint32_t>(value) | 1); }

/// Numbers of 30 bits, 32 in a vector, as factors of what has `bits` bits. Returns the exponent of
/// the products' sum, which stays below 2^31.
int32_t fix(int32_t vectors, const Words *numbers, int32_t bits, Factors *factors) {
  Words total = splat(0), peak = splat(0);
  for (int32_t i = 0; i < vectors; ++i) {
    const Words magnitude = words(Q6_Vw_vabs_Vw(raw(numbers[i])));
    total += magnitude >> 12; // 18 bits: as many as 8192 of them, a unit less and 4 rounded up
    peak = larger(peak, magnitude);
  }
  const int32_t of_sum = bits_of(first_lane(sum_of_lanes(total)) + vectors * 160) + 12 + bits - 31,
                of_peak = bits_of(first_lane(largest_lane(peak))) - 15;
  const int32_t exponent = of_sum > of_peak ? of_sum : of_peak < 0 ? 0 : of_peak;
  for (int32_t i = 0; i < vectors; ++i) {
    const HVX_Vector magnitude = Q6_Vw_vabs_Vw(raw(numbers[i]));
    const HVX_VectorPair apart = Q6_W_vshuff_VVR(magnitude, magnitude, 4);
    const Words most = larger(words(Q6_V_lo_W(apart)), words(Q6_V_hi_W(apart)));
    const Words shift = larger(16 - words(Q6_Vw_vnormamt_Vw(raw(most))), splat(0));
    const HVX_Vector rounded = raw(smaller(
        shifted_right(numbers[i] + (shifted_left(splat(1), shift) >> 1), shift), splat(INT16_MAX)));
    const HVX_VectorPair halves = Q6_W_vshuff_VVR(rounded, rounded, 4);
    const HVX_Vector pairs = Q6_Vh_vshuffe_VhVh(Q6_V_hi_W(halves), Q6_V_lo_W(halves));
    const Words left = smaller(exponent - shift, splat(31));
    store(factors + i * 16, words(Q6_V_lo_W(Q6_W_vshuff_VVR(raw(left), pairs, 4))));
  }
  return exponent;
}

/// What no sum of products of a group of a token's codes exceeds.
int32_t largest_dot(const LinearShape &shape, const int8_t *codes) {
  const bool wide = shape.planes == 2;
  Words most = splat(0);
  for (int32_t i = 0; i < shape.columns; i += 128) {
    const int8_t *from = codes + i * shape.planes;
    const int32_t lanes = (shape.columns - i) * shape.planes / 4;
    HVX_Vector x = raw(load_lanes(from, lanes));
    if (wide) // high bytes alone
      x = Q6_V_lo_W(Q6_W_vdeal_VVR(
          lanes > 32 ? raw(load_lanes(from + 128, lanes - 32)) : Q6_V_vzero(), x, -shape.group));
    const HVX_Vector ones = Q6_Vb_vsplat_R(1);
    Words sum = words(Q6_Vw_vrmpy_VbVb(x, ones)),
          magnitudes = words(Q6_Vw_vrmpy_VubVb(Q6_Vb_vabs_Vb(x), ones));
    const auto fold = [](Words a, int32_t bytes) {
      const HVX_VectorPair both = Q6_W_vshuff_VVR(raw(a), raw(a), bytes);
      return words(Q6_V_lo_W(both)) + words(Q6_V_hi_W(both));
    };
    for (int32_t bytes = shape.group / 2; bytes >= 4; bytes /= 2) {
      sum = fold(sum, bytes);
      magnitudes = fold(magnitudes, bytes);
    }
    // Codes of weights that are not negative do their most for activations of one sign.
    const Words one_sign = (magnitudes + words(Q6_Vw_vabs_Vw(raw(sum)))) >> 1;
    most = larger(most, shape.min_code ? magnitudes : one_sign);
  }
  const int32_t codes_most = first_lane(largest_lane(most));
  return (wide ? 256 * codes_most + 255 * shape.group : codes_most) * shape.most;
}

} // namespace

void make_tokens(const LinearShape &shape, const LinearBuffers &buffers, int32_t count,
                 const TokenMemory &memory) {
  const int32_t groups = shape.groups, pairs = (groups + 1) / 2, vectors = (groups + 31) / 32;
  Words *fixed = memory.vectors;
  for (int32_t t = 0; t < count; ++t) {
    const float *scales = buffers.x_scales + t * groups;
    const int32_t *sums = buffers.x_sums + t * groups;
    int32_t *own = memory.starts + t * groups;
    Factors *own_factors = memory.factors + t * 2 * pairs;
    Words most = splat(0);
    for (int32_t i = 0; i < vectors; ++i)
      most = larger(most, load_lanes(scales + i * 32, groups - i * 32));
    const int32_t top = first_lane(largest_lane(most)) >> 23; // scales are not negative
    for (int32_t i = 0; i < vectors; ++i) {
      const Words bits = load_lanes(scales + i * 32, groups - i * 32);
      fixed[i] = shifted_right(
          where_greater(bits, splat(0x7fffff), ((bits & 0x7fffff) | 0x800000) << 6, splat(0)),
          smaller(top - (bits >> 23), splat(31)));
    }
    const int32_t exponent = top - (127 + 23 + 6);
    Token &token = memory.tokens[t];
    token = {buffers.x + t * shape.columns * shape.planes,
             own,
             own_factors,
             own_factors + pairs,
             0,
             0,
             0,
             0};
    const int32_t most_dot = largest_dot(shape, token.codes), dot_bits = bits_of(most_dot);
    int32_t unit = dot_bits > 15 ? dot_bits - 15 : 0; // of what is multiplied, in bits
    if (shape.planes == 1) {
      token.shift = unit;
    } else if (shape.code_bits <= 4 && !shape.has_table) {
      // The upper part alone is larger where the lower one takes from it.
      const int32_t high_bits = bits_of((most_dot >> 8) + (1 << (low_bits - 8)));
      token.shift = high_bits > 15 ? high_bits - 15 : 0;
      unit = 8 + token.shift;
      token.low_shift = unit - (low_bits - 15);
    } else {
      token.shift = token.low_shift = unit;
    }
    token.exponent =
        exponent + unit + fix(vectors, fixed, dot_bits > unit ? dot_bits - unit : 0, own_factors);
    if (shape.min_code)
      for (int32_t i = 0; i < vectors; ++i)
        store(own + i * 32, load_lanes(sums + i * 32, groups - i * 32) * shape.min_code);
    if (!shape.has_mins)
      continue;
    // Sums of 12 or, of wide codes, 20 bits and a sign, times scales; minima have 15 bits.
    const int32_t left = shape.planes == 2 ? 10 : 18;
    for (int32_t i = 0; i < vectors; ++i)
      fixed[i] = product(fixed[i], load_lanes(sums + i * 32, groups - i * 32) << left);
    token.sums_exponent = exponent + 31 - left - 15 + fix(vectors, fixed, 15, own_factors + pairs);
  }
}

} // namespace ingot::hexagon
