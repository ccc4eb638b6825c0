// Numbers in HVX vectors. HVX as V66 has it (and its emulators) computes with integers only, so a
// vector of floats is one of mantissas and one of exponents while it is computed with.
#pragma once

#include <hexagon_protos.h>
#include <hexagon_types.h>
#include <hvx_hexagon_protos.h>
#include <stddef.h>
#include <stdint.h>

namespace ingot::hexagon {

/// 32 lanes.
typedef int32_t Words __attribute__((vector_size(128)));
typedef uint32_t UnsignedWords __attribute__((vector_size(128)));
typedef int16_t Halves __attribute__((vector_size(128)));
typedef uint8_t Bytes __attribute__((vector_size(128)));
/// Anywhere in memory.
typedef HVX_Vector Unaligned __attribute__((aligned(4)));

inline HVX_Vector raw(Words value) { return (HVX_Vector)value; }
inline Words words(HVX_Vector value) { return (Words)value; }
inline Words splat(int32_t value) { return words(Q6_V_vsplat_R(value)); }
inline Words load(const void *from) { return words(*static_cast<const Unaligned *>(from)); }
inline HVX_Vector aligned(const void *from) { return *static_cast<const HVX_Vector *>(from); }
inline void store(void *to, Words value) { *static_cast<Unaligned *>(to) = raw(value); }

inline Words larger(Words a, Words b) { return words(Q6_Vw_vmax_VwVw(raw(a), raw(b))); }
inline Words smaller(Words a, Words b) { return words(Q6_Vw_vmin_VwVw(raw(a), raw(b))); }
inline Words shifted_left(Words a, Words by) { return words(Q6_Vw_vasl_VwVw(raw(a), raw(by))); }
/// By 31 at most; the sign is kept. By less than 0: to the left.
inline Words shifted_right(Words a, Words by) { return words(Q6_Vw_vasr_VwVw(raw(a), raw(by))); }
/// Where `a` > `b`, `then`, else `otherwise`.
inline Words where_greater(Words a, Words b, Words then, Words otherwise) {
  return words(Q6_V_vmux_QVV(Q6_Q_vcmp_gt_VwVw(raw(a), raw(b)), raw(then), raw(otherwise)));
}
/// a * b / 2^31, of numbers below 1 as 31 bits behind the point.
inline Words product(Words a, Words b) {
  return words(
      Q6_Vw_vmpyoacc_VwVwVh_s1_rnd_sat_shift(Q6_Vw_vmpye_VwVuh(raw(a), raw(b)), raw(a), raw(b)));
}
/// 2^-(whole + part / 2^31) with 30 bits behind the point: a polynomial of degree 5, within 1.1e-7.
inline Words power_of_half(Words whole, Words part) {
  Words power = splat(-1019549);
  constexpr int32_t coefficients[] = {9902247, -59395837, 257900992, -744258773, 1 << 30};
  for (const int32_t coefficient : coefficients)
    power = product(power, part) + coefficient;
  return shifted_right(power, smaller(whole, splat(31)));
}

/// 2^58 / value for 2^28 <= value < 2^29, within some 2^-28 of it: by Newton's method, from
/// 48/17 - 32/17 d for d = value / 2^29 in [1/2, 1).
inline Words reciprocal(Words value) {
  const Words d = value << 2; // 31 bits behind the point, the result has 29
  Words r = 1515870810 - product(d, splat(1010580540));
  for (int32_t i = 0; i < 3; ++i)
    r += product(r, (1 << 29) - product(r, d)) << 2;
  return r;
}
/// The largest lane, in all lanes.
inline Words largest_lane(Words a) {
  for (int32_t bytes = 64; bytes >= 4; bytes /= 2)
    a = larger(a, words(Q6_V_vror_VR(raw(a), bytes)));
  return a;
}
inline Words sum_of_lanes(Words a) {
  for (int32_t bytes = 64; bytes >= 4; bytes /= 2)
    a += words(Q6_V_vror_VR(raw(a), bytes));
  return a;
}
/// The first `count` lanes; 0 in the others.
inline Words first_lanes(Words a, int32_t count) {
  return count >= 32 ? a : words(Q6_V_vand_QV(Q6_Q_vsetq_R(count * 4), raw(a)));
}
/// The first `count` lanes, at least one; 0 in the others. Reads no vector that has none of them.
inline Words load_lanes(const void *from, int32_t count) {
  if (count >= 32)
    return load(from);
  const auto start = reinterpret_cast<uintptr_t>(from),
             end = start + static_cast<uint32_t>(count) * 4 - 1;
  const HVX_Vector low = aligned(reinterpret_cast<const void *>(start & ~uintptr_t{127})),
                   high = aligned(reinterpret_cast<const void *>(end & ~uintptr_t{127}));
  return first_lanes(words(Q6_V_valign_VVR(high, low, static_cast<int32_t>(start))), count);
}
inline void store_lanes(void *to, Words value, int32_t count) {
  if (count >= 32)
    return store(to, value);
  int32_t lanes[32] __attribute__((aligned(128)));
  *reinterpret_cast<Words *>(lanes) = value;
  for (int32_t i = 0; i < count; ++i)
    static_cast<int32_t *>(to)[i] = lanes[i];
}
inline int32_t first_lane(Words a) { return Q6_R_vextract_VR(raw(a), 0); }

/// Two vectors' lanes folded by `combine`, halves, quarters ... of both in turn.
template <typename Combine> inline Words fold(Words a, Words b, int32_t bytes, Combine combine) {
  const HVX_VectorPair both = Q6_W_vshuff_VVR(raw(b), raw(a), bytes);
  return combine(words(Q6_V_lo_W(both)), words(Q6_V_hi_W(both)));
}
/// All lanes of each of `count` vectors, a power of two, folded into one: that of vector i is in
/// lanes [i, i + 1) * 32 / count. The vectors are written over.
template <int32_t count, typename Combine>
inline Words fold_lanes(Words *vectors, Combine combine) {
  int32_t bytes = 64;
#pragma unroll
  for (int32_t step = count / 2; step; step /= 2, bytes /= 2)
#pragma unroll
    for (int32_t i = 0; i < step; ++i)
      vectors[i] = fold(vectors[i], vectors[i + step], bytes, combine);
  Words all = vectors[0];
#pragma unroll
  for (int32_t left = 64 / count; left >= 4; left /= 2)
    all = fold(all, all, left, combine);
  return all;
}
inline Words added(Words a, Words b) { return a + b; }

/// Magnitudes of floats as integers: 30 bits behind the point of what has the biased exponent
/// `top`, which none is above. Numbers below 2^-126 count as that.
inline Words fixed_magnitudes(Words bits, Words top) {
  const Words exponent = (bits & INT32_MAX) >> 23;
  return words(
      Q6_Vw_vlsr_VwVw(raw((bits << 8) | INT32_MIN), raw(smaller(top + 1 - exponent, splat(31)))));
}
/// With their signs.
inline Words fixed(Words bits, Words top) {
  const Words sign = bits >> 31;
  return (fixed_magnitudes(bits, top) ^ sign) - sign;
}

/// Lanes of mantissa * 2^exponent. Copied vector by vector: as one piece it would be bytes to a
/// loop.
struct Numbers {
  Words mantissa, exponent;

