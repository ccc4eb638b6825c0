// Times one kernel with every tile that its target has for it.
#pragma once

#include "codegen/cache/KernelCache.h"
#include "support/Files.h"
#include "targets/Target.h"

#include <chrono>
#include <optional>

namespace ingot {

struct CandidateTime {
  Tile tile;
  double nanoseconds = 0; ///< median, of all slices
  double estimate = 0;    ///< what the machine model says of it
};

struct KernelTimes {
  std::vector<CandidateTime> candidates;
  size_t model = 0; ///< the candidate that Target::tile chooses
  size_t best = 0;  ///< the fastest, where it is clearly faster than `model`; else `model`
  int32_t tokens = 1, position = 0; ///< what was measured
};

using TuneClock = std::chrono::steady_clock;

/// Compiles, loads and times the candidates, with nothing beside the measurements. Nothing when
/// `deadline` passes first. An error when two tiles give different bits.
llvm::Expected<std::optional<KernelTimes>>
measureKernel(const KernelSpec &spec, const Target &target, const KernelCache &cache,
              const ScratchFolder &scratch, TuneClock::time_point deadline);

} // namespace ingot
