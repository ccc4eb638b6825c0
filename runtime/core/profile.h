// Where the time of steps goes (--profile). Steps call ingot_profile_mark on every thread behind
// each launch and each barrier; a mark is a time stamp and nothing else. When the step is over, its
// stamps are added up by what the manifest says was launched (manifest Step.launches), and kept for
// the trace while there is room.
//
// Times are sums over the threads. Of each thread every nanosecond of a step belongs to one of: the
// start (until the thread has begun), a kernel, waiting at a barrier, the end (until all are done).
#pragma once

#include "runtime/core/device.h"
#include "runtime/core/thread_pool.h"
#include "runtime/manifest_generated.h"

namespace ingot::runtime {

/// The factors of manifest::Terms, summed over calls of a kernel.
struct CostFactors {
  uint64_t calls = 0, tokens = 0, positions = 0, keys = 0;

  void add(int32_t count, int32_t position);
  void add(const CostFactors &other);
};
uint64_t evaluate(const manifest::Terms *terms, const CostFactors &factors);

struct StepCost {
  CostFactors step;      ///< of kernels that take all tokens of the step
  CostFactors one_token; ///< of kernels that take one
  CostFactors sequences; ///< of one kernel for each sequence

  const CostFactors &of(const manifest::Kernel &kernel, const manifest::Launch &launch) const {
    return launch.per_sequence() ? sequences : kernel.one_token() ? one_token : step;
  }
};

struct ProfileRow {
  uint64_t launches = 0;
  uint64_t kernel_ns = 0;
  uint64_t wait_ns = 0; ///< at the barriers behind these launches
  CostFactors factors;
};

/// What is reported together: the steps of a prompt, or those of decoding.
struct ProfilePhase {
  uint64_t steps = 0;
  uint64_t step_ns = 0;          ///< from call to return
  uint64_t start_ns = 0;         ///< from the call until a thread begins
  uint64_t end_ns = 0;           ///< from a thread's last mark until the return
  ProfileRow *kernels = nullptr; ///< [kernels of the manifest]
  ProfileRow *layers = nullptr;  ///< [layers + 2], see layer_row
};
constexpr int32_t profile_phases = 3;

/// A step in the trace; threads * (launches + 1) stamps follow it.
struct TracedStep {
  uint64_t begin, end;
  int32_t step; ///< index into Manifest.steps
  int32_t tokens, position;
  StepCost cost;
};

/// Indices into Manifest.steps.
constexpr int32_t decode_step = 0, prefill_step = 1, score_step = 2, first_batch_step = 3;

/// Index into ProfilePhase::layers: those before the first layer, the layers, those behind.
int32_t layer_row(int32_t layer, int32_t layers);

} // namespace ingot::runtime

struct ingot_profile {
  struct alignas(64) Thread {
    uint64_t *next, *end; ///< where its next time stamp goes
  };

  const ingot::manifest::Manifest *manifest;
  uint64_t mapped_bytes;
  int32_t threads, stamps_per_thread;
  Thread *thread;   ///< [threads]
  uint64_t *stamps; ///< [threads][stamps_per_thread] of the step that runs
  ingot_step_fn step;
  ingot::runtime::ProfilePhase phases[ingot::runtime::profile_phases];
  ingot::runtime::ProfilePhase *phase; ///< that steps are added to; null: off
  uint64_t own_ns;                     ///< spent on adding up, between steps
  /// Called behind each launch and barrier with its index, where there is one thread; or null.
  void (*watch)(void *user, int32_t launch);
  void *watch_user;
  bool broken; ///< a step's marks were not as many as the manifest has launches

  bool tracing; ///< keep the steps from now on
  uint8_t *trace;
  uint64_t trace_capacity, trace_bytes;
  uint64_t steps_left_out; ///< of the trace, which was full
};

namespace ingot::runtime {

/// In a mapping of its own. Null when the system refuses. `trace_capacity` in bytes.
ingot_profile *create_profile(const manifest::Manifest &manifest, int32_t threads,
                              uint64_t trace_capacity);
void destroy_profile(ingot_profile *profile);

/// What runs a step: the pool, or a device where there is one.
struct Runner {
  ThreadPool &pool;
  ingot_step_fn step;
  const ingot_device *device;
  ingot_device_session *session;
  bool batch = false; ///< each token is of a sequence of its own
};
/// Runs a step (index into Manifest.steps). With a profile that is on, sets the context's and adds
/// the step to it.
ingot_status run_profiled(ingot_profile *profile, const Runner &runner, int32_t index,
                          ingot_step_context &context);
/// What a device calls, in order, for the beginning, each launch and each barrier of a step.
void stamp(ingot_profile *profile, uint64_t ns);

/// The step behind `previous` in the trace (null: the first); null behind the last. A thread's
/// stamps are stamps_of(step)[thread * (launches + 1)] and on.
const TracedStep *next_traced(const ingot_profile &profile, const TracedStep *previous);
int32_t launch_count(const ingot_profile &profile, int32_t step);
inline const uint64_t *stamps_of(const TracedStep &step) {
  return reinterpret_cast<const uint64_t *>(&step + 1);
}

} // namespace ingot::runtime
