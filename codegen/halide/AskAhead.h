// Requests for memory ahead of its use, in code that Halide has lowered.
#pragma once

#include "codegen/halide/Schedule.h"

namespace ingot {

/// Has the loops of `asks` ask for their lines. `asks` must outlive the compilation of `pipeline`.
void askAhead(Halide::Pipeline &pipeline, const std::vector<AskAhead> &asks);

} // namespace ingot
