// Floats as files and packed weights have them: f16, bf16, f32, or an exponent (e8m0), each of
// scaleBytes.
#pragma once

#include "dialects/lm/Encoding.h"

#include <cstring>

namespace ingot {

inline float loadFloat(CodeKind kind, const uint8_t *p) {
  if (kind == CodeKind::f32) {
    float value;
    memcpy(&value, p, 4);
    return value;
  }
  if (kind == CodeKind::e8m0)
    return e8m0ToFloat(*p);
  uint16_t bits;
  memcpy(&bits, p, 2);
  return kind == CodeKind::f16 ? halfToFloat(bits) : bfloatToFloat(bits);
}

/// Stores `value` rounded to the kind and returns what was stored.
inline float storeFloat(CodeKind kind, uint8_t *p, float value) {
  if (kind == CodeKind::f32) {
    memcpy(p, &value, 4);
    return value;
  }
  if (kind == CodeKind::e8m0) {
    *p = floatToE8m0(value);
    return e8m0ToFloat(*p);
  }
  const uint16_t bits = kind == CodeKind::f16 ? floatToHalf(value) : floatToBfloat(value);
  memcpy(p, &bits, 2);
  return kind == CodeKind::f16 ? halfToFloat(bits) : bfloatToFloat(bits);
}

} // namespace ingot
