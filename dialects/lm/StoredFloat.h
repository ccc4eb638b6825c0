// Floats as files and packed weights have them: f16, bf16, f32, or an exponent (e8m0).
#pragma once

#include "dialects/lm/Encoding.h"

#include <cstring>

namespace ingot {

inline int64_t floatBytes(const ScaleFormat &format) { return scaleBytes(format.type); }

inline float loadFloat(const ScaleFormat &format, const uint8_t *p) {
  if (format.type == CodeKind::f32) {
    float value;
    memcpy(&value, p, 4);
    return value;
  }
  if (format.type == CodeKind::e8m0)
    return e8m0ToFloat(*p);
  uint16_t bits;
  memcpy(&bits, p, 2);
  return format.type == CodeKind::f16 ? halfToFloat(bits) : bfloatToFloat(bits);
}

/// Stores `value` rounded to the format and returns what was stored.
inline float storeFloat(const ScaleFormat &format, uint8_t *p, float value) {
  if (format.type == CodeKind::f32) {
    memcpy(p, &value, 4);
    return value;
  }
  if (format.type == CodeKind::e8m0) {
    *p = floatToE8m0(value);
    return e8m0ToFloat(*p);
  }
  const uint16_t bits = format.type == CodeKind::f16 ? floatToHalf(value) : floatToBfloat(value);
  memcpy(p, &bits, 2);
  return format.type == CodeKind::f16 ? halfToFloat(bits) : bfloatToFloat(bits);
}

} // namespace ingot
