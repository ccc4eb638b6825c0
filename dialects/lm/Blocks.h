// The blocks of numbers that GGUF files are made of (ggml's block formats), unpacked.
#pragma once

#include "dialects/lm/Encoding.h"

namespace ingot {

/// One block of a format with one scale (and minimum) for its 32 elements: its affine view.
void unpackBlock(const Encoding &encoding, const uint8_t *block, int16_t *codes, float *scales,
                 float *mins);

/// What the affine view of a super-block is a product of.
struct SuperBlock {
  float scale = 0, min = 0;
  int16_t scales[16], mins[16];
};
/// One super-block of a format with scales of two levels.
void unpackSuperBlock(const Encoding &encoding, const uint8_t *block, int16_t *codes,
                      SuperBlock &super);

} // namespace ingot
