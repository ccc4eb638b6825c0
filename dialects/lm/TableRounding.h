// Rounding to formats whose codes are places in a table of numbers (IQ4_NL, MXFP4).
#pragma once

#include "dialects/lm/Encoding.h"

#include <array>
#include <vector>

namespace ingot {

constexpr int table_group = 32; ///< elements of a group, of every format with a table

/// Rounds groups to the numbers of a table times a scale. It takes the scale of least squared error
/// for a group, of both signs and all ways in which its largest element may be near one of the
/// table's outer numbers: each is tried, and then the scale that has the least error for the
/// numbers that this one gave.
class TableRounding {
public:
  explicit TableRounding(const Encoding &encoding);
  /// Writes the scale at `out` and what is stored for each of the table_group elements.
  void round(const float *x, uint8_t *out, uint8_t *stored) const;

private:
  struct Rounded;
  /// With the scale that is stored for `wanted`; sums are of elements times `by_unit`.
  Rounded with(const std::array<float, table_group> &x, float wanted, float by_unit) const;

  const Encoding &encoding;
  const bool power;
  std::vector<float> numbers, middles, gaps; ///< in order; between each and the next
};

} // namespace ingot
