// Heads in HVX. Angles are parts of a turn in 32 bits: a position times a frequency needs no more
// than the lower bits of a product.
#include "targets/hexagon/runtime/heads.h"

#include "targets/hexagon/runtime/vectors.h"

namespace ingot::hexagon {

namespace {

constexpr int32_t lanes = 32;

/// Lanes `at` to `at` + 31 of `count`.
Words bits_at(const float *from, int32_t at, int32_t count) {
  return at < count ? load_lanes(from + at, count - at) : splat(0);
}

/// a * c - b * s and a * s + b * c of fixed numbers: half of that.
void rotate(Words &a, Words &b, Words c, Words s) {
  const Words first = product(a, c) - product(b, s);
  b = product(a, s) + product(b, c);
  a = first;
}

/// A head's columns in order, in 31 bits of what has the biased exponent that is returned; what
/// lies behind them is anything. Whole vectors are stored.
int32_t read_head(const HeadShape &shape, const float *from, const float *angles, int32_t *out) {
  const int32_t head_dim = shape.head_dim, half = head_dim / 2;
  Words most = splat(0);
  for (int32_t i = 0; i < head_dim; i += lanes)
    most = larger(most, bits_at(from, i, head_dim) & INT32_MAX);
  const int32_t exponent = first_lane(largest_lane(most)) >> 23;
  const Words top = splat(exponent), one = splat(127);
  if (!shape.rotates) {
    for (int32_t i = 0; i < head_dim; i += lanes)
      store(out + i, fixed(bits_at(from, i, head_dim), top));
    return exponent;
  }
  int32_t second[most_head_dim / 2 + lanes];
  for (int32_t i = 0; i < half; i += lanes) {
    const Words c = fixed(bits_at(angles, i, half), one),
                s = fixed(bits_at(angles + half, i, half), one);
    if (shape.interleaved) {
      const HVX_VectorPair x =
          Q6_W_vdeal_VVR(raw(fixed(bits_at(from, 2 * i + lanes, head_dim), top)),
                         raw(fixed(bits_at(from, 2 * i, head_dim), top)), -4);
      Words a = words(Q6_V_lo_W(x)), b = words(Q6_V_hi_W(x));
      rotate(a, b, c, s);
      const HVX_VectorPair y = Q6_W_vshuff_VVR(raw(b), raw(a), -4);
      store(out + 2 * i, words(Q6_V_lo_W(y)));
      if (2 * i + lanes < head_dim)
        store(out + 2 * i + lanes, words(Q6_V_hi_W(y)));
    } else {
      Words a = fixed(bits_at(from, i, half), top), b = fixed(bits_at(from + half, i, half), top);
      rotate(a, b, c, s);
      store(out + i, a);
      store(second + i, b);
    }
  }
  for (int32_t i = 0; i < half && !shape.interleaved; i += lanes)
    store(out + half + i, load(second + i));
  return exponent + 1;
}

} // namespace

/// code = x * limit / max|x| rounded to nearest; scale = max|x| / limit, or 0 for less than 1e-30.
int32_t head_codes(const HeadShape &shape, const float *row, const float *angles, int32_t head,
                   int16_t *codes) {
  int32_t columns[most_head_dim + lanes] __attribute__((aligned(128)));
  const int32_t head_dim = shape.head_dim;
  const int32_t exponent =
      read_head(shape, row + shape.offset + head * head_dim, angles, columns) - (127 + 30);
  Words peak = splat(0);
  for (int32_t i = 0; i < head_dim; i += lanes)
    peak = larger(peak, first_lanes(words(Q6_Vw_vabs_Vw(raw(load(columns + i)))), head_dim - i));
  peak = largest_lane(peak);
  const Words by = words(Q6_Vw_vnormamt_Vw(raw(peak)));
  const Words normal = shifted_left(peak, by) >> 2;
  const Numbers scale{normal, exponent - by + 2};
  // Times 1 / limit, of which 30 bits are known.
  const float inverse_limit = 1.0f / static_cast<float>(shape.limit);
  const Words bits = to_floats(
      product(normalized(scale), from_floats(splat(__builtin_bit_cast(int32_t, inverse_limit)))));
  constexpr int32_t least = 0x0da24260; // 1e-30
  const Words inverse = where_greater(bits, splat(least), reciprocal(normal), splat(0));
  const Words limit = splat(shape.limit << 10);
  for (int32_t i = 0; i < head_dim; i += 2 * lanes) {
    auto code = [&](int32_t at) {
      const Words ratio = product(shifted_left(load(columns + at), by), inverse); // 29 bits
      return raw((product(ratio, limit) + (1 << 7)) >> 8);
    };
    const HVX_Vector low = code(i), high = i + lanes < head_dim ? code(i + lanes) : Q6_V_vzero();
    store(codes + i, words(Q6_Vh_vpacke_VwVw(high, low))); // room for whole vectors
  }
  const int32_t result = first_lane(bits);
  return result > least ? result : 0;
}

void ingot_hexagon_angles(const uint64_t *turns, int32_t pairs, float *out, int32_t position,
                          int32_t count) {
  for (int32_t t = 0; t < count; ++t, out += 2 * pairs)
    for (int32_t i = 0; i < pairs; i += lanes) {
      const int32_t some = pairs - i < lanes ? pairs - i : lanes;
      int32_t parts[lanes] __attribute__((aligned(128))) = {};
      for (int32_t k = 0; k < some; ++k)
        parts[k] = static_cast<int32_t>(turns[i + k] * static_cast<uint32_t>(position + t) >> 32);
      // Of a turn, 32 bits; the nearest quarter, and twice the rest: w = rest * 4, 31 bits.
      const Words turn = load(parts), quarter = (turn + (1 << 29)) >> 30;
      const Words w = (turn - (quarter << 30)) << 1, square = product(w, w);
      // sin(w pi / 2) / w and cos(w pi / 2) in w^2 <= 1/4, within 1e-10: coefficients * 2^30
      auto polynomial = [&](int32_t c0, int32_t c1, int32_t c2, int32_t c3, int32_t c4) {
        Words p = product(splat(c4), square) + c3;
        p = product(p, square) + c2;
        p = product(p, square) + c1;
        return product(p, square) + c0;
      };
      const Words s = product(polynomial(1686629713, -693598667, 85569264, -5026484, 169873), w),
                  c = polynomial(1073741824, -1324675872, 272375267, -22398420, 970267);
      const Words odd = quarter & 1, none = splat(0);
      const Words cosine = where_greater(odd, none, s, c), sine = where_greater(odd, none, c, s);
      // Signs by quarters: cos + - - +, sin + + - -.
      const Words sine_negative = (quarter & 2), cosine_negative = ((quarter + 1) & 2);
      auto keep = [&](float *to, Words value, Words negative) {
        const Words bits = to_floats({where_greater(negative, none, -value, value), splat(-30)});
        store_lanes(to, bits, some);
      };
      keep(out + i, cosine, cosine_negative);
      keep(out + pairs + i, sine, sine_negative);
    }
}

void ingot_hexagon_append(const AppendShape *shape, const float *keys, const float *values,
                          const float *angles, const CacheBuffers *cache, int32_t position,
                          int32_t first, int32_t count) {
  const int32_t head_dim = shape->keys.head_dim, positions = shape->positions;
  int16_t codes[most_head_dim + 2 * lanes] __attribute__((aligned(128)));
  for (int32_t t = first; t < first + count; ++t) {
    const int32_t at = position + t;
    const float *own_angles = angles + t * head_dim;
    for (int32_t h = 0; h < shape->kv_heads; ++h) {
      int32_t bits = head_codes(shape->keys, keys + t * shape->keys.stride, own_angles, h, codes);
      __builtin_memcpy(cache->key_scales + h * positions + at, &bits, 4);
      // [d % 2][position % 16][d / 2][position / 16][head]
      auto *pairs = reinterpret_cast<int32_t *>(cache->keys) +
                    (h * (positions / 16) + at / 16) * (head_dim / 2) * 16 + at % 16;
      for (int32_t i = 0; i < head_dim / 2; ++i)
        pairs[i * 16] = reinterpret_cast<const int32_t *>(codes)[i];
      bits = head_codes(shape->values, values + t * shape->values.stride, own_angles, h, codes);
      __builtin_memcpy(cache->value_scales + h * positions + at, &bits, 4);
      // [position % 2][d][position / 2][head]
      int16_t *to = cache->values + (h * (positions / 2) + at / 2) * head_dim * 2 + at % 2;
      for (int32_t i = 0; i < head_dim; ++i)
        to[i * 2] = codes[i];
    }
  }
}

} // namespace ingot::hexagon
