// Arithmetic that the compiler calls functions for: Hexagon has no instruction for division or
// square roots. Quotients and roots of floats are rounded as IEEE 754 says, so results are those of
// every other machine.
#include <stdint.h>

namespace {

template <typename Number> struct Division {
  Number quotient, rest;
};

/// Digit by digit, as on paper. `divisor` 0 gives what it gives.
template <typename Number> Division<Number> divided(Number value, Number divisor) {
  constexpr int32_t bits = sizeof(Number) * 8;
  Number quotient = 0, rest = 0;
  int32_t first = bits;
  while (first && !(value >> (first - 1) & 1))
    --first;
  for (int32_t bit = first - 1; bit >= 0; --bit) {
    const bool carry = rest >> (bits - 1) & 1;
    rest = rest << 1 | (value >> bit & 1);
    if (carry || rest >= divisor) {
      rest -= divisor;
      quotient |= Number{1} << bit;
    }
  }
  return {quotient, rest};
}

/// Of signed numbers: rounded to 0, so that the rest has the dividend's sign.
template <typename Number, typename Signed> Division<Signed> dividedSigned(Signed a, Signed b) {
  auto magnitude = [](Signed value) {
    return value < 0 ? 0 - static_cast<Number>(value) : static_cast<Number>(value);
  };
  const auto [quotient, rest] = divided<Number>(magnitude(a), magnitude(b));
  return {static_cast<Signed>((a < 0) != (b < 0) ? 0 - quotient : quotient),
          static_cast<Signed>(a < 0 ? 0 - rest : rest)};
}

/// [sign][exponent][fraction] of a float, the exponent unbiased and the leading bit set.
struct Parts {
  uint64_t fraction; ///< 53 bits, or 24; 0: the number is 0
  int32_t exponent;
  bool negative, infinite, nan;
};

template <typename Bits, int32_t fraction_bits> Parts split(Bits bits) {
  constexpr int32_t exponent_bits = sizeof(Bits) * 8 - 1 - fraction_bits,
                    largest = (1 << exponent_bits) - 1;
  const Bits fraction = bits & ((Bits{1} << fraction_bits) - 1);
  const auto exponent = static_cast<int32_t>(bits >> fraction_bits) & largest;
  Parts parts{fraction, exponent - largest / 2, static_cast<bool>(bits >> (sizeof(Bits) * 8 - 1)),
              exponent == largest && !fraction, exponent == largest && fraction};
  if (exponent) {
    parts.fraction |= uint64_t{1} << fraction_bits;
  } else if (fraction) { // normalize a subnormal number
    const int32_t shift = __builtin_clzll(parts.fraction) - (63 - fraction_bits);
    parts.fraction <<= shift;
    parts.exponent += 1 - shift;
  }
  return parts;
}

/// `fraction` has two bits more than the format, and `sticky` says whether there was more behind.
template <typename Bits, int32_t fraction_bits>
Bits join(uint64_t fraction, bool sticky, int32_t exponent, bool negative) {
  constexpr int32_t exponent_bits = sizeof(Bits) * 8 - 1 - fraction_bits,
                    largest = (1 << exponent_bits) - 1, bias = largest / 2;
  const Bits sign = Bits{negative} << (sizeof(Bits) * 8 - 1);
  int32_t biased = exponent + bias;
  if (biased >= largest)
    return sign | Bits(largest) << fraction_bits;
  if (biased <= 0) { // subnormal: the leading bit moves into the fraction
    const int32_t shift = 1 - biased;
    if (shift > fraction_bits + 3)
      return sign;
    sticky |= (fraction & ((uint64_t{1} << shift) - 1)) != 0;
    fraction >>= shift;
    biased = 0;
  } else {
    fraction -= uint64_t{1} << (fraction_bits + 2);
  }
  const auto rest = static_cast<uint32_t>(fraction) & 3;
  Bits bits = Bits(biased) << fraction_bits;
  bits += Bits(fraction >> 2); // a carry goes into the exponent, where it belongs
  if (rest == 3 || (rest == 2 && (sticky || (bits & 1))))
    ++bits;
  return sign | bits;
}

template <typename Bits, int32_t fraction_bits> Bits divideFloats(Bits a, Bits b) {
  constexpr int32_t exponent_bits = sizeof(Bits) * 8 - 1 - fraction_bits,
                    largest = (1 << exponent_bits) - 1;
  constexpr Bits infinity = Bits(largest) << fraction_bits,
                 quiet = infinity | Bits{1} << (fraction_bits - 1);
  const Parts x = split<Bits, fraction_bits>(a), y = split<Bits, fraction_bits>(b);
  const bool negative = x.negative != y.negative;
  const Bits sign = Bits{negative} << (sizeof(Bits) * 8 - 1);
  if (x.nan || y.nan || (x.infinite && y.infinite) || (!x.fraction && !y.fraction))
    return quiet;
  if (x.infinite || !y.fraction)
    return sign | infinity;
  if (y.infinite || !x.fraction)
    return sign;
  // A quotient of fraction_bits + 3 bits: the first one decides about the exponent.
  uint64_t rest = x.fraction, quotient = 0;
  int32_t exponent = x.exponent - y.exponent;
  if (rest < y.fraction) {
    rest <<= 1;
    --exponent;
  }
  for (int32_t bit = 0; bit < fraction_bits + 3; ++bit) {
    quotient <<= 1;
    if (rest >= y.fraction) {
      rest -= y.fraction;
      quotient |= 1;
    }
    rest <<= 1;
  }
  return join<Bits, fraction_bits>(quotient, rest != 0, exponent, negative);
}

template <typename To, typename From> To bits_of(From from) {
  To to;
  static_assert(sizeof to == sizeof from);
  __builtin_memcpy(&to, &from, sizeof to);
  return to;
}

} // namespace

