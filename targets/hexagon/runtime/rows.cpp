// Norms and quantization in HVX: a group of columns is a vector. What there is one of for each
// group (its largest number, scale, sum of codes) is computed for 32 groups at once, a lane for
// each.
#include "targets/hexagon/runtime/rows.h"

#include "targets/hexagon/runtime/vectors.h"

namespace ingot::hexagon {

namespace {

constexpr int32_t lanes = 32, together = 4;

/// 1 / sqrt(value) within an ulp or two, by Newton's method; value > 0.
float inverse_root(float value) {
  uint32_t bits;
  __builtin_memcpy(&bits, &value, sizeof bits);
  bits = 0x5f375a86 - (bits >> 1);
  float root;
  __builtin_memcpy(&root, &bits, sizeof root);
  for (int32_t i = 0; i < 4; ++i)
    root = root * (1.5f - 0.5f * value * root * root);
  return root;
}

float power_of_two(int32_t exponent) {
  exponent = exponent < -126 ? -126 : exponent > 127 ? 127 : exponent;
  const uint32_t bits = static_cast<uint32_t>(exponent + 127) << 23;
  float power;
  __builtin_memcpy(&power, &bits, sizeof power);
  return power;
}

/// 1 / sqrt(mean of squares + eps) of a row. `whole`: of whole vectors.
template <bool whole> Numbers inverse_rms(const QuantizeShape &shape, const float *x) {
  auto get = [&](int32_t i) { return whole ? load(x + i) : load_lanes(x + i, shape.width - i); };
  Words most = splat(0);
  int32_t vectors = 0, shift = 1;
#pragma unroll 2
  for (int32_t i = 0; i < shape.width; i += lanes, ++vectors)
    most = larger(most, get(i) & INT32_MAX);
  const int32_t top = first_lane(largest_lane(most)) >> 23;
  while (vectors >> shift)
    ++shift;
  Words squares = splat(0);
#pragma unroll 2
  for (int32_t i = 0; i < shape.width; i += lanes) {
    const Words some = fixed_magnitudes(get(i), splat(top));
    squares += (product(some, some) + (1 << (shift - 1))) >> splat(shift);
  }
  const int64_t total = (int64_t{first_lane(sum_of_lanes(squares >> 16))} << 16) +
                        first_lane(sum_of_lanes(squares & 0xffff));
  const int32_t exponent = 2 * (top - 127 - 30) + 31 + shift; // of a square
  const float mean = static_cast<float>(total) * power_of_two(exponent) * shape.inverse_width;
  return from_floats(splat(__builtin_bit_cast(int32_t, inverse_root(mean + shape.eps))));
}

/// A norm's gains as numbers of 31 bits, and what a row is multiplied with besides.
struct Norm {
  Numbers *gains; ///< null: there is no norm
  struct Row {
    int32_t mantissa, exponent;
  } *rows;
};

/// Up to 32 groups, which lie in rows without a gap between them.
template <bool whole> struct Batch {
  const QuantizeShape &shape;
  const Norm &norm;
  int32_t groups; ///< of a row
  int32_t count;

  /// `row`, `group`: the first one's; they go on to the next batch's.
  void run(const float *x, int32_t &row, int32_t &group, int8_t *codes, float *scales,
           int32_t *sums) const {
    Numbers values[lanes];
    Words folded[lanes];
    int32_t mantissas[lanes] __attribute__((aligned(128))),
        exponents[lanes] __attribute__((aligned(128)));
    // Mantissas of 30 bits.
    for (int32_t i = 0; i < count; ++i) {
      const float *from = x + i * shape.group;
      values[i] = from_floats(whole ? load(from) : load_lanes(from, shape.group));
      if (norm.gains) {
        const Numbers &gain = norm.gains[group];
        values[i] = {product(values[i].mantissa, gain.mantissa),
                     values[i].exponent + gain.exponent};
        mantissas[i] = norm.rows[row].mantissa;
        exponents[i] = norm.rows[row].exponent;
        if (++group == groups)
          group = 0, ++row;
      }
      folded[i] = values[i].exponent;
    }
    for (int32_t i = count; i < lanes; ++i)
      folded[i] = splat(0);
    const Words top = fold_lanes<lanes>(folded, larger);
    int32_t of_groups[lanes] __attribute__((aligned(128)));
    store(of_groups, top);
    // Of what has the exponent `top`; the largest has 28 bits or more.
#pragma unroll 2
    for (int32_t i = 0; i < count; ++i) {
      values[i].mantissa =
          shifted_right(values[i].mantissa, smaller(of_groups[i] - values[i].exponent, splat(31)));
      folded[i] = words(Q6_Vw_vabs_Vw(raw(values[i].mantissa)));
    }
    for (int32_t i = count; i < lanes; ++i)
      folded[i] = splat(0);
    const Words peak = fold_lanes<lanes>(folded, larger);

    const bool wide = shape.planes == 2;
    const Words by = words(Q6_Vw_vnormamt_Vw(raw(peak)));
    const Words normal = shifted_left(peak, by) >> 2;             // 2^28 <= normal < 2^29, or 0
    const int32_t inverse_limit = wide ? 1073774594 : 1082196484; // 2^45 / 32767, 2^37 / 127
    Numbers exact{product(normal, splat(inverse_limit)), top - by + (2 - (wide ? 14 : 6))};
    if (norm.gains)
      exact = product(normalized(exact), {load(mantissas), load(exponents)});
    const Words scale = to_floats(exact), least = splat(0x0da24260); // 1e-30
    store_lanes(scales, where_greater(scale, least, scale, splat(0)), count);
    // A number of 30 bits times that has 12 bits of a wide code behind the point, or 14.
    const Words factor = product(reciprocal(normal), splat(wide ? 32767 << 16 : 127 << 18));
    store(of_groups,
          where_greater(scale, least, shifted_right(factor, larger(2 - by, splat(0))), splat(0)));
    for (int32_t i = count; i < (count + together - 1) / together * together; ++i)
      values[i].mantissa = splat(0);
    Words partial[lanes / together];
    for (int32_t i = 0; i < lanes / together; ++i)
      partial[i] = splat(0);
    for (int32_t first = 0; first < count; first += together) {
      Words products[together];
#pragma unroll
      for (int32_t i = 0; i < together; ++i)
        products[i] = product(values[first + i].mantissa, splat(of_groups[first + i]));
      auto halves = [&](int32_t i) {
        return Q6_Vh_vdeal_Vh(
            Q6_Vh_vasr_VwVwR_rnd_sat(raw(products[i + 1]), raw(products[i]), wide ? 12 : 14));
      };
      partial[first / together] =
          write(halves(2), halves(0), count - first, codes + first * shape.group * shape.planes);
    }
    // Sums of group 4 j + k are 8 lanes of vector j; then lane 8 k + j, which moves to 4 j + k.
#pragma unroll
    for (int32_t step = lanes / together / 2, bytes = 16; step; step /= 2, bytes /= 2)
#pragma unroll
      for (int32_t j = 0; j < step; ++j)
        partial[j] = fold(partial[j], partial[j + step], bytes, added);
    HVX_Vector all = raw(partial[0]);
    for (int32_t i = 0; i < 2; ++i)
      all = Q6_V_lo_W(Q6_W_vshuff_VVR(Q6_V_vror_VR(all, 64), all, -4));
    store_lanes(sums, words(all), count);
  }

private:
  /// Codes of four groups, two in each vector of halves. Returns sums of four each.
  Words write(HVX_Vector second, HVX_Vector first, int32_t left, int8_t *codes) const {
    const bool wide = shape.planes == 2;
    const HVX_Vector low = Q6_Vb_vpacke_VhVh(second, first), ones = Q6_Vb_vsplat_R(1),
                     high = wide ? Q6_Vb_vpacko_VhVh(second, first) : low;
    if (whole && left >= together) {
      const HVX_VectorPair beside = Q6_W_vshuff_VVR(low, high, -lanes);
      if (wide) {
        store(codes, words(Q6_V_lo_W(beside)));
        store(codes + 128, words(Q6_V_hi_W(beside)));
      } else {
        store(codes, words(low));
      }
    } else {
      for (int32_t i = 0; i < together && i < left; ++i) {
        int8_t *own = codes + i * shape.group * shape.planes;
        store_lanes(own, words(Q6_V_vror_VR(high, i * lanes)), shape.group / 4);
        if (wide)
          store_lanes(own + shape.group, words(Q6_V_vror_VR(low, i * lanes)), shape.group / 4);
      }
    }
    return wide ? (words(Q6_Vw_vrmpy_VbVb(high, ones)) << 8) + words(Q6_Vw_vrmpy_VubVb(low, ones))
                : words(Q6_Vw_vrmpy_VbVb(low, ones));
  }
};

template <bool whole>
void quantize(const QuantizeShape &shape, const float *x, const float *gain, int8_t *codes,
              float *scales, int32_t *sums, int32_t count) {
  const int32_t groups = shape.width / shape.group;
  Norm norm{};
  if (gain) {
    norm.gains = static_cast<Numbers *>(__builtin_alloca_with_align(
        static_cast<uint32_t>(groups) * sizeof(Numbers), 8 * sizeof(Words)));
    norm.rows = static_cast<Norm::Row *>(
        __builtin_alloca(static_cast<uint32_t>(count) * sizeof(Norm::Row)));
    for (int32_t i = 0; i < groups; ++i) {
      const Numbers own = from_floats(load_lanes(gain + i * shape.group, shape.group));
      norm.gains[i] = {own.mantissa << 1, own.exponent + 30};
    }
    for (int32_t i = 0; i < count; ++i) {
      const Numbers inverse = inverse_rms<whole>(shape, x + i * shape.width);
      norm.rows[i] = {first_lane(inverse.mantissa), first_lane(inverse.exponent)};
    }
  }
  int32_t row = 0, group = 0;
  for (int32_t at = 0, all = count * groups; at < all; at += lanes)
    Batch<whole>{shape, norm, groups, all - at < lanes ? all - at : lanes}.run(
        x + at * shape.group, row, group, codes + at * shape.group * shape.planes, scales + at,
        sums + at);
}

} // namespace

extern "C" void ingot_hexagon_quantize(const QuantizeShape *shape, const float *x,
                                       const float *gain, int8_t *codes, float *scales,
                                       int32_t *sums, int32_t first, int32_t count) {
  x += first * shape->width;
  shape->group == lanes ? quantize<true>(*shape, x, gain, codes, scales, sums, count)
                        : quantize<false>(*shape, x, gain, codes, scales, sums, count);
}

} // namespace ingot::hexagon
