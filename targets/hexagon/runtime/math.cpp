// The functions of real numbers that kernels (angles of rotations) and the command-line program
// want, to about one unit in the last place of a double.
#include <stdint.h>

namespace {

// ln 2 and pi / 2 in parts: a small integer times the first ones is exact (Cody & Waite 1980).
constexpr double ln2_high = 0x1.62e42fefp-1, ln2_low = 0x1.473de6af278edp-34,
                 inverse_ln2 = 0x1.71547652b82fep+0;
constexpr double half_pi[] = {0x1.921fb544p+0, 0x1.0b4611a6p-34, 0x1.3198a2e037073p-69};
constexpr double inverse_half_pi = 0x1.45f306dc9c883p-1;

/// The nearest integer, |x| < 2^31.
int32_t nearest(double x) { return static_cast<int32_t>(x < 0 ? x - 0.5 : x + 0.5); }

/// 2^n for -1022 <= n <= 1023.
double power_of_two(int32_t n) {
  const auto bits = static_cast<uint64_t>(n + 1023) << 52;
  double value;
  __builtin_memcpy(&value, &bits, sizeof value);
  return value;
}

/// x - n pi / 2, |result| <= pi / 4, for |x| < 2^20; *quarter is n mod 4.
double reduced(double x, int32_t *quarter) {
  const int32_t n = nearest(x * inverse_half_pi);
  *quarter = n & 3;
  return ((x - n * half_pi[0]) - n * half_pi[1]) - n * half_pi[2];
}

// Taylor polynomials: the first term that is left out is below 2^-60.
double sine(double x) {
  constexpr double terms[] = {1.0 / 6,
                              1.0 / 120,
                              1.0 / 5040,
                              1.0 / 362880,
                              1.0 / 39916800,
                              1.0 / 6227020800.0,
                              1.0 / 1307674368000.0,
                              1.0 / 355687428096000.0};
  const double square = x * x;
  double sum = 0;
  for (int32_t i = 7; i >= 0; --i)
    sum = terms[i] - square * sum;
  return x - x * square * sum;
}
double cosine(double x) {
  constexpr double terms[] = {
      1.0 / 2,       1.0 / 24,        1.0 / 720,           1.0 / 40320,
      1.0 / 3628800, 1.0 / 479001600, 1.0 / 87178291200.0, 1.0 / 20922789888000.0};
  const double square = x * x;
  double sum = 0;
  for (int32_t i = 7; i >= 0; --i)
    sum = terms[i] - square * sum;
  return 1 - square * sum;
}

} // namespace

extern "C" {

double sin(double x) {
  int32_t quarter;
  const double rest = reduced(x, &quarter), value = quarter & 1 ? cosine(rest) : sine(rest);
  return quarter & 2 ? -value : value;
}

double cos(double x) {
  int32_t quarter;
  const double rest = reduced(x, &quarter), value = quarter & 1 ? sine(rest) : cosine(rest);
  return quarter == 1 || quarter == 2 ? -value : value;
}

/// e^x = 2^n e^r, |r| <= ln 2 / 2; 0 and infinity outside of the normal numbers.
double exp(double x) {
  if (x != x)
    return x;
  if (x < -708)
    return 0;
  if (x > 709)
    return __builtin_inf();
  const int32_t n = nearest(x * inverse_ln2);
  const double r = (x - n * ln2_high) - n * ln2_low;
  double sum = 1;
  for (int32_t i = 14; i >= 1; --i)
    sum = 1 + r * sum / i;
  return sum * power_of_two(n);
}

/// ln(2^n m) = n ln 2 + 2 artanh((m - 1) / (m + 1)), sqrt(1/2) <= m <= sqrt(2).
double log(double x) {
  if (!(x > 0) || x > 0x1.fffffffffffffp+1023)
    return x == 0 ? -__builtin_inf() : x > 0 ? x : __builtin_nan("");
  uint64_t bits;
  int32_t n = 0;
  if (x < 0x1p-1022) { // subnormal
    x *= 0x1p54;
    n = -54;
  }
  __builtin_memcpy(&bits, &x, sizeof bits);
  n += static_cast<int32_t>(bits >> 52) - 1023;
  bits = (bits & 0xfffffffffffff) | uint64_t{1023} << 52;
  double m;
  __builtin_memcpy(&m, &bits, sizeof m);
  if (m > 0x1.6a09e667f3bcdp+0) {
    m *= 0.5;
    ++n;
  }
  const double s = (m - 1) / (m + 1), square = s * s;
  double sum = 0;
  for (int32_t i = 23; i >= 3; i -= 2)
    sum = (sum + 1.0 / i) * square;
  return n * ln2_high + (2 * s + (2 * s * sum + n * ln2_low));
}

/// Of a positive base.
double pow(double base, double exponent) { return exp(exponent * log(base)); }

} // extern "C"
