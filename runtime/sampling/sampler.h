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

/// e^x for x <= 0 with a relative error below 1e-13; 0 below -708, 1 above 0.
double exp_of_negative(double x);

struct Candidate {
  float logit;
  int32_t token;
};

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
