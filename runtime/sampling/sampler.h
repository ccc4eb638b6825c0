// Picks the next token from logits: ingot_sampling (runtime/include/ingot.h) says what it does.
// No heap: the caller gives scratch memory. Equal inputs give equal tokens on every machine: the
// random numbers, exp and the order of all sums are defined here and not by a library.
#pragma once

#include "runtime/include/ingot.h"

namespace ingot::runtime {

/// PCG XSH-RR 64/32 (O'Neill 2014, "PCG: A Family of Simple Fast Space-Efficient Statistically Good
/// Algorithms for Random Number Generation", section 6).
struct Random {
  uint64_t state = 0, increment = 1;

  void seed(uint64_t seed, uint64_t sequence);
  uint32_t next();
  /// Uniform in [0, 1), 53 bits.
  double uniform();
};

/// e^x for x <= 0 with a relative error below 1e-13; 0 below -708, 1 above 0 and for NaN. Without
/// branches, so that loops over it become vector code.
inline double exp_of_negative(double x) {
  double bounded = x < 0 ? x : 0;
  bounded = bounded > -708 ? bounded : -708;
  // x = n ln 2 + r, |r| <= ln 2 / 2; ln 2 in two parts, the first with room for exact products.
  constexpr double round = 0x1.8p52; // leaves n in the low bits
  const double shifted = bounded * 0x1.71547652b82fep0 + round;
  const double n = shifted - round;
  const double r = (bounded - n * 0x1.62e42feep-1) - n * 0x1.a39ef35793c76p-33;
  // Taylor's series to r^11 / 11!: the rest is below 2e-14.
  double sum = 1.0 / 39916800;
  sum = sum * r + 1.0 / 3628800;
  sum = sum * r + 1.0 / 362880;
  sum = sum * r + 1.0 / 40320;
  sum = sum * r + 1.0 / 5040;
  sum = sum * r + 1.0 / 720;
  sum = sum * r + 1.0 / 120;
  sum = sum * r + 1.0 / 24;
  sum = sum * r + 1.0 / 6;
  sum = sum * r + 0.5;
  sum = sum * r + 1;
  sum = sum * r + 1;
  const double power =
      __builtin_bit_cast(double, (__builtin_bit_cast(uint64_t, shifted) + 1023) << 52);
  return x < -708 ? 0 : sum * power;
}

struct Candidate {
  float logit;
  int32_t token;
};

/// The random sequence that Random::seed gives samplers.
constexpr uint64_t sampler_stream = 54;

struct Sampler {
  ingot_sampling parameters;
  Random random;
  Candidate *candidates = nullptr; ///< [vocab_size] scratch
  float *penalized = nullptr;      ///< [vocab_size] scratch
  uint32_t *seen = nullptr;        ///< [(vocab_size + 31) / 32] bits, all 0 between calls
  double *weights = nullptr;       ///< [vocab_size] scratch

  /// Bytes of scratch, 64-byte aligned, zeroed, for `attach`.
  static uint64_t scratch_bytes(int32_t vocab_size);
  void attach(void *scratch, int32_t vocab_size);

  /// INGOT_BAD_ARGUMENT when a parameter is out of range.
  ingot_status set(const ingot_sampling &sampling);

  /// logits [vocab_size]; history [history_count] the tokens so far, for the repetition penalty.
  /// INGOT_BAD_LOGITS when there is nothing to pick.
  ingot_status sample(const float *logits, int32_t vocab_size, const int32_t *history,
                      int32_t history_count, int32_t *token);
};

} // namespace ingot::runtime
