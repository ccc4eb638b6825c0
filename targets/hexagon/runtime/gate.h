// What follows the layer of gates: silu(gate) * up.
#pragma once

#include "targets/hexagon/runtime/vectors.h"

namespace ingot::hexagon {

/// a * b / 2^31, of b the 16 upper bits: half the work.
inline Words half_product(Words a, Words b) {
  return words(Q6_Vw_vmpyo_VwVh_s1_rnd_sat(raw(a), raw(b)));
}

/// 1 / (1 + 2^-(whole + (x + 1) / 2)) for x below 1 as 31 bits behind the point, in 30 bits, within
/// 2^-22: steps of a polynomial that do not decide more than half of that take half of x.
inline Words sigmoid_of(Words whole, Words x) {
  Words power = half_product(splat(-31772), x) + 459158;
  power = half_product(power, x) - 5267637;
  power = half_product(power, x) + 45596970;
  power = product(power, x) - 263136045;
  power = product(power, x) + 759250182;
  const Words e = smaller(shifted_right(power, whole), splat((1 << 30) - 1));
  // Within 2^-11 by a polynomial, then a step of Newton's method.
  const Words z = (e << 2) ^ INT32_MIN; // 2 e - 1
  Words r = half_product(splat(10216990), z) - 30650971;
  r = half_product(r, z) + 79181675;
  r = half_product(r, z) - 237545024;
  r = half_product(r, z) + 715827883;
  const Words off = (1 << 29) - product(r, (1 << 30) + e);
  return r + (half_product(r, off << 13) >> 11);
}

/// gate * up / (1 + exp(-gate)).
inline Numbers silu_mul(Numbers gate, const Numbers &up) {
  gate = normalized(gate);
  // |gate| * log2(e) in 26 bits behind the point; above 31, the exponential is 0.
  const Words magnitude =
      product(words(Q6_Vw_vabs_Vw(raw(gate.mantissa))), splat(1549082005)); // log2(e) 2^30
  // magnitude * 2^(exponent + 1 + 26)
  const Words by = gate.exponent + 27;
  const Words power =
      where_greater(by, splat(1), splat(INT32_MAX),
                    where_greater(by, splat(0), magnitude + magnitude,
                                  shifted_right(magnitude, smaller(-by, splat(31)))));
  // Of negative numbers, 1 minus that.
  const Words r = sigmoid_of(power >> 26, (power << 6) ^ INT32_MIN);
  const Words sigmoid = where_greater(splat(0), gate.mantissa, (1 << 30) - r, r);
  return product(product(gate, {sigmoid, splat(-30)}), normalized(up));
}

} // namespace ingot::hexagon
