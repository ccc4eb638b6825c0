#include "dialects/lm/Blocks.h"

#include "dialects/lm/StoredFloat.h"

namespace ingot {
namespace {

constexpr int64_t superblock = Encoding::kSuperBlock;

float loadHalf(const uint8_t *p) { return loadFloat(CodeKind::f16, p); }

/// Q4_0, Q4_1, Q5_0, Q5_1: [scale][min][32 fifth bits][low nibbles: elements 0-15, high: 16-31].
void unpackNibbles(const Encoding &e, const uint8_t *block, int16_t *codes, float *scales,
                   float *mins) {
  scales[0] = loadHalf(block);
  block += 2;
  mins[0] = 0;
  if (!e.symmetric()) {
    mins[0] = loadHalf(block);
    block += 2;
  }
  if (e.bits == 4) { // most of what is ever unpacked, so without the fifth bit in the way
    const int lowest = e.minCode();
    for (int i = 0; i < 16; ++i) {
      codes[i] = static_cast<int16_t>((block[i] & 15) + lowest);
      codes[16 + i] = static_cast<int16_t>((block[i] >> 4) + lowest);
    }
    return;
  }
  uint32_t fifth;
  memcpy(&fifth, block, 4);
  block += 4;
  for (int i = 0; i < 32; ++i) {
    const int nibble = i < 16 ? block[i] & 15 : block[i - 16] >> 4;
    codes[i] = static_cast<int16_t>((nibble | int(fifth >> i & 1) << 4) + e.minCode());
  }
}

/// Q8_0: [scale][32 signed bytes].
void unpackBytes(const Encoding &, const uint8_t *block, int16_t *codes, float *scales,
                 float *mins) {
  scales[0] = loadHalf(block);
  mins[0] = 0;
  for (int i = 0; i < 32; ++i)
    codes[i] = static_cast<int8_t>(block[2 + i]);
}

/// Q4_K, Q5_K: [scale][min][12 bytes: eight 6-bit scales and mins][256 fifth bits][nibbles].
void unpackSixBitScales(const Encoding &e, const uint8_t *block, int16_t *codes,
                        SuperBlock &super) {
  super.scale = loadHalf(block);
  super.min = -loadHalf(block + 2);
  const uint8_t *packed = block + 4;
  for (int g = 0; g < 8; ++g) {
    // The first four scales and mins are the low 6 bits of bytes 0-3 and 4-7; the others have their
    // low nibble in bytes 8-11 and their high bits on top of bytes 0-7.
    const int scale = g < 4 ? packed[g] & 63 : (packed[g + 4] & 15) | (packed[g - 4] >> 6) << 4;
    const int min = g < 4 ? packed[g + 4] & 63 : packed[g + 4] >> 4 | (packed[g] >> 6) << 4;
    super.scales[g] = static_cast<int16_t>(scale);
    super.mins[g] = static_cast<int16_t>(min);
  }
  const uint8_t *fifth = block + 16, *nibbles = e.bits == 5 ? block + 48 : block + 16;
  for (int i = 0; i < superblock; ++i) {
    const int chunk = i / 64, within = i % 32, high = i / 32 % 2;
    int code = high ? nibbles[chunk * 32 + within] >> 4 : nibbles[chunk * 32 + within] & 15;
    if (e.bits == 5)
      code |= (fifth[within] >> (i / 32) & 1) << 4;
    codes[i] = static_cast<int16_t>(code);
  }
}

/// Q2_K: [16 bytes: low nibble scale, high nibble min][64 bytes: 2-bit codes][scale][min].
void unpackTwoBit(const Encoding &, const uint8_t *block, int16_t *codes, SuperBlock &super) {
  super.scale = loadHalf(block + 80);
  super.min = -loadHalf(block + 82);
  for (int g = 0; g < 16; ++g) {
    super.scales[g] = block[g] & 15;
    super.mins[g] = block[g] >> 4;
  }
  for (int i = 0; i < superblock; ++i)
    codes[i] = block[16 + i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
}

/// Q3_K: [32 bytes: third bits][64 bytes: 2-bit codes][12 bytes: sixteen 6-bit scales][scale].
void unpackThreeBit(const Encoding &, const uint8_t *block, int16_t *codes, SuperBlock &super) {
  super.scale = loadHalf(block + 108);
  const uint8_t *packed = block + 96;
  for (int g = 0; g < 16; ++g) {
    const int low = g < 8 ? packed[g] & 15 : packed[g - 8] >> 4;
    const int high = packed[8 + g % 4] >> (g / 4 * 2) & 3;
    super.scales[g] = static_cast<int16_t>((low | high << 4) - 32);
  }
  for (int i = 0; i < superblock; ++i) {
    const int low = block[32 + i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
    const int third = block[i % 32] >> (i / 32) & 1;
    codes[i] = static_cast<int16_t>((low | third << 2) - 4);
  }
}

/// Q6_K: [128 bytes: low nibbles][64 bytes: high bit pairs][16 signed scales][scale].
void unpackSixBit(const Encoding &, const uint8_t *block, int16_t *codes, SuperBlock &super) {
  super.scale = loadHalf(block + 208);
  for (int g = 0; g < 16; ++g)
    super.scales[g] = static_cast<int8_t>(block[192 + g]);
  for (int i = 0; i < superblock; ++i) {
    const int half = i / 128, quarter = i % 128 / 32, within = i % 32;
    const uint8_t byte = block[half * 64 + quarter % 2 * 32 + within];
    const int low = quarter < 2 ? byte & 15 : byte >> 4;
    const int high = block[128 + half * 32 + within] >> (quarter * 2) & 3;
    codes[i] = static_cast<int16_t>((low | high << 4) - 32);
  }
}

/// IQ4_NL, MXFP4: [scale][16 bytes: low nibbles: elements 0-15, high: 16-31].
void unpackTable(const Encoding &e, const uint8_t *block, int16_t *codes, float *scales,
                 float *mins) {
  const llvm::ArrayRef<int8_t> values = e.values();
  scales[0] = loadFloat(e.scale.type, block);
  mins[0] = 0;
  block += scaleBytes(e.scale.type);
  for (int i = 0; i < 16; ++i) {
    codes[i] = values[block[i] & 15];
    codes[16 + i] = values[block[i] >> 4];
  }
}

} // namespace

void unpackBlock(const Encoding &e, const uint8_t *block, int16_t *codes, float *scales,
                 float *mins) {
  const auto unpack = e.table != CodeTable::none ? unpackTable
                      : e.bits == 8              ? unpackBytes
                                                 : unpackNibbles;
  unpack(e, block, codes, scales, mins);
}

void unpackSuperBlock(const Encoding &e, const uint8_t *block, int16_t *codes, SuperBlock &super) {
  switch (e.bits) {
  case 2:
    return unpackTwoBit(e, block, codes, super);
  case 3:
    return unpackThreeBit(e, block, codes, super);
  case 6:
    return unpackSixBit(e, block, codes, super);
  default:
    return unpackSixBitScales(e, block, codes, super);
  }
}

} // namespace ingot
