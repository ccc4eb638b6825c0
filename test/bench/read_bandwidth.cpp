// Measures how fast N threads together read memory: the roof over decode, which reads all weights
// for each token.
//
//   read_bandwidth THREADS [MIB]     prints GB/s (1e9 bytes), the best of the passes
//
// Each thread reads its own part of one buffer (512 MiB by default, far over any cache) from front
// to back, as kernels read weights. The buffer is written first by the thread that reads it.
#include <algorithm>
#include <barrier>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <thread>
#include <vector>

namespace {

constexpr int kPasses = 8;
constexpr size_t kLane = 8;  // words of one 64-byte vector
constexpr size_t kLanes = 8; // independent sums, so that additions do not wait for each other

/// Sums `count` words, a multiple of kLane * kLanes: as fast as they can be loaded.
uint64_t sum(const uint64_t *words, size_t count) {
  typedef uint64_t Vector __attribute__((vector_size(64)));
  Vector sums[kLanes] = {};
  const auto *vectors = reinterpret_cast<const Vector *>(words);
  for (size_t i = 0; i < count / kLane; i += kLanes)
    for (size_t j = 0; j < kLanes; ++j)
      sums[j] += vectors[i + j];
  uint64_t total = 0;
  for (const Vector &lanes : sums)
    for (size_t j = 0; j < kLane; ++j)
      total += lanes[j];
  return total;
}

} // namespace

int main(int argc, char **argv) {
  long threads = argc > 1 ? std::strtol(argv[1], nullptr, 10) : 0;
  long mebibytes = argc > 2 ? std::strtol(argv[2], nullptr, 10) : 512;
  if (threads < 1 || threads > 1024 || mebibytes < 1 || mebibytes > (1 << 20)) {
    std::fprintf(stderr, "usage: read_bandwidth THREADS [MIB]\n");
    return 2;
  }
  const size_t step = kLane * kLanes;
  const size_t words = (size_t(mebibytes) << 20) / sizeof(uint64_t);
  const size_t part = words / threads / step * step; // words per thread
  std::unique_ptr<uint64_t, decltype(&std::free)> buffer(
      static_cast<uint64_t *>(std::aligned_alloc(4096, words * sizeof(uint64_t))), std::free);
  if (!buffer) {
    std::fprintf(stderr, "error: no memory for %ld MiB\n", mebibytes);
    return 1;
  }

  std::barrier meet(threads + 1);
  std::vector<uint64_t> sums(threads); // kept, so that the reads are not optimized away
  std::vector<std::thread> readers;
  for (long t = 0; t < threads; ++t)
    readers.emplace_back([&, t] {
      uint64_t *begin = buffer.get() + t * part;
      std::fill(begin, begin + part, uint64_t(t));
      for (int pass = 0; pass < kPasses; ++pass) {
        meet.arrive_and_wait();
        sums[t] += sum(begin, part);
        meet.arrive_and_wait();
      }
    });

  double best = 0;
  for (int pass = 0; pass < kPasses; ++pass) {
    meet.arrive_and_wait();
    auto start = std::chrono::steady_clock::now();
    meet.arrive_and_wait();
    std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    best = std::max(best, threads * part * sizeof(uint64_t) / seconds.count() / 1e9);
  }
  for (std::thread &reader : readers)
    reader.join();
  for (long t = 0; t < threads; ++t)
    if (sums[t] != uint64_t(t) * part * kPasses) {
      std::fprintf(stderr, "error: thread %ld read something else than it wrote\n", t);
      return 1;
    }
  std::printf("%.2f\n", best);
  return 0;
}
