// The formats and the layout of weights that all machines share so far: blocks of 16 rows, 4
// elements of a row side by side. Programs for several of them have their weights once.
#pragma once

#include "dialects/kernel/KernelSpec.h"

namespace ingot {

/// Target::legalEncoding: as it is stored, but for floats of scales that none of the layouts has.
Encoding storedEncoding(const Encoding &stored);
/// Target::packedLayout.
PackedLayout blockLayout(const Encoding &encoding);

} // namespace ingot
