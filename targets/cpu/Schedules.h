// The schedules of processors with vector registers, one function per family of stages.
#pragma once

#include "codegen/halide/Schedule.h"
#include "targets/cpu/CpuTarget.h"

namespace ingot {

void scheduleLinear(ScheduleRequest &request, const Machine &machine, LinearStage &stage,
                    OutputStage &output);
void scheduleAttention(ScheduleRequest &request, const Machine &machine, AttentionStage &stage,
                       OutputStage &output);
/// The largest of something, side by side in vectors, wherever `consumer` needs it.
void schedulePeak(PeakStage &stage, Halide::Func consumer, Halide::Var at);
/// Norms and quantizations of rows, and outputs that are cut by tokens.
void scheduleRows(ScheduleRequest &request);

/// The largest power of two that is at most `value` and `most`.
int32_t lanesFor(int64_t value, int32_t most = 16);

} // namespace ingot