extern "C" {

uint32_t __hexagon_udivsi3(uint32_t a, uint32_t b) { return divided(a, b).quotient; }
uint32_t __hexagon_umodsi3(uint32_t a, uint32_t b) { return divided(a, b).rest; }
uint64_t __hexagon_udivdi3(uint64_t a, uint64_t b) { return divided(a, b).quotient; }
uint64_t __hexagon_umoddi3(uint64_t a, uint64_t b) { return divided(a, b).rest; }
int32_t __hexagon_divsi3(int32_t a, int32_t b) { return dividedSigned<uint32_t>(a, b).quotient; }
int32_t __hexagon_modsi3(int32_t a, int32_t b) { return dividedSigned<uint32_t>(a, b).rest; }
int64_t __hexagon_divdi3(int64_t a, int64_t b) { return dividedSigned<uint64_t>(a, b).quotient; }
int64_t __hexagon_moddi3(int64_t a, int64_t b) { return dividedSigned<uint64_t>(a, b).rest; }

float __hexagon_divsf3(float a, float b) {
  return bits_of<float>(divideFloats<uint32_t, 23>(bits_of<uint32_t>(a), bits_of<uint32_t>(b)));
}
double __hexagon_divdf3(double a, double b) {
  return bits_of<double>(divideFloats<uint64_t, 52>(bits_of<uint64_t>(a), bits_of<uint64_t>(b)));
}

/// Root by digits: of fraction * 2^k, k such that the root has three bits more than the format.
float __hexagon_sqrtf(float value) {
  const auto bits = bits_of<uint32_t>(value);
  Parts x = split<uint32_t, 23>(bits);
  if (x.nan || !x.fraction || (x.infinite && !x.negative))
    return value;
  if (x.negative)
    return bits_of<float>(uint32_t{0x7fc00000});
  if (x.exponent & 1) {
    x.fraction <<= 1;
    --x.exponent;
  }
  uint64_t rest = x.fraction << 27, root = 0; // (2^50 to 2^52): a root of 26 bits
  for (uint64_t bit = uint64_t{1} << 25; bit; bit >>= 1)
    if ((root + bit) * (root + bit) <= rest)
      root += bit;
  rest -= root * root;
  return bits_of<float>(join<uint32_t, 23>(root, rest != 0, x.exponent / 2, false));
}
float sqrtf(float value) { return __hexagon_sqrtf(value); }

} // extern "C"
