// Scales and minima of weights as integers: 16 bits of what is above all of a row (a power of two).
#pragma once

#include "targets/hexagon/runtime/vectors.h"

namespace ingot::hexagon {

constexpr int32_t rows = 16; ///< of a block

/// Scales of two blocks in 16 bits of what is above those of each row.
struct Scales {
  HVX_Vector *pairs; ///< two groups in the halves of the words of rows
  Words exponent;    ///< E
};

/// Two groups of scales of 16 bits; `bits`: halves of the words.
inline HVX_Vector fix_halves(Halves bits, HVX_Vector top) {
  const HVX_Vector exponent =
      Q6_Vh_vmax_VhVh(Q6_Vuh_vlsr_VuhR((HVX_Vector)(bits << 1), 11), Q6_Vh_vsplat_R(1));
  const Halves fraction = bits & 0x3ff;
  const HVX_VectorPred normal =
      Q6_Q_vcmp_gt_VuhVuh((HVX_Vector)(bits & 0x7fff), Q6_Vh_vsplat_R(0x3ff));
  const Halves mantissa =
      (Halves)Q6_V_vmux_QVV(normal, (HVX_Vector)(fraction | 0x400), (HVX_Vector)fraction) << 5;
  const HVX_Vector by = Q6_Vh_vmin_VhVh(Q6_Vh_vsub_VhVh(top, exponent), Q6_Vh_vsplat_R(15));
  const HVX_Vector magnitude =
      Q6_Vuh_vavg_VuhVuh_rnd(Q6_Vh_vlsr_VhVh((HVX_Vector)mantissa, by), Q6_V_vzero());
  return Q6_V_vmux_QVV(Q6_Q_vcmp_gt_VhVh(Q6_V_vzero(), (HVX_Vector)bits),
                       Q6_Vh_vsub_VhVh(Q6_V_vzero(), magnitude), magnitude);
}

/// 2^(byte - 128) of 32 bytes; the two smallest count as 2^-126 (Encoding.h, e8m0ToFloat).
inline HVX_Vector exponent_floats(Words bytes) {
  const HVX_VectorPair halves = Q6_Wuh_vunpack_Vub(raw(bytes));
  const Words exponent = words(Q6_V_lo_W(Q6_Wuw_vunpack_Vuh(Q6_V_lo_W(halves))));
  return raw(larger(exponent - 1, splat(1)) << 23);
}

/// `a`, `b`: scales of two blocks, [row][group], of `bytes` each (LinearShape::scale_bytes).
inline Scales fix_scales(const void *a, const void *b, int32_t groups, int32_t bytes,
                         HVX_Vector *pairs) {
  const int32_t count = (groups + 1) / 2;
  if (bytes == 2) {
    // Groups 0 to 3 of a block are a vector.
    const auto *of_a = static_cast<const uint8_t *>(a), *of_b = static_cast<const uint8_t *>(b);
    HVX_Vector most = Q6_V_vzero();
    for (int32_t i = 0; i < count; i += 2) {
      const int32_t lanes = (groups - 2 * i) * 8;
      const HVX_VectorPair beside = Q6_W_vshuff_VVR(raw(load_lanes(of_b + i * 64, lanes)),
                                                    raw(load_lanes(of_a + i * 64, lanes)), 32);
      const HVX_VectorPair paired = Q6_W_vshuff_VVR(Q6_V_hi_W(beside), Q6_V_lo_W(beside), -2);
      pairs[i] = Q6_V_lo_W(paired);
      most = Q6_Vuh_vmax_VuhVuh(most, Q6_V_vand_VV(pairs[i], Q6_Vh_vsplat_R(0x7fff)));
      if (i + 1 < count) {
        pairs[i + 1] = Q6_V_hi_W(paired);
        most = Q6_Vuh_vmax_VuhVuh(most, Q6_V_vand_VV(pairs[i + 1], Q6_Vh_vsplat_R(0x7fff)));
      }
    }
    // Both halves of a word are one row's.
    most = Q6_Vuh_vmax_VuhVuh(most, Q6_Vh_vshuffo_VhVh(most, most));
    most = Q6_Vh_vshuffe_VhVh(most, most);
    const HVX_Vector top = Q6_Vh_vmax_VhVh(Q6_Vuh_vlsr_VuhR(most, 10), Q6_Vh_vsplat_R(1));
    for (int32_t i = 0; i < count; ++i)
      pairs[i] = fix_halves((Halves)pairs[i], top);
    return {pairs, words(Q6_Vuw_vlsr_VuwR(top, 16)) - 14};
  }
  const auto *of_a = static_cast<const uint8_t *>(a), *of_b = static_cast<const uint8_t *>(b);
  auto get = [&](int32_t i) { // groups 2 i and 2 i + 1
    const int32_t lanes = (groups - 2 * i) * rows;
    if (bytes == 1) {
      const int32_t own = lanes < 2 * rows ? lanes / 4 : 2 * rows / 4;
      return Q6_W_vshuff_VVR(exponent_floats(load_lanes(of_b + i * 2 * rows, own)),
                             exponent_floats(load_lanes(of_a + i * 2 * rows, own)), 64);
    }
    return Q6_W_vshuff_VVR(raw(load_lanes(of_b + i * 128, lanes)),
                           raw(load_lanes(of_a + i * 128, lanes)), 64);
  };
  Words most = splat(0);
  for (int32_t i = 0; i < count; ++i) {
    const HVX_VectorPair both = get(i);
    most = larger(most, words(Q6_V_lo_W(both)) & INT32_MAX);
    most = larger(most, words(Q6_V_hi_W(both)) & INT32_MAX);
  }
  const Words top = larger(most >> 23, splat(1));
  auto fixed = [&](Words bits) {
    const Numbers number = from_floats(bits); // 30 bits
    const Words value = shifted_right(number.mantissa,
                                      smaller(top - (number.exponent + (127 + 23 + 6)), splat(31)));
    return raw(smaller((value + (1 << 14)) >> 15, splat(INT16_MAX)));
  };
  for (int32_t i = 0; i < count; ++i) {
    const HVX_VectorPair both = get(i);
    pairs[i] = Q6_Vh_vshuffe_VhVh(fixed(words(Q6_V_hi_W(both))), fixed(words(Q6_V_lo_W(both))));
  }
  return {pairs, top - 126};
}

/// 16 halves of two blocks as words.
inline Words halves_beside(const uint8_t *a, const uint8_t *b) {
  const HVX_Vector both = Q6_V_lo_W(
      Q6_W_vshuff_VVR(raw(load_lanes(b, rows / 2)), raw(load_lanes(a, rows / 2)), rows * 2));
  return words(Q6_V_lo_W(Q6_Wuw_vunpack_Vuh(both)));
}

/// Of two levels: a, b: bytes with a sign [row][group], and halves that those of `super_groups`
/// groups are multiplied with, `stride` bytes from one to the next. A product is exact.
inline Scales fix_two_levels(const uint8_t *a, const uint8_t *b, const uint8_t *halves_a,
                             const uint8_t *halves_b, int32_t stride, int32_t groups,
                             int32_t super_groups, HVX_Vector *pairs) {
  constexpr int32_t together = 8; // groups of a vector of bytes
  // Times 2^(exponent - 25); mantissas are in upper halves, with their signs.
  auto halves = [&](int32_t super) {
    const Words bits = halves_beside(halves_a + super * stride, halves_b + super * stride),
                field = (bits >> 10) & 31, fraction = bits & 0x3ff,
                magnitude = where_greater(field, splat(0), fraction | 0x400, fraction);
    return Numbers{where_greater(bits, splat(0x7fff), -magnitude, magnitude) << 16,
                   larger(field, splat(1))};
  };
  auto bytes = [&](int32_t group) { // of four groups in each, row by row of both blocks
    return Q6_W_vshuff_VVR(raw(load(b + group * rows)), raw(load(a + group * rows)), -rows);
  };
  Words top = splat(1); // biased exponents, as floats have them
  for (int32_t first = 0, super = 0; first < groups; first += super_groups, ++super) {
    HVX_Vector most = Q6_V_vzero();
    for (int32_t i = 0; i < super_groups; i += together) {
      const HVX_VectorPair own = bytes(first + i);
      most = Q6_Vub_vmax_VubVub(most, Q6_Vb_vabs_Vb(Q6_V_lo_W(own)));
      most = Q6_Vub_vmax_VubVub(most, Q6_Vb_vabs_Vb(Q6_V_hi_W(own)));
    }
    most = Q6_Vub_vmax_VubVub(most, Q6_V_vror_VR(most, 64));
    most = Q6_Vub_vmax_VubVub(most, Q6_V_vror_VR(most, 32));
    const HVX_Vector wide = Q6_V_lo_W(Q6_Wuw_vunpack_Vuh(Q6_V_lo_W(Q6_Wuh_vunpack_Vub(most))));
    const Numbers by = halves(super);
    const HVX_Vector product = Q6_Vw_vabs_Vw(Q6_Vw_vmpyio_VwVh(wide, raw(by.mantissa)));
    const Words exponent = by.exponent + (30 + 127 - 25) - words(Q6_Vw_vnormamt_Vw(product));
    top = larger(top, where_greater(words(product), splat(0), exponent, splat(0)));
  }
  for (int32_t first = 0, super = 0; first < groups; first += super_groups, ++super) {
    const Numbers by = halves(super);
    // To 30 bits of what has the exponent `top`, to the left, too.
    const Words right = smaller(top - by.exponent - (127 - 25 + 29), splat(31));
    for (int32_t i = 0; i < super_groups; i += together) {
      const HVX_VectorPair own = bytes(first + i);
      auto two = [&](HVX_Vector codes) {
        const HVX_VectorPair each = Q6_Ww_vunpack_Vh(codes);
        auto fixed = [&](HVX_Vector code) {
          return raw(shifted_right(words(Q6_Vw_vmpyio_VwVh(code, raw(by.mantissa))), right));
        };
        return Q6_Vh_vasr_VwVwR_rnd_sat(fixed(Q6_V_hi_W(each)), fixed(Q6_V_lo_W(each)), 15);
      };
      const HVX_VectorPair first_four = Q6_Wh_vunpack_Vb(Q6_V_lo_W(own)),
                           last_four = Q6_Wh_vunpack_Vb(Q6_V_hi_W(own));
      HVX_Vector *to = pairs + (first + i) / 2;
      to[0] = two(Q6_V_lo_W(first_four));
      to[1] = two(Q6_V_hi_W(first_four));
      to[2] = two(Q6_V_lo_W(last_four));
      to[3] = two(Q6_V_hi_W(last_four));
    }
  }
  return {pairs, top - 126};
}

} // namespace ingot::hexagon
