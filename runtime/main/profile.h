// --profile: what is measured, and its output as text, JSON and a trace.
#pragma once

#include "runtime/main/command.h"

namespace ingot::runtime {

/// One phase of the workload, as it is reported: times and counts are those of a unit.
struct PhaseReport {
  const char *name, *unit;   ///< "decode", "token"
  int32_t tokens;            ///< evaluated in each repetition
  uint64_t units;            ///< how many were measured
  uint64_t elapsed_ns = 0;   ///< of all of them
  const ProfilePhase *phase; ///< what their steps did
};

void print_profile(Writer &out, const ingot_profile &profile, const PhaseReport &report);
void print_profile_json(Writer &out, const ingot_profile &profile, const PhaseReport &report);

/// The kept steps in the Trace Event Format: a track for each thread, on it a slice for each step,
/// and in that one for each launch and each barrier.
void print_trace(Writer &out, const ingot_profile &profile);

} // namespace ingot::runtime
