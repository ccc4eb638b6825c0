// The float functions that every kernel shares, each with one definition: decode, prefill and every
// target evaluate the same operations in the same order.
#pragma once

#include "Halide.h"

#include <array>

namespace ingot {

/// Combines 16 lanes in a fixed tree: lanes l and l + 8, then l + 4, l + 2, l + 1.
template <typename Combine, typename Lane> Halide::Expr tree16(Combine combine, Lane lane) {
  std::array<Halide::Expr, 16> values;
  for (int i = 0; i < 16; ++i)
    values[i] = lane(i);
  for (int width = 8; width; width /= 2)
    for (int i = 0; i < width; ++i)
      values[i] = combine(values[i], values[i + width]);
  return values[0];
}

template <typename Lane> Halide::Expr sumTree16(Lane lane) {
  return tree16([](Halide::Expr a, Halide::Expr b) { return a + b; }, lane);
}

/// Adding 1.5 * 2^23 rounds |x| < 2^22 to an integer, ties to even, and leaves that integer in the
/// low bits of the sum: no conversion is needed.
constexpr float kRounding = 12582912.0f;

/// exp(x) for f32: x = n ln 2 + r, |r| <= ln 2 / 2, with ln 2 in two parts (Cody & Waite 1980);
/// exp(r) by its Taylor polynomial of degree 7 (next term < 6e-9); times 2^n by exponent bits.
/// x is clamped to [-87, 88]: results stay normal. At most 2 ulp on that range.
inline Halide::Expr exponential(Halide::Expr x) {
  using Halide::Expr;
  x = Halide::clamp(x, -87.0f, 88.0f);
  Expr shifted = x * 1.44269504088896341f + kRounding;
  Expr n = shifted - kRounding;
  Expr r = x - n * 0.693359375f;
  r = r - n * -2.12194440e-4f;
  const float coefficients[] = {1.0f / 5040, 1.0f / 720, 1.0f / 120, 1.0f / 24,
                                1.0f / 6,    0.5f,       1,          1};
  Expr p = coefficients[0];
  for (int i = 1; i < 8; ++i)
    p = p * r + coefficients[i];
  Expr power = Halide::reinterpret<float>((Halide::reinterpret<int32_t>(shifted) + 127) << 23);
  return p * power;
}

/// 2^x for x <= 0: x = n + r, |r| <= 1/2; 2^r by a polynomial of degree 4 whose largest relative
/// error is least (2.9e-6 with f32 rounding, 2^0 exact); n is added to the exponent bits. x is
/// clamped to -125: results stay normal.
inline Halide::Expr powerOfTwo(Halide::Expr x) {
  using Halide::Expr;
  x = Halide::max(x, -125.0f);
  Expr shifted = x + kRounding;
  Expr r = x - (shifted - kRounding);
  Expr p = 0.009582852944731712f;
  for (float coefficient : {0.055906426161527634f, 0.24024099111557007f, 0.6931241750717163f, 1.0f})
    p = p * r + coefficient;
  return Halide::reinterpret<float>(Halide::reinterpret<int32_t>(p) +
                                    (Halide::reinterpret<int32_t>(shifted) << 23));
}

/// x rounded to nearest, ties to even; |x| fits the integer.
template <typename Integer> Halide::Expr toCode(Halide::Expr x) {
  return Halide::cast<Integer>(Halide::reinterpret<int32_t>(x + kRounding));
}

/// The bits of x as a half, ties to even; |x| < 65520. In integers: not every machine has the
/// conversion. Below the least normal half, adding 1/2 rounds to multiples of 2^-24, its last bit.
inline Halide::Expr halfBits(Halide::Expr x) {
  using Halide::Expr, Halide::cast, Halide::reinterpret;
  const Expr least_normal(113u << 23), one_half(126u << 23);
  Expr bits = reinterpret<uint32_t>(x), magnitude = bits & Expr(0x7fffffffu);
  Expr small = reinterpret<uint32_t>(reinterpret<float>(magnitude) + 0.5f) - one_half;
  Expr odd = magnitude >> 13 & 1;
  Expr normal = (magnitude + odd + Expr(0xfffu - (112u << 23))) >> 13;
  return cast<uint16_t>(Halide::select(magnitude < least_normal, small, normal) |
                        (bits >> 16 & 0x8000));
}

/// A finite half of magnitude below 128 in 2^-24, as i32, from its bits.
inline Halide::Expr halfInLeast(Halide::Expr half) {
  using Halide::Expr, Halide::cast;
  Expr bits = cast<int32_t>(half), exponent = bits >> 10 & 31;
  Expr digits = (bits & 0x3ff) | Halide::select(exponent > 0, 0x400, 0);
  Expr magnitude = digits << (Halide::max(exponent, 1) - 1);
  return Halide::select((bits & 0x8000) != 0, -magnitude, magnitude);
}

} // namespace ingot
