// The pool and its barrier under load: every thread runs every step once, and no thread passes a
// barrier early, with more threads than cores too.
#include "runtime/core/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <unistd.h>

using namespace ingot::runtime;

namespace {

struct Work {
  ingot_step_context context; ///< first: steps get a pointer to it
  int32_t rounds;
  std::atomic<int32_t> calls{0}, early{0};
  std::atomic<int64_t> arrived[8];
  std::atomic<int32_t> seen[8];
};

/// In every round a thread counts itself, meets the others, and then must see all of them.
void step(const ingot_step_context *context, int32_t thread, int32_t threads) {
  auto &work = *reinterpret_cast<Work *>(const_cast<ingot_step_context *>(context));
  work.calls.fetch_add(1);
  work.seen[thread].fetch_add(1);
  for (int32_t round = 0; round < work.rounds; ++round) {
    auto &arrived = work.arrived[round % 8];
    arrived.fetch_add(1, std::memory_order_relaxed);
    ingot_barrier_wait(context->barrier, thread, threads, nullptr, 0);
    if (arrived.load(std::memory_order_relaxed) % threads)
      work.early.fetch_add(1);
    ingot_barrier_wait(context->barrier, thread, threads, nullptr, 0);
  }
}

/// Writes over most of the stack that steps are promised.
void deep(const ingot_step_context *context, int32_t thread, int32_t) {
  auto &work = *reinterpret_cast<Work *>(const_cast<ingot_step_context *>(context));
  constexpr size_t bytes = 12u << 20;
  volatile char scratch[bytes];
  for (size_t i = 0; i < bytes; i += 4096)
    scratch[i] = static_cast<char>(thread);
  work.calls.fetch_add(scratch[bytes / 2 & ~size_t{4095}] == thread);
}

std::unique_ptr<ThreadPool> make_pool(int32_t threads) {
  auto pool = std::make_unique<ThreadPool>();
  EXPECT_TRUE(pool->start(threads, nullptr, nullptr));
  EXPECT_EQ(pool->threads, threads);
  return pool;
}

class Pool : public testing::TestWithParam<int32_t> {};

TEST_P(Pool, EveryThreadRunsEveryStepAndMeetsTheOthers) {
  const int32_t threads = GetParam();
  auto pool = make_pool(threads);
  Work work;
  work.context.barrier = &pool->barrier;
  work.rounds = 20;
  const int32_t steps = 100;
  for (int32_t i = 0; i < steps; ++i) {
    pool->run(step, &work.context);
    ASSERT_EQ(work.calls.load(), (i + 1) * threads); // run returns when all are done
  }
  for (int32_t i = 0; i < 8; ++i)
    EXPECT_EQ(work.seen[i].load(), i < threads ? steps : 0);
  EXPECT_EQ(work.early.load(), 0);
  pool->stop();
}

TEST_P(Pool, WakesUpAfterSleeping) {
  auto pool = make_pool(GetParam());
  Work work;
  work.context.barrier = &pool->barrier;
  work.rounds = 1;
  for (int32_t i = 0; i < 30; ++i) {
    usleep(static_cast<unsigned>(i * 20)); // around the time that a worker goes to sleep
    pool->run(step, &work.context);
  }
  EXPECT_EQ(work.calls.load(), 30 * GetParam());
  pool->stop();
}

TEST_P(Pool, GivesEveryThreadADeepStack) {
  auto pool = make_pool(GetParam());
  Work work;
  work.context.barrier = &pool->barrier;
  pool->run(deep, &work.context);
  EXPECT_EQ(work.calls.load(), GetParam());
  pool->stop();
}

INSTANTIATE_TEST_SUITE_P(Threads, Pool, testing::Range(1, 9));

void count_start(void *counter) { static_cast<std::atomic<int32_t> *>(counter)->fetch_add(1); }

TEST(Pool, WorkersDoTheirIdleWorkAndStopWithoutAnyStep) {
  std::atomic<int32_t> started{0};
  for (int32_t i = 0; i < 20; ++i) {
    ThreadPool pool;
    ASSERT_TRUE(pool.start(4, count_start, &started));
    pool.stop();
  }
  EXPECT_EQ(started.load(), 20 * 3);
}

} // namespace
