// Which cores are worth a share of a step, apart from the asking, so that tests can pretend.
#pragma once

#include <stdint.h>

namespace ingot::platform {

/// How many of the cores should take equal shares. Threads wait for the last one, so a little core
/// beside big ones would hold them up: those of less than half the largest capacity stay out.
int32_t equal_cores(const int32_t *capacities, int32_t count);

} // namespace ingot::platform