  Numbers() = default;
  Numbers(Words mantissa, Words exponent) : mantissa(mantissa), exponent(exponent) {}
  Numbers(const Numbers &other) : mantissa(other.mantissa), exponent(other.exponent) {}
  Numbers &operator=(const Numbers &other) {
    mantissa = other.mantissa;
    exponent = other.exponent;
    return *this;
  }
};

/// Mantissas of 30 bits and a sign: two of them can be added.
inline Numbers normalized(const Numbers &a) {
  const Words by = words(Q6_Vw_vnormamt_Vw(raw(a.mantissa)));
  return {shifted_left(a.mantissa, by) >> 1, a.exponent - by + 1};
}

/// Of normal numbers; others count as 0.
inline Numbers from_floats(Words bits) {
  const Words exponent = (bits & INT32_MAX) >> 23;
  const Words magnitude = (bits & 0x7fffff) | 0x800000;
  const Words mantissa = where_greater(splat(0), bits, -magnitude, magnitude) << 6;
  return {where_greater(exponent, splat(0), mantissa, splat(0)), exponent - (127 + 23 + 6)};
}

/// Rounded to nearest. Too small ones become 0, too large ones the largest float.
inline Words to_floats(const Numbers &a) {
  const Words by = words(Q6_Vw_vnormamt_Vw(raw(a.mantissa)));
  const Words magnitude = words(Q6_Vw_vabs_Vw_sat(raw(shifted_left(a.mantissa, by))));
  const Words exponent = smaller(a.exponent - by + (30 + 127), splat(254)); // biased
  const Words rounded = ((magnitude >> 6) + 1) >> 1; // the leading bit adds 1 to the exponent
  const Words bits = ((exponent - 1) << 23) + rounded;
  const Words kept = where_greater(magnitude, splat(0), bits, splat(0));
  return where_greater(exponent, splat(0), kept, splat(0)) | (a.mantissa & INT32_MIN);
}

/// Of normalized numbers. The sum is not.
inline Numbers sum(const Numbers &a, const Numbers &b) {
  const Words exponent = larger(a.exponent, b.exponent), most = splat(31);
  return {shifted_right(a.mantissa, smaller(exponent - a.exponent, most)) +
              shifted_right(b.mantissa, smaller(exponent - b.exponent, most)),
          exponent};
}

/// Of normalized numbers. The product is not.
inline Numbers product(const Numbers &a, const Numbers &b) {
  return {product(a.mantissa, b.mantissa), a.exponent + b.exponent + 31};
}

} // namespace ingot::hexagon
