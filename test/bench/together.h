// Times work that several threads do at once.
#ifndef INGOT_TEST_BENCH_TOGETHER_H
#define INGOT_TEST_BENCH_TOGETHER_H

#include <algorithm>
#include <barrier>
#include <chrono>
#include <thread>
#include <vector>

/// Calls `work(thread, pass)` on `threads` threads for each of `passes` passes, which they begin
/// together; the seconds of each pass, from when the first thread begins to when the last one ends.
///
/// The threads themselves take the times. A thread that only waited for the others would have to
/// get a core to do that, late where every core has work: then its clock starts late, and with as
/// many threads as cores everything looks faster than it is.
template <typename Work> std::vector<double> timeTogether(long threads, long passes, Work work) {
  using Clock = std::chrono::steady_clock;
  struct Span {
    Clock::time_point begin, end;
  };
  std::vector<std::vector<Span>> spans(threads, std::vector<Span>(passes));
  std::barrier meet(threads);
  auto run = [&](long thread) {
    for (long pass = 0; pass < passes; ++pass) {
      meet.arrive_and_wait();
      spans[thread][pass].begin = Clock::now();
      work(thread, pass);
      spans[thread][pass].end = Clock::now();
    }
  };
  std::vector<std::thread> others;
  for (long thread = 1; thread < threads; ++thread)
    others.emplace_back(run, thread);
  run(0);
  for (std::thread &other : others)
    other.join();
  std::vector<double> seconds;
  for (long pass = 0; pass < passes; ++pass) {
    Span whole = spans[0][pass];
    for (const auto &of : spans) {
      whole.begin = std::min(whole.begin, of[pass].begin);
      whole.end = std::max(whole.end, of[pass].end);
    }
    seconds.push_back(std::chrono::duration<double>(whole.end - whole.begin).count());
  }
  return seconds;
}

#endif
