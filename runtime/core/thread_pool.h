// The threads of a session: they start once, run every step together (SPMD) and spin a while
// between steps before they sleep, because a fork and join by system calls costs as much as a small
// kernel.
//
// Invariants
//   1. `generation` grows by one for every run; a worker runs each generation once.
//   2. A run ends when all threads have met at the barrier; only then does the caller go on, so the
//      context of a run may live on the caller's stack.
//   3. Only the thread that calls `run` writes `step`, `context` and `generation`.
#pragma once

#include "runtime/core/program.h"
#include "runtime/include/ingot.h"
#include "runtime/platform/platform.h"

#include <atomic>

/// All threads of a run meet here. The last one to arrive opens the next round.
struct ingot_barrier {
  alignas(64) std::atomic<uint32_t> arrived{0};
  alignas(64) std::atomic<uint32_t> round{0};
  uint32_t spins = 0; ///< rounds of `pause` before a waiting thread gives its core away
};

namespace ingot::runtime {

constexpr int32_t max_threads = 256;

struct ThreadPool {
  struct Worker {
    ThreadPool *pool;
    platform::Thread thread;
    void *stack;
    int32_t index;
  };

  alignas(64) std::atomic<uint32_t> generation{0};
  alignas(64) std::atomic<uint32_t> sleepers{0};
  alignas(64) ingot_step_fn step = nullptr;
  const ingot_step_context *context = nullptr;
  bool ending = false;
  bool crowded = false;   ///< more threads than cores: waiting threads give way at once
  bool no_memory = false; ///< what the system refused to `start`: a stack, or else a thread
  int32_t threads = 1;    ///< the caller included
  void (*idle_work)(void *) = nullptr; ///< each worker calls it once when it starts
  void *idle_argument = nullptr;
  ingot_executor executor = {}; ///< whose threads run the shares; null: the pool's own
  ingot_barrier barrier;
  Worker workers[max_threads]; ///< [0] has only the stack that the caller's share runs on

  /// Reserves a stack for every thread's share of a step and, without an executor, starts
  /// threads - 1 workers.
  /// False when the system refuses; everything is given back then.
  bool start(int32_t threads, void (*idle_work)(void *), void *idle_argument);
  void stop();

  /// Runs step(context, thread, threads) on every thread; the caller is thread 0. Returns when all
  /// are done. One caller at a time. `context->barrier` must be this pool's barrier.
  void run(ingot_step_fn step, const ingot_step_context *context);
};

} // namespace ingot::runtime
