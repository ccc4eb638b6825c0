// The schedules of Hexagon: products of bytes in vectors, floats one by one.
#pragma once

#include "codegen/halide/Schedule.h"

namespace ingot::hexagon {

void schedule(ScheduleRequest &request);

} // namespace ingot::hexagon
