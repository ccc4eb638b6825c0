// Measures how fast N threads together read memory: the roof over decode, which reads all weights
// for each token.
//
//   read_bandwidth THREADS [MIB]     prints GB/s (1e9 bytes), the best of the passes
//
// Each thread reads its own part of one buffer (512 MiB by default, far over any cache). The buffer
// is anonymous memory in huge pages where the system gives them; the thread that reads a part
// writes it first. A part is read as 1, 2, 4 and 8 streams at once, each from front to back, and
// the fastest counts: hardware fetches ahead within one page of a stream, so one stream does not
// keep as many reads in flight as a core can have.
#include "together.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <memory>

#include <sys/mman.h>

namespace {

constexpr int kPasses = 6;               // of each number of streams
constexpr int kStreams[] = {1, 2, 4, 8}; // that a thread reads at once
constexpr size_t kHugePage = 2 << 20;
constexpr size_t kLane = 8;  // words of one 64-byte vector
constexpr size_t kLanes = 8; // independent sums, so that additions do not wait for each other

/// Sums `streams` streams of `count` words each, a multiple of kLane * kLanes, that lie one behind
/// the other: as fast as they can be loaded.
uint64_t sum(const uint64_t *words, size_t count, int streams) {
  typedef uint64_t Vector __attribute__((vector_size(64)));
  Vector sums[kLanes] = {};
  const auto *vectors = reinterpret_cast<const Vector *>(words);
  for (size_t i = 0; i < count / kLane; i += kLanes)
    for (int stream = 0; stream < streams; ++stream)
      for (size_t j = 0; j < kLanes; ++j)
        sums[j] += vectors[stream * (count / kLane) + i + j];
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
  const size_t step = kLane * kLanes * kStreams[std::size(kStreams) - 1];
  const size_t words = (size_t(mebibytes) << 20) / sizeof(uint64_t);
  const size_t part = words / threads / step * step; // words per thread
  std::unique_ptr<uint64_t, decltype(&std::free)> buffer(
      static_cast<uint64_t *>(std::aligned_alloc(
          kHugePage, (words * sizeof(uint64_t) + kHugePage - 1) / kHugePage * kHugePage)),
      std::free);
  if (!buffer) {
    std::fprintf(stderr, "error: no memory for %ld MiB\n", mebibytes);
    return 1;
  }
  // A wish: without huge pages the figure is lower, as it is for programs there.
  madvise(buffer.get(), words * sizeof(uint64_t), MADV_HUGEPAGE);

  std::vector<uint64_t> sums(threads); // kept, so that the reads are not optimized away
  const long passes = 1 + kPasses * long(std::size(kStreams));
  const auto seconds = timeTogether(threads, passes, [&](long thread, long pass) {
    uint64_t *begin = buffer.get() + thread * part;
    if (pass == 0) {
      std::fill(begin, begin + part, uint64_t(thread));
      return;
    }
    const int streams = kStreams[(pass - 1) / kPasses];
    sums[thread] += sum(begin, part / streams, streams);
  });
  for (long t = 0; t < threads; ++t)
    if (sums[t] != uint64_t(t) * part * (passes - 1)) {
      std::fprintf(stderr, "error: thread %ld read something else than it wrote\n", t);
      return 1;
    }
  const double best = *std::min_element(seconds.begin() + 1, seconds.end());
  std::printf("%.2f\n", threads * part * sizeof(uint64_t) / best / 1e9);
  return 0;
}
