// Time stamps of a step and their sums (profile.h).
#include "runtime/core/profile.h"

#include <new>
#include <string.h>

using namespace ingot::runtime;
namespace platform = ingot::platform;

static void stamp_thread(ingot_profile *profile, int32_t thread, uint64_t ns) {
  ingot_profile::Thread &own = profile->thread[thread];
  if (own.next < own.end)
    *own.next = ns;
  ++own.next;
  // The first mark is the beginning of the step.
  if (const auto marks = own.next - profile->stamps; profile->watch && marks > 1)
    profile->watch(profile->watch_user, static_cast<int32_t>(marks) - 2);
}

extern "C" void ingot_profile_mark(ingot_profile *profile, int32_t thread) {
  stamp_thread(profile, thread, platform::clock_ns());
}

namespace ingot::runtime {
namespace {

uint64_t rounded(uint64_t bytes) { return (bytes + 63) / 64 * 64; }

/// What the pool runs: marks the beginning.
void run_marked(const ingot_step_context *context, int32_t thread, int32_t threads) {
  ingot_profile_mark(context->profile, thread);
  context->profile->step(context, thread, threads);
}

ingot_status run_unmarked(const Runner &runner, int32_t index, const ingot_step_context &context) {
  if (runner.device)
    return runner.device->run(runner.session, index, &context);
  runner.pool.run(runner.step, &context);
  return INGOT_OK;
}

StepCost cost_of(bool batch, const ingot_step_context &context) {
  StepCost cost;
  cost.step.add(context.token_count, context.position);
  cost.one_token.add(1, context.position);
  if (batch)
    for (int32_t i = 0; i < context.token_count; ++i)
      cost.sequences.add(1, context.positions[i]);
  return cost;
}

/// Adds the time stamps of one thread. Launches are counted once, with the first thread.
void add_thread(ingot_profile &profile, const manifest::Step &step, const TracedStep &run,
                int32_t thread) {
  ProfilePhase &phase = *profile.phase;
  const uint64_t *stamp = profile.stamps + static_cast<int64_t>(thread) * profile.stamps_per_thread;
  const int32_t layers = profile.manifest->model()->layers();
  phase.start_ns += *stamp - run.begin;
  ProfileRow *kernel = nullptr; // of the last launch
  for (const manifest::Launch *launch : *step.launches()) {
    const uint64_t time = stamp[1] - stamp[0];
    ++stamp;
    ProfileRow &layer = phase.layers[layer_row(launch->layer(), layers)];
    if (launch->kernel() < 0) {
      (kernel ? kernel->wait_ns : phase.start_ns) += time;
      if (kernel)
        layer.wait_ns += time;
      continue;
    }
    kernel = phase.kernels + launch->kernel();
    kernel->kernel_ns += time;
    layer.kernel_ns += time;
    if (thread)
      continue;
    const auto index = static_cast<uint32_t>(launch->kernel());
    ++kernel->launches;
    ++layer.launches;
    kernel->factors.add(run.cost.of(*profile.manifest->kernels()->Get(index), *launch));
  }
  phase.end_ns += run.end - *stamp;
}

void keep_for_trace(ingot_profile &profile, const TracedStep &run, int32_t stamps) {
  const uint64_t bytes =
      sizeof run + static_cast<uint64_t>(profile.threads) * static_cast<uint64_t>(stamps) * 8;
  // Once a step is left out, all behind it are: a trace ends, it has no holes.
  if (profile.steps_left_out || bytes > profile.trace_capacity - profile.trace_bytes) {
    ++profile.steps_left_out;
    return;
  }
  uint8_t *at = profile.trace + profile.trace_bytes;
  new (at) TracedStep(run);
  at += sizeof run;
  const size_t of_thread = static_cast<size_t>(stamps) * 8;
  for (int32_t thread = 0; thread < profile.threads; ++thread, at += of_thread)
    memcpy(at, profile.stamps + static_cast<int64_t>(thread) * profile.stamps_per_thread,
           of_thread);
  profile.trace_bytes += bytes;
}

} // namespace

void CostFactors::add(int32_t count, int32_t position) {
  const auto t = static_cast<uint64_t>(count), p = static_cast<uint64_t>(position);
  add({1, t, p, t * p + t * (t + 1) / 2});
}

void CostFactors::add(const CostFactors &other) {
  calls += other.calls;
  tokens += other.tokens;
  positions += other.positions;
  keys += other.keys;
}

uint64_t evaluate(const manifest::Terms *terms, const CostFactors &factors) {
  if (!terms)
    return 0;
  return static_cast<uint64_t>(terms->fixed()) * factors.calls +
         static_cast<uint64_t>(terms->per_token()) * factors.tokens +
         static_cast<uint64_t>(terms->per_position()) * factors.positions +
         static_cast<uint64_t>(terms->per_key()) * factors.keys;
}

int32_t layer_row(int32_t layer, int32_t layers) {
  return layer == -1 ? 0 : layer >= 0 && layer < layers ? layer + 1 : layers + 1;
}

int32_t launch_count(const ingot_profile &profile, int32_t step) {
  return static_cast<int32_t>(
      profile.manifest->steps()->Get(static_cast<uint32_t>(step))->launches()->size());
}

ingot_profile *create_profile(const manifest::Manifest &manifest, int32_t threads,
                              uint64_t trace_capacity) {
  uint64_t longest = 0;
  for (const manifest::Step *step : *manifest.steps())
    if (step->launches()->size() > longest)
      longest = step->launches()->size();
  const uint64_t stamps = longest + 1; // and the beginning
  const auto count = static_cast<uint64_t>(threads);
  const uint64_t layers = static_cast<uint64_t>(manifest.model()->layers()) + 2;
  const uint64_t phase_bytes = (manifest.kernels()->size() + layers) * sizeof(ProfileRow);
  const uint64_t header = rounded(sizeof(ingot_profile)),
                 states = count * sizeof(ingot_profile::Thread),
                 rows = rounded(profile_phases * phase_bytes),
                 stamp_bytes = rounded(count * stamps * 8);
  const uint64_t bytes = header + states + rows + stamp_bytes + trace_capacity;
  auto *memory = static_cast<uint8_t *>(platform::map_memory(bytes));
  if (!memory)
    return nullptr;
  auto *profile = new (memory) ingot_profile{};
  profile->manifest = &manifest;
  profile->mapped_bytes = bytes;
  profile->threads = threads;
  profile->stamps_per_thread = static_cast<int32_t>(stamps);
  profile->thread = reinterpret_cast<ingot_profile::Thread *>(memory + header);
  auto *row = reinterpret_cast<ProfileRow *>(memory + header + states);
  for (ProfilePhase &phase : profile->phases) {
    phase.kernels = row;
    phase.layers = row + manifest.kernels()->size();
    row = phase.layers + layers;
  }
  profile->stamps = reinterpret_cast<uint64_t *>(memory + header + states + rows);
  profile->trace = memory + header + states + rows + stamp_bytes;
  profile->trace_capacity = trace_capacity;
  return profile;
}

void destroy_profile(ingot_profile *profile) {
  if (profile)
    platform::unmap_memory(profile, profile->mapped_bytes);
}

void stamp(ingot_profile *profile, uint64_t ns) { stamp_thread(profile, 0, ns); }

ingot_status run_profiled(ingot_profile *profile, const Runner &runner, int32_t index,
                          ingot_step_context &context) {
  if (!profile || !profile->phase)
    return run_unmarked(runner, index, context);
  context.profile = profile;
  profile->step = runner.step;
  for (int32_t thread = 0; thread < profile->threads; ++thread) {
    uint64_t *first = profile->stamps + static_cast<int64_t>(thread) * profile->stamps_per_thread;
    profile->thread[thread] = {first, first + profile->stamps_per_thread};
  }
  TracedStep run{};
  run.step = index;
  run.tokens = context.token_count;
  run.position = context.position;
  run.cost = cost_of(runner.batch, context);
  run.begin = platform::clock_ns();
  if (runner.device) {
    if (ingot_status status = runner.device->run(runner.session, index, &context))
      return status;
  } else {
    runner.pool.run(run_marked, &context);
  }
  run.end = platform::clock_ns();

  const manifest::Step &launched = *profile->manifest->steps()->Get(static_cast<uint32_t>(index));
  const int32_t stamps = launch_count(*profile, index) + 1;
  for (int32_t thread = 0; thread < profile->threads; ++thread)
    if (profile->thread[thread].next !=
        profile->stamps + static_cast<int64_t>(thread) * profile->stamps_per_thread + stamps) {
      profile->broken = true;
      return INGOT_OK;
    }
  ++profile->phase->steps;
  profile->phase->step_ns += run.end - run.begin;
  for (int32_t thread = 0; thread < profile->threads; ++thread)
    add_thread(*profile, launched, run, thread);
  if (profile->tracing)
    keep_for_trace(*profile, run, stamps);
  profile->own_ns += platform::clock_ns() - run.end;
  return INGOT_OK;
}

const TracedStep *next_traced(const ingot_profile &profile, const TracedStep *previous) {
  const uint8_t *at = profile.trace;
  if (previous)
    at = reinterpret_cast<const uint8_t *>(stamps_of(*previous) +
                                           static_cast<int64_t>(profile.threads) *
                                               (launch_count(profile, previous->step) + 1));
  return at < profile.trace + profile.trace_bytes ? reinterpret_cast<const TracedStep *>(at)
                                                  : nullptr;
}

} // namespace ingot::runtime
