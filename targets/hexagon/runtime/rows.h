// What works on one row at a time: norms and codes of activations.
#pragma once

#include <stdint.h>

namespace ingot::hexagon {

/// Codes for each group of columns, times 1 / rms and a gain where there is one. Of codes of 16
/// bits, a group's high bytes come first (signed), then its low ones (unsigned).
struct QuantizeShape {
  int32_t width;  ///< a multiple of the group
  int32_t group;  ///< 16 or 32 columns
  int32_t planes; ///< bytes of a code: 1 or 2
  float eps, inverse_width;
};

/// Of `count` rows from `first` on. `gain`: null: they are no norm's. The results are those of the
/// first of them onwards.
extern "C" void ingot_hexagon_quantize(const QuantizeShape *shape, const float *x,
                                       const float *gain, int8_t *codes, float *scales,
                                       int32_t *sums, int32_t first, int32_t count);

} // namespace ingot::hexagon
