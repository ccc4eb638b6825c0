// What a kernel costs on a processor with one tile or another.
#pragma once

#include "targets/Target.h"

namespace ingot::cpu {

/// See Target::tileCandidates.
std::vector<Tile> tileCandidates(const Machine &machine, const KernelSpec &spec);
/// See Target::estimate.
double estimate(const Machine &machine, const KernelSpec &spec, int64_t tokens, int64_t position);
/// Vector registers that the innermost loop of a kernel with spec.tile uses at once; 0 where no
/// tile changes them.
int32_t registersInLoop(const Machine &machine, const KernelSpec &spec);

} // namespace ingot::cpu
