// The kernels that programs for Hexagon have as functions of their runtime (runtime/*.h).
#pragma once

#include "targets/Target.h"

namespace ingot::hexagon {

/// See Target::kernelCode.
std::string kernelCode(const KernelSpec &spec, const Machine &machine);

/// Contexts of threads that have vectors at once (TVM's hexagon target counts 4, too).
constexpr int64_t vector_threads = 4;

/// How a linear layer of many tokens goes through its rows, two slices a unit.
struct LinearTile {
  int32_t units = 0;         ///< unpacked at once into a thread's share of lent memory
  int32_t tokens = 0;        ///< at once, where there is none: a unit is in the cache, too
  int32_t tokens_beside = 0; ///< at once, where there is some
  int64_t all_units = 0;
  int64_t unit_bytes = 0;  ///< unpacked
  int64_t token_bytes = 0; ///< codes
  int32_t pairs = 0;       ///< of blocks in a unit, each of which reads all tokens
  bool fits = false;       ///< a unit fits a thread's share of what the machine has to lend
};
LinearTile linearTile(const KernelSpec &spec, const Machine &machine);
/// See Target::nearUse.
NearUse nearUse(const KernelSpec &spec, const Machine &machine, int64_t tokens);

} // namespace ingot::hexagon
