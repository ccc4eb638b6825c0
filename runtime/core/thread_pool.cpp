// The thread pool and the barrier that steps call (thread_pool.h).
#include "runtime/core/thread_pool.h"

/// Cache lines that a waiting thread asks for between two looks at the barrier.
static constexpr int32_t lines_a_spin = 4;

extern "C" void ingot_barrier_wait(ingot_barrier *barrier, int32_t thread, int32_t threads,
                                   const void *next, uint64_t next_bytes) {
  (void)thread;
  if (threads <= 1)
    return;
  // Read before arriving: the round cannot end without us.
  const uint32_t round = barrier->round.load(std::memory_order_relaxed);
  if (barrier->arrived.fetch_add(1, std::memory_order_acq_rel) ==
      static_cast<uint32_t>(threads) - 1) {
    barrier->arrived.store(0, std::memory_order_relaxed);
    barrier->round.store(round + 1, std::memory_order_release);
    return;
  }
  const auto *ahead = static_cast<const uint8_t *>(next), *const end = ahead + next_bytes;
  for (uint32_t spins = 0; barrier->round.load(std::memory_order_acquire) == round;) {
    if (spins < barrier->spins) {
      ++spins;
      if (ahead < end) {
        for (int32_t line = 0; line < lines_a_spin; ++line)
          __builtin_prefetch(ahead + line * 64, 0, 2);
        ahead += lines_a_spin * 64;
      } else {
        ingot::platform::pause();
      }
    } else {
      ingot::platform::yield();
    }
  }
}

namespace ingot::runtime {
namespace {

// A frame of a kernel may be larger than one guard page, and its first write may be far down.
constexpr uint64_t stack_guard_bytes = 1u << 20;
constexpr uint64_t idle_spin_ns = 80 * 1000; ///< longer than the gap between two decode steps
// After this many rounds of `pause` (some 40 cycles each) at a barrier, the thread that we wait for
// has probably lost its core.
constexpr uint32_t barrier_spins = 1024;

/// Waits until the generation differs from `seen`: spins first, then sleeps.
uint32_t next_generation(ThreadPool &pool, uint32_t seen) {
  const uint64_t until = platform::clock_ns() + (pool.crowded ? 0 : idle_spin_ns);
  do {
    for (int32_t i = 0; i < 64; ++i) {
      const uint32_t now = pool.generation.load(std::memory_order_acquire);
      if (now != seen)
        return now;
      platform::pause();
    }
  } while (platform::clock_ns() < until);
  // The caller writes `generation` and then reads `sleepers`; we write `sleepers` and then (inside
  // the wait) read `generation`. In one total order, one of the two sees the other.
  pool.sleepers.fetch_add(1, std::memory_order_seq_cst);
  uint32_t now;
  while ((now = pool.generation.load(std::memory_order_seq_cst)) == seen)
    platform::wait_while_equal(reinterpret_cast<const uint32_t *>(&pool.generation), seen);
  pool.sleepers.fetch_sub(1, std::memory_order_seq_cst);
  return now;
}

void *worker_main(void *argument) {
  auto &worker = *static_cast<ThreadPool::Worker *>(argument);
  ThreadPool &pool = *worker.pool;
  if (pool.idle_work)
    pool.idle_work(pool.idle_argument);
  uint32_t seen = 0;
  for (;;) {
    seen = next_generation(pool, seen);
    if (pool.ending)
      return nullptr;
    pool.step(pool.context, worker.index, pool.threads);
    ingot_barrier_wait(&pool.barrier, worker.index, pool.threads, nullptr, 0);
  }
}

void advance(ThreadPool &pool) {
  pool.generation.fetch_add(1, std::memory_order_seq_cst);
  if (pool.sleepers.load(std::memory_order_seq_cst))
    platform::wake_all(reinterpret_cast<const uint32_t *>(&pool.generation));
}

void unmap_stack(ThreadPool::Worker &worker) {
  platform::unmap_memory(worker.stack, platform::step_stack_bytes, stack_guard_bytes);
  worker.stack = nullptr;
}

void run_share(void *argument) {
  auto &worker = *static_cast<ThreadPool::Worker *>(argument);
  ThreadPool &pool = *worker.pool;
  pool.step(pool.context, worker.index, pool.threads);
}

/// What an executor calls.
void run_share_of(void *argument, int32_t index) {
  auto &worker = static_cast<ThreadPool *>(argument)->workers[index];
  platform::call_on_stack(worker.stack, platform::step_stack_bytes, run_share, &worker);
}

} // namespace

static_assert(sizeof(std::atomic<uint32_t>) == sizeof(uint32_t));

bool ThreadPool::start(int32_t count, void (*work)(void *), void *argument) {
  threads = 0;
  no_memory = false;
  crowded = count > platform::core_count();
  barrier.spins = crowded ? 0 : barrier_spins;
  idle_work = work;
  idle_argument = argument;
  for (int32_t i = 0; i < count; ++i) {
    workers[i].pool = this;
    workers[i].index = i;
    workers[i].stack = platform::map_memory(platform::step_stack_bytes, stack_guard_bytes);
    if (!workers[i].stack ||
        (i && !executor.run &&
         !platform::start_thread(&workers[i].thread, workers[i].stack, platform::step_stack_bytes,
                                 worker_main, &workers[i]))) {
      no_memory = !workers[i].stack;
      unmap_stack(workers[i]);
      stop();
      return false;
    }
    threads = i + 1; // workers read it only after the first run
  }
  return true;
}

void ThreadPool::stop() {
  ending = true;
  advance(*this);
  for (int32_t i = 1; i < threads && !executor.run; ++i)
    platform::join_thread(workers[i].thread);
  for (int32_t i = 0; i < threads; ++i)
    unmap_stack(workers[i]);
  threads = 0;
}

void ThreadPool::run(ingot_step_fn function, const ingot_step_context *arguments) {
  step = function;
  context = arguments;
  if (executor.run) {
    executor.run(executor.user, run_share_of, this, threads);
    return;
  }
  if (threads > 1)
    advance(*this);
  run_share_of(this, 0);
  ingot_barrier_wait(&barrier, 0, threads, nullptr, 0);
}

} // namespace ingot::runtime
