// The schedules of Hexagon for what its runtime has no function for.
#pragma once

#include "codegen/halide/Schedule.h"

namespace ingot::hexagon {

void schedule(ScheduleRequest &request);

} // namespace ingot::hexagon
