// Heads in HVX. Angles are parts of a turn in 32 bits: a position times a frequency needs no more
// than the lower bits of a product.
#include "targets/hexagon/runtime/heads.h"

#include "targets/hexagon/runtime/vectors.h"

namespace ingot::hexagon {

namespace {

constexpr int32_t lanes = 32;

/// Lanes `at` to `at` + 31 of `count`.
template <bool whole> Words bits_at(const float *from, int32_t at, int32_t count) {
  return whole ? load(from + at) : at < count ? load_lanes(from + at, count - at) : splat(0);
}

/// a * c - b * s and a * s + b * c of fixed numbers: half of that.
void rotate(Words &a, Words &b, Words c, Words s) {
  const Words first = product(a, c) - product(b, s);
  b = product(a, s) + product(b, c);
  a = first;
}

/// cos and sin of a token as fixed numbers, a vector of each in turn.
template <bool whole> void read_angles(const float *angles, int32_t half, Words *out) {
  const Words one = splat(127);
  for (int32_t i = 0; i < half; i += lanes) {
    *out++ = fixed(bits_at<whole>(angles, i, half), one);
    *out++ = fixed(bits_at<whole>(angles + half, i, half), one);
  }
}

/// A head's columns in order, in 31 bits of what has the biased exponent `top` (of rotated ones, of
/// one more); what lies behind them is anything. `whole`: halves of a head are whole vectors.
/// Returns the largest magnitudes.
template <bool whole>
Words read_head(const HeadShape &shape, const float *from, const Words *angles, Words top,
                int32_t *out) {
  const int32_t head_dim = shape.head_dim, half = head_dim / 2;
  if (!shape.rotates) {
    for (int32_t i = 0; i < head_dim; i += lanes)
      store(out + i, fixed(bits_at<whole>(from, i, head_dim), top));
  } else if (shape.interleaved) {
    for (int32_t i = 0; i < half; i += lanes) {
      const HVX_VectorPair x =
          Q6_W_vdeal_VVR(raw(fixed(bits_at<whole>(from, 2 * i + lanes, head_dim), top)),
                         raw(fixed(bits_at<whole>(from, 2 * i, head_dim), top)), -4);
      Words a = words(Q6_V_lo_W(x)), b = words(Q6_V_hi_W(x));
      rotate(a, b, *angles, *(angles + 1));
      angles += 2;
      const HVX_VectorPair y = Q6_W_vshuff_VVR(raw(b), raw(a), -4);
      store(out + 2 * i, words(Q6_V_lo_W(y)));
      if (2 * i + lanes < head_dim)
        store(out + 2 * i + lanes, words(Q6_V_hi_W(y)));
    }
  } else {
    int32_t second[most_head_dim / 2 + lanes];
    for (int32_t i = 0; i < half; i += lanes) {
      Words a = fixed(bits_at<whole>(from, i, half), top),
            b = fixed(bits_at<whole>(from + half, i, half), top);
      rotate(a, b, *angles, *(angles + 1));
      angles += 2;
      store(out + i, a);
      store(whole ? out + half + i : second + i, b);
    }
    for (int32_t i = 0; i < half && !whole; i += lanes)
      store(out + half + i, load(second + i));
  }
  Words peak = splat(0);
  for (int32_t i = 0; i < head_dim; i += lanes) {
    const Words magnitude = words(Q6_Vw_vabs_Vw(raw(load(out + i))));
    peak = larger(peak, whole ? magnitude : first_lanes(magnitude, head_dim - i));
  }
  return peak;
}

/// code = x * limit / max|x| rounded to nearest; scale = max|x| / limit, or 0 for less than 1e-30.
template <bool whole>
void some_codes(const HeadShape &shape, const HeadRow *heads, int32_t count, int16_t *codes,
                int32_t *scales) {
  const int32_t head_dim = shape.head_dim, stride = code_stride(head_dim);
  // Of head i, in lane 2 i.
  int32_t tops[lanes] __attribute__((aligned(128))), shifts[lanes] __attribute__((aligned(128))),
      factors[lanes] __attribute__((aligned(128))), bits[lanes] __attribute__((aligned(128)));
  auto row = [&](int32_t i) { return heads[i].row + shape.offset + heads[i].head * head_dim; };
  Words most[most_heads];
  for (int32_t i = 0; i < most_heads; ++i) {
    most[i] = splat(0);
    for (int32_t at = 0; i < count && at < head_dim; at += lanes)
      most[i] = larger(most[i], bits_at<whole>(row(i), at, head_dim) & INT32_MAX);
  }
  const Words top = fold_lanes<most_heads>(most, larger) >> 23;
  store(tops, top);
  auto *columns = static_cast<int32_t *>(
      __builtin_alloca_with_align(static_cast<size_t>(count * stride) * 4, 8 * sizeof(Words)));
  Words angles[2 * most_head_dim / lanes];
  const float *known = nullptr;
  for (int32_t i = 0; i < count; ++i) {
    if (shape.rotates && heads[i].angles != known)
      read_angles<whole>(known = heads[i].angles, head_dim / 2, angles);
    most[i] = read_head<whole>(shape, row(i), angles, splat(tops[2 * i]), columns + i * stride);
  }
  for (int32_t i = count; i < most_heads; ++i)
    most[i] = splat(0);
  const Words peak = fold_lanes<most_heads>(most, larger);
  const Words by = words(Q6_Vw_vnormamt_Vw(raw(peak)));
  const Words normal = shifted_left(peak, by) >> 2;
  const Numbers scale{normal, top - by + (2 + shape.rotates - (127 + 30))};
  // Times 1 / limit, of which 30 bits are known.
  const float inverse_limit = 1.0f / static_cast<float>(shape.limit);
  const Words of_scale = to_floats(
      product(normalized(scale), from_floats(splat(__builtin_bit_cast(int32_t, inverse_limit)))));
  const Words least = splat(0x0da24260); // 1e-30
  store(bits, where_greater(of_scale, least, of_scale, splat(0)));
  // A number of 31 bits times that has 14 bits behind the code's point.
  store(factors, where_greater(of_scale, least,
                               product(reciprocal(normal), splat(shape.limit << 16)), splat(0)));
  store(shifts, by);
  for (int32_t i = 0; i < count; ++i) {
    scales[i] = bits[2 * i];
    const Words factor = splat(factors[2 * i]), shift = splat(shifts[2 * i]);
    for (int32_t at = 0; at < head_dim; at += 2 * lanes) {
      auto code = [&](int32_t column) {
        return raw(product(shifted_left(load(columns + i * stride + column), shift), factor));
      };
      const HVX_Vector low = code(at), high = code(at + lanes); // there is room for whole vectors
      store(codes + i * stride + at,
            words(Q6_Vh_vdeal_Vh(Q6_Vh_vasr_VwVwR_rnd_sat(high, low, 14))));
    }
  }
}

} // namespace

void head_codes(const HeadShape &shape, const HeadRow *heads, int32_t count, int16_t *codes,
                int32_t *scales) {
  shape.head_dim % (2 * lanes) ? some_codes<false>(shape, heads, count, codes, scales)
                               : some_codes<true>(shape, heads, count, codes, scales);
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

/// Keys of positions [from, to) of 16: [d % 2][position % 16][d / 2].
void store_keys(const int16_t *codes, int32_t head_dim, int32_t from, int32_t to, int16_t *keys) {
  int32_t those[lanes] __attribute__((aligned(128)));
  for (int32_t i = 0; i < lanes; ++i)
    those[i] = i % 16 >= from && i % 16 < to ? -1 : 0;
  const HVX_VectorPred stored = Q6_Q_vand_VR(aligned(those), -1);
  const int32_t stride = code_stride(head_dim);
  for (int32_t at = 0; at < head_dim; at += 2 * lanes, keys += 2 * lanes * 16) {
    // Pairs of codes, transposed: 16 positions of one beside each other.
    HVX_Vector of[16];
#pragma unroll
    for (int32_t i = 0; i < 16; ++i)
      of[i] = aligned(codes + i * stride + at);
#pragma unroll
    for (int32_t step = 1; step < 16; step *= 2)
#pragma unroll
      for (int32_t i = 0; i < 16; ++i)
        if (!(i & step)) {
          const HVX_VectorPair both = Q6_W_vshuff_VVR(of[i + step], of[i], -4 * step);
          of[i] = Q6_V_lo_W(both);
          of[i + step] = Q6_V_hi_W(both);
        }
#pragma unroll
    for (int32_t i = 0; i < 16; ++i) {
      // Which pairs vector i has: its bits are in the order in which they were taken apart.
      const int32_t first = (i & 1) * 8 + (i & 2) * 2 + (i & 4) / 2 + (i & 8) / 8;
      if (at + 4 * first < head_dim)
        Q6_vmem_QRIV(stored, reinterpret_cast<HVX_Vector *>(keys) + first, of[i]);
    }
  }
}

/// Values of positions [from, to) of 16: [position % 2][d][position / 2].
void store_values(const int16_t *codes, int32_t head_dim, int32_t from, int32_t to,
                  int16_t *values) {
  const int32_t stride = code_stride(head_dim);
  if (head_dim % lanes) {
    for (int32_t at = from; at < to; ++at)
      for (int32_t i = 0; i < head_dim; ++i)
        values[at / 2 * head_dim * 2 + i * 2 + at % 2] = codes[at * stride + i];
    return;
  }
  for (int32_t at = from / 2 * 2; at < to; at += 2) {
    const HVX_VectorPred stored =
        Q6_Q_vand_VR(Q6_V_vsplat_R((at >= from ? 0xffff : 0) | (at + 1 < to ? 0xffff0000 : 0)), -1);
    auto *out = reinterpret_cast<HVX_Vector *>(values + at * head_dim);
    for (int32_t i = 0; i < head_dim; i += 2 * lanes) {
      const HVX_VectorPair pairs = Q6_W_vshuff_VVR(aligned(codes + (at + 1) * stride + i),
                                                   aligned(codes + at * stride + i), -2);
      Q6_vmem_QRIV(stored, out++, Q6_V_lo_W(pairs));
      if (i + lanes < head_dim)
        Q6_vmem_QRIV(stored, out++, Q6_V_hi_W(pairs));
    }
  }
}

/// Blocks of 16 positions; threads may share one, so nothing is stored but what is a token's own.
void ingot_hexagon_append(const AppendShape *shape, const float *keys, const float *values,
                          const float *angles, const CacheBuffers *cache, int32_t position,
                          int32_t first, int32_t count) {
  constexpr int32_t block = 16;
  static_assert(block <= most_heads);
  const int32_t head_dim = shape->keys.head_dim, positions = shape->positions;
  int16_t codes[block * (most_head_dim + 2 * lanes)] __attribute__((aligned(128))); // also unset
  int32_t scales[block];
  HeadRow rows[block];
  const int32_t end = first + count;
  for (int32_t t = first, next; t < end; t = next) {
    const int32_t at = position + t, from = at % block;
    next = t + block - from < end ? t + block - from : end;
    const int32_t some = next - t;
    for (int32_t h = 0; h < shape->kv_heads; ++h) {
      auto code = [&](const HeadShape &own, const float *from_rows, float *to) {
        for (int32_t i = 0; i < some; ++i)
          rows[i] = {from_rows + (t + i) * own.stride, angles + (t + i) * head_dim, h};
        head_codes(own, rows, some, codes + from * code_stride(head_dim), scales);
        __builtin_memcpy(to + h * positions + at, scales, static_cast<size_t>(some) * 4);
      };
      code(shape->keys, keys, cache->key_scales);
      store_keys(codes, head_dim, from, from + some,
                 cache->keys + (h * positions + at - from) * head_dim);
      code(shape->values, values, cache->value_scales);
      store_values(codes, head_dim, from, from + some,
                   cache->values + (h * positions + at - from) * head_dim);
    }
  }
}

} // namespace ingot::hexagon
