// Measures how many multiply-adds of 8-bit integers N threads do together, with operands in
// registers: the other roof, over prefill.
//
//   peak_macs THREADS                prints GMAC/s (1e9), the best of the passes
//
// With VNNI one instruction does four multiply-adds per 32-bit lane. Without, the products of 8-bit
// integers are added in pairs to 16 bits (maddubs) and those are added up in 16 bits: what kernels
// for 4-bit codes can do at most, since they must widen to 32 bits now and then.
#include "together.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include <immintrin.h>

namespace {

constexpr int kPasses = 5;
constexpr long kSteps = 10'000'000;
constexpr int kSums = 12; // independent, so that additions do not wait for each other

#if defined(__AVX512VNNI__)
using Vector = __m512i;
Vector set(int value) { return _mm512_set1_epi8(char(value)); }
Vector multiplyAdd(Vector sum, Vector a, Vector b) { return _mm512_dpbusd_epi32(sum, a, b); }
#elif defined(__AVXVNNI__)
using Vector = __m256i;
Vector set(int value) { return _mm256_set1_epi8(char(value)); }
Vector multiplyAdd(Vector sum, Vector a, Vector b) { return _mm256_dpbusd_avx_epi32(sum, a, b); }
#elif defined(__AVX2__)
using Vector = __m256i;
Vector set(int value) { return _mm256_set1_epi8(char(value)); }
Vector multiplyAdd(Vector sum, Vector a, Vector b) {
  return _mm256_add_epi16(sum, _mm256_maddubs_epi16(a, b));
}
#else
#error "peak_macs.cpp needs AVX2"
#endif

/// kSteps * kSums vectors of multiply-adds; the result is of no use but keeps them.
uint32_t multiply(long thread) {
  Vector sums[kSums];
  for (int i = 0; i < kSums; ++i)
    sums[i] = set(i);
  Vector a = set(int(thread) + 1);
  const Vector b = set(3);
  for (long step = 0; step < kSteps; ++step) {
    for (Vector &sum : sums) {
      // Hides from the compiler that this is the product it has already.
      asm volatile("" : "+x"(a));
      sum = multiplyAdd(sum, a, b);
    }
  }
  uint32_t total = 0;
  for (const Vector &sum : sums)
    total += reinterpret_cast<const uint32_t *>(&sum)[0];
  return total;
}

} // namespace

int main(int argc, char **argv) {
  const long threads = argc > 1 ? std::strtol(argv[1], nullptr, 10) : 0;
  if (threads < 1 || threads > 1024) {
    std::fprintf(stderr, "usage: peak_macs THREADS\n");
    return 2;
  }
  std::vector<uint32_t> totals(threads); // kept, so that the work is not optimized away
  const auto seconds = timeTogether(threads, kPasses,
                                    [&](long thread, long) { totals[thread] += multiply(thread); });
  const double best = *std::min_element(seconds.begin(), seconds.end());
  std::printf("%.1f\n", double(threads) * kSteps * kSums * sizeof(Vector) / best / 1e9);
  return 0;
}
