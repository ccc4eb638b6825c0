// Measures how many multiply-adds of 8-bit integers N threads do together, with operands in
// registers: the other roof, over prefill.
//
//   peak_macs THREADS                prints GMAC/s (1e9), the best of the passes
//
// With VNNI one instruction does four multiply-adds per 32-bit lane. Without, the products of 8-bit
// integers are added in pairs to 16 bits (maddubs) and those are added up in 16 bits: what kernels
// for 4-bit codes can do at most, since they must widen to 32 bits now and then.
#include <algorithm>
#include <barrier>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

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
int32_t multiply(long thread) {
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
  int32_t total = 0;
  for (const Vector &sum : sums)
    total += reinterpret_cast<const int32_t *>(&sum)[0];
  return total;
}

} // namespace

int main(int argc, char **argv) {
  const long threads = argc > 1 ? std::strtol(argv[1], nullptr, 10) : 0;
  if (threads < 1 || threads > 1024) {
    std::fprintf(stderr, "usage: peak_macs THREADS\n");
    return 2;
  }
  std::barrier meet(threads + 1);
  std::vector<int32_t> totals(threads);
  std::vector<std::thread> workers;
  for (long t = 0; t < threads; ++t)
    workers.emplace_back([&, t] {
      for (int pass = 0; pass < kPasses; ++pass) {
        meet.arrive_and_wait();
        totals[t] += multiply(t);
        meet.arrive_and_wait();
      }
    });
  const double macs = double(threads) * kSteps * kSums * sizeof(Vector);
  double best = 0;
  for (int pass = 0; pass < kPasses; ++pass) {
    meet.arrive_and_wait();
    auto start = std::chrono::steady_clock::now();
    meet.arrive_and_wait();
    std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    best = std::max(best, macs / seconds.count() / 1e9);
  }
  for (std::thread &worker : workers)
    worker.join();
  // Reading the totals is what keeps the work; their value says nothing.
  std::printf("%.1f\n", totals[0] == INT32_MIN ? 0.0 : best);
  return 0;
}
