// The kernels that programs for Hexagon have as functions of their runtime (runtime/*.h).
#pragma once

#include "targets/Target.h"

namespace ingot::hexagon {

/// See Target::kernelCode.
std::string kernelCode(const KernelSpec &spec, const Machine &machine);

} // namespace ingot::hexagon
