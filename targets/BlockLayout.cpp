#include "targets/BlockLayout.h"

using namespace ingot;

// Integer codes keep their bits; scales become one float per group: f16 or an exponent where the
// stored ones are, f32 otherwise (two-level scales are products that f16 cannot hold). A matrix has
// one scale type for scales and mins.
Encoding ingot::oneScaleEncoding(const Encoding &stored) {
  Encoding legal = stored;
  if (stored.isFloat())
    return legal;
  auto wide = [](const ScaleFormat &scale) {
    return scale.type != CodeKind::none && (scale.sub_bits || scale.type != CodeKind::f16);
  };
  if (stored.scale == ScaleFormat{CodeKind::e8m0} && stored.symmetric())
    return legal;
  const CodeKind type = wide(stored.scale) || wide(stored.min) ? CodeKind::f32 : CodeKind::f16;
  legal.scale = {type, 0, false};
  if (!stored.symmetric())
    legal.min = {type, 0, false};
  return legal;
}

PackedLayout ingot::blockLayout(const Encoding &encoding) {
  PackedLayout layout;
  if (encoding.isFloat()) {
    layout.k_inner = 1;
    layout.code_bits = encoding.code == CodeKind::f32 ? 32 : 16;
    layout.scale_type = CodeKind::none;
    return layout;
  }
  layout.k_inner = 4; // two pairs, or what dot products of bytes take: one layout for all
  layout.code_bits = encoding.bits <= 4 ? 4 : 8;
  layout.scale_type = encoding.scale.type;
  return layout;
}
