#include "targets/BlockLayout.h"

#include "llvm/ADT/STLExtras.h"

using namespace ingot;

namespace {

constexpr int32_t k_inner = 4; // two pairs, or what dot products of bytes take: one layout for all

/// Bits that a code takes in memory: those that it has where its group is whole steps of each
/// plane (planesOf), or a nibble or byte.
int32_t bitsInMemory(const Encoding &encoding) {
  const int32_t bits = encoding.bits;
  if ((bits == 2 || bits == 5 || bits == 6) && encoding.group_size &&
      llvm::all_of(planesOf(bits),
                   [&](int32_t plane) { return encoding.group_size % (k_inner * 8 / plane) == 0; }))
    return bits;
  return bits <= 4 ? 4 : 8;
}

} // namespace

// Scales become one float per group where they are not of two levels: f16 or an exponent where the
// stored ones are, f32 otherwise. A matrix has one scale type for scales and mins.
Encoding ingot::storedEncoding(const Encoding &stored) {
  Encoding legal = stored;
  if (stored.isFloat() || stored.twoLevel() ||
      (stored.scale == ScaleFormat{CodeKind::e8m0} && stored.symmetric()))
    return legal;
  auto wide = [](const ScaleFormat &scale) {
    return scale.type != CodeKind::none && scale.type != CodeKind::f16;
  };
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
  layout.k_inner = k_inner;
  layout.code_bits = bitsInMemory(encoding);
  layout.scale_type = encoding.scale.type;
  return layout;
}
