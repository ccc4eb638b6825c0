#include "dialects/lm/Encoding.h"

#include "support/Error.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/MathExtras.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <vector>

namespace ingot {
namespace {

constexpr ScaleFormat none{}, f16{CodeKind::f16}, e8m0{CodeKind::e8m0};
constexpr ScaleFormat f16_by(uint8_t bits, bool is_signed) {
  return {CodeKind::f16, bits, is_signed};
}
constexpr Encoding plain(CodeKind kind, uint8_t bits) { return {kind, bits, 1, {}, {}}; }
constexpr Encoding quant(CodeKind code, uint8_t bits, uint32_t group, ScaleFormat scale,
                         ScaleFormat min = none) {
  return {code, bits, group, scale, min};
}
constexpr Encoding tabled(CodeTable table, uint32_t group, ScaleFormat scale) {
  return {CodeKind::i, 4, group, scale, none, table};
}

constexpr int64_t superblock = Encoding::kSuperBlock;

struct NamedTable {
  const char *name;
  CodeTable table;
  int8_t values[16];
};
// ggml's kvalues_iq4nl, and the numbers of E2M1 (OCP Microscaling Formats 1.0, 5.3.3) times 2,
// whose -0 is 0.
constexpr NamedTable tables[] = {
    {"iq4_nl",
     CodeTable::iq4_nl,
     {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}},
    {"e2m1", CodeTable::e2m1, {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12}},
};

const NamedTable *findTable(CodeTable table) {
  const auto *found =
      llvm::find_if(tables, [&](const NamedTable &row) { return row.table == table; });
  return found == std::end(tables) ? nullptr : found;
}

// ggml's type numbers and block sizes: ggml's GGUF specification, and `gguf.constants` of PyPI's
// gguf.
constexpr NamedEncoding formats[] = {
    {"F32", 0, 1, 4, plain(CodeKind::f32, 32)},
    {"F16", 1, 1, 2, plain(CodeKind::f16, 16)},
    {"Q4_0", 2, 32, 18, quant(CodeKind::i, 4, 32, f16)},
    {"Q4_1", 3, 32, 20, quant(CodeKind::u, 4, 32, f16, f16)},
    {"Q5_0", 6, 32, 22, quant(CodeKind::i, 5, 32, f16)},
    {"Q5_1", 7, 32, 24, quant(CodeKind::u, 5, 32, f16, f16)},
    {"Q8_0", 8, 32, 34, quant(CodeKind::i, 8, 32, f16)},
    {"Q2_K", 10, 256, 84, quant(CodeKind::u, 2, 16, f16_by(4, false), f16_by(4, false))},
    {"Q3_K", 11, 256, 110, quant(CodeKind::i, 3, 16, f16_by(6, true))},
    {"Q4_K", 12, 256, 144, quant(CodeKind::u, 4, 32, f16_by(6, false), f16_by(6, false))},
    {"Q5_K", 13, 256, 176, quant(CodeKind::u, 5, 32, f16_by(6, false), f16_by(6, false))},
    {"Q6_K", 14, 256, 210, quant(CodeKind::i, 6, 16, f16_by(8, true))},
    {"IQ4_NL", 20, 32, 18, tabled(CodeTable::iq4_nl, 32, f16)},
    {"BF16", 30, 1, 2, plain(CodeKind::bf16, 16)},
    {"MXFP4", 39, 32, 17, tabled(CodeTable::e2m1, 32, e8m0)},
};

const NamedEncoding *findEncoding(const Encoding &encoding) {
  for (const NamedEncoding &named : formats)
    if (named.encoding == encoding)
      return &named;
  return nullptr;
}

float loadHalf(const uint8_t *p) {
  uint16_t bits;
  memcpy(&bits, p, 2);
  return halfToFloat(bits);
}

//===--- GGUF block layouts ------------------------------------------------------===//
// Each reads one block and writes its affine view, or what a super-block's is a product of.

struct SuperBlock {
  float scale = 0, min = 0;
  int16_t scales[16], mins[16];
};

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
  scales[0] = e.scale.type == CodeKind::e8m0 ? e8m0ToFloat(*block) : loadHalf(block);
  mins[0] = 0;
  block += scaleBytes(e.scale.type);
  for (int i = 0; i < 16; ++i) {
    codes[i] = values[block[i] & 15];
    codes[16 + i] = values[block[i] >> 4];
  }
}

using Unpack = void (*)(const Encoding &, const uint8_t *, int16_t *, float *, float *);

Unpack unpackFor(const Encoding &e) {
  return e.table != CodeTable::none ? unpackTable : e.bits == 8 ? unpackBytes : unpackNibbles;
}

using UnpackSuper = void (*)(const Encoding &, const uint8_t *, int16_t *, SuperBlock &);

UnpackSuper unpackSuperFor(const Encoding &e) {
  switch (e.bits) {
  case 2:
    return unpackTwoBit;
  case 3:
    return unpackThreeBit;
  case 6:
    return unpackSixBit;
  default:
    return unpackSixBitScales;
  }
}

//===--- The generic layout: [scale][min][codes] per group ------------------------===//

int64_t floatBytes(const ScaleFormat &format) { return scaleBytes(format.type); }

float loadFloat(const ScaleFormat &format, const uint8_t *p) {
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
float storeFloat(const ScaleFormat &format, uint8_t *p, float value) {
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

int readBits(const uint8_t *bytes, int64_t index, int bits) {
  int value = 0;
  for (int b = 0; b < bits; ++b) {
    const int64_t at = index * bits + b;
    value |= (bytes[at / 8] >> (at % 8) & 1) << b;
  }
  return value;
}

void writeBits(uint8_t *bytes, int64_t index, int bits, int value) {
  for (int b = 0; b < bits; ++b) {
    const int64_t at = index * bits + b;
    bytes[at / 8] =
        static_cast<uint8_t>((bytes[at / 8] & ~(1 << at % 8)) | (value >> b & 1) << at % 8);
  }
}

/// The largest magnitude that is encoded, larger ones saturate: 65504 is the largest f16, and a
/// scale or minimum beyond it would be stored as infinity. The other types keep room for sums.
float largestMagnitude(const Encoding &e) {
  if (e.scale.type != CodeKind::f16 && e.min.type != CodeKind::f16)
    return 0x1p125f;
  return e.symmetric() ? 65504.0f * float(e.maxCode()) : 65504.0f;
}

/// Scale and minimum that span `x`, before rounding to the stored type.
std::pair<float, float> span(const Encoding &e, const float *x, int64_t n) {
  const float limit = largestMagnitude(e);
  float low = 0, high = 0, peak = 0;
  for (int64_t i = 0; i < n; ++i) {
    const float v = std::isfinite(x[i]) ? std::clamp(x[i], -limit, limit) : 0;
    low = i ? std::min(low, v) : v;
    high = i ? std::max(high, v) : v;
    peak = std::max(peak, std::fabs(v));
  }
  if (e.symmetric())
    return {peak / float(e.maxCode()), 0.0f};
  return {(high - low) / float(e.maxCode() - e.minCode()), low};
}

int roundCode(const Encoding &e, float x, float scale, float min) {
  if (!(scale > 0) || !std::isfinite(x))
    return std::clamp(0, e.minCode(), e.maxCode());
  const float code = std::nearbyint((x - min) / scale);
  return static_cast<int>(std::clamp(code, float(e.minCode()), float(e.maxCode())));
}

constexpr int table_group = 32; ///< of every format with a table

/// A group rounded to the numbers of a table times a scale.
struct Rounded {
  float scale = 0;
  float error = 0;                 ///< of all squares
  float products = 0, squares = 0; ///< of numbers by elements, of numbers
  std::array<float, table_group> numbers{};
};

/// The scale of least squared error for a group, of both signs and all ways in which its largest
/// element may be near one of the table's outer numbers: each is tried, and then the scale that has
/// the least error for the numbers that this one gave.
class TableRounding {
public:
  explicit TableRounding(const Encoding &encoding)
      : encoding(encoding), power(encoding.scale.type == CodeKind::e8m0) {
    const llvm::ArrayRef<int8_t> values = encoding.values();
    numbers.assign(values.begin(), values.end());
    llvm::sort(numbers);
    numbers.erase(llvm::unique(numbers), numbers.end());
    for (size_t rank = 0; rank + 1 < numbers.size(); ++rank) {
      middles.push_back((numbers[rank] + numbers[rank + 1]) / 2);
      gaps.push_back(numbers[rank + 1] - numbers[rank]);
    }
  }

  /// Writes the scale at `out` and what is stored for each element.
  void round(const float *x, uint8_t *out, uint8_t *stored) const {
    // The largest number times the scale must not become infinite.
    const float limit = power ? 0x1p125f : 65504.0f * float(encoding.maxCode());
    std::array<float, table_group> finite{};
    float peak = 0;
    for (int i = 0; i < table_group; ++i) {
      finite[i] = std::isfinite(x[i]) ? std::clamp(x[i], -limit, limit) : 0;
      if (std::fabs(finite[i]) > std::fabs(peak))
        peak = finite[i];
    }
    // Then their squares are floats.
    const float unit = peak != 0 ? std::ldexp(1.0f, std::clamp(std::ilogb(peak), -126, 126)) : 1,
                by_unit = 1 / unit;
    Rounded best = with(finite, 0, by_unit);
    auto take = [&](const Rounded &other) {
      if (other.error < best.error)
        best = other;
    };
    constexpr int steps = 4; // up and down
    const float step = power ? 0.6f / steps : 0.1f / steps;
    for (const float outer : {numbers.front(), numbers.back()})
      for (int i = -steps; peak != 0 && i <= steps; ++i) {
        const float wanted = peak / outer * (1 + float(i) * step);
        if (power && wanted < 0)
          continue; // its table is symmetric
        const Rounded first = with(finite, wanted, by_unit);
        take(first);
        if (!power && first.squares > 0)
          take(with(finite, first.products / first.squares * unit, by_unit));
      }
    storeFloat(encoding.scale, out, best.scale);
    for (int i = 0; i < table_group; ++i)
      stored[i] = encoding.storedCode(int(best.numbers[i]));
  }

private:
  /// With the scale that is stored for `wanted`; sums are of elements times `by_unit`.
  Rounded with(const std::array<float, table_group> &x, float wanted, float by_unit) const {
    Rounded rounded;
    uint8_t bytes[4];
    rounded.scale = storeFloat(encoding.scale, bytes, wanted);
    const float inverse =
        rounded.scale != 0 ? std::clamp(1 / rounded.scale, -0x1p127f, 0x1p127f) : 0;
    std::array<float, table_group> scaled{};
    for (int i = 0; i < table_group; ++i)
      scaled[i] = x[i] * inverse;
    rounded.numbers.fill(numbers.front());
    for (auto [middle, gap] : llvm::zip(middles, gaps))
      for (int i = 0; i < table_group; ++i)
        rounded.numbers[i] += scaled[i] > middle ? gap : 0;
    constexpr int lanes = 8; // of sums side by side
    std::array<float, lanes> error{}, products{}, squares{};
    for (int i = 0; i < table_group; i += lanes)
      for (int lane = 0; lane < lanes; ++lane) {
        const float number = rounded.numbers[i + lane], own = x[i + lane] * by_unit,
                    off = own - number * (rounded.scale * by_unit);
        error[lane] += off * off;
        products[lane] += number * own;
        squares[lane] += number * number;
      }
    for (int lane = 0; lane < lanes; ++lane) {
      rounded.error += error[lane];
      rounded.products += products[lane];
      rounded.squares += squares[lane];
    }
    return rounded;
  }

  const Encoding &encoding;
  const bool power;
  std::vector<float> numbers, middles, gaps; ///< in order; between each and the next
};

} // namespace

llvm::ArrayRef<NamedEncoding> namedEncodings() { return formats; }

const NamedEncoding *findGgmlType(uint32_t ggml_type) {
  for (const NamedEncoding &named : formats)
    if (named.ggml_type == ggml_type)
      return &named;
  return nullptr;
}

std::string displayName(const Encoding &encoding) {
  const NamedEncoding *named = findEncoding(encoding);
  return named ? named->name : encoding.str();
}

//===--- Codes ---------------------------------------------------------------------===//

llvm::ArrayRef<int8_t> Encoding::values() const {
  const NamedTable *found = findTable(table);
  return found ? llvm::ArrayRef<int8_t>(found->values) : llvm::ArrayRef<int8_t>();
}

int Encoding::leastValue() const { return *llvm::min_element(values()); }

int Encoding::largestValue() const { return *llvm::max_element(values()); }

uint8_t Encoding::placeOfValue(int value) const {
  return static_cast<uint8_t>(llvm::find(values(), value) - values().begin());
}

//===--- Sizes ---------------------------------------------------------------------===//

int64_t Encoding::blockElements(int64_t columns) const {
  if (const NamedEncoding *named = findEncoding(*this))
    return named->block_elements;
  return groupElements(columns);
}

std::optional<uint64_t> Encoding::rowBytes(int64_t columns) const {
  if (columns <= 0)
    return std::nullopt;
  const int64_t block = blockElements(columns);
  if (block <= 0 || columns % block)
    return std::nullopt;
  uint64_t block_bytes;
  if (const NamedEncoding *named = findEncoding(*this)) {
    block_bytes = named->block_bytes;
  } else {
    if (block > (int64_t(1) << 56))
      return std::nullopt;
    block_bytes = floatBytes(scale) + floatBytes(min) + (uint64_t(block) * bits + 7) / 8;
  }
  uint64_t bytes;
  if (__builtin_mul_overflow(uint64_t(columns / block), block_bytes, &bytes) || bytes > INT64_MAX)
    return std::nullopt;
  return bytes;
}

std::optional<uint64_t> Encoding::storageBytes(int64_t rows, int64_t columns) const {
  const std::optional<uint64_t> row = rowBytes(columns);
  uint64_t bytes;
  if (!row || rows <= 0 || __builtin_mul_overflow(uint64_t(rows), *row, &bytes) ||
      bytes > INT64_MAX)
    return std::nullopt;
  return bytes;
}

double Encoding::bitsPerWeight(int64_t columns) const {
  return 8.0 * double(rowBytes(columns).value_or(0)) / double(columns);
}

//===--- Values ---------------------------------------------------------------------===//

void Encoding::affineRow(const uint8_t *row, int64_t columns, int16_t *codes, float *scales,
                         float *mins) const {
  const int64_t block = blockElements(columns), group = groupElements(columns);
  const NamedEncoding *named = findEncoding(*this);
  if (twoLevel()) {
    const UnpackSuper unpack = unpackSuperFor(*this);
    SuperBlock super;
    for (int64_t at = 0; at < columns; at += block, row += named->block_bytes) {
      unpack(*this, row, codes + at, super);
      for (int64_t g = 0; g < block / group; ++g) {
        *scales++ = super.scale * float(super.scales[g]);
        *mins++ = symmetric() ? 0.0f : super.min * float(super.mins[g]);
      }
    }
    return;
  }
  if (named) {
    const Unpack unpack = unpackFor(*this);
    for (int64_t at = 0; at < columns; at += block, row += named->block_bytes)
      unpack(*this, row, codes + at, scales + at / group, mins + at / group);
    return;
  }
  const int64_t code_bytes = (block * bits + 7) / 8;
  for (int64_t at = 0; at < columns; at += block) {
    *scales++ = loadFloat(scale, row);
    row += floatBytes(scale);
    *mins++ = symmetric() ? 0.0f : loadFloat(min, row);
    row += floatBytes(min);
    for (int64_t i = 0; i < block; ++i)
      codes[at + i] = static_cast<int16_t>(readBits(row, i, bits) + minCode());
    row += code_bytes;
  }
}

void Encoding::twoLevelRow(const uint8_t *row, int64_t columns, int16_t *codes, int16_t *scales,
                           int16_t *mins, float *super_scales, float *super_mins) const {
  const UnpackSuper unpack = unpackSuperFor(*this);
  const uint32_t block_bytes = findEncoding(*this)->block_bytes, groups = superblock / group_size;
  SuperBlock super;
  for (int64_t at = 0; at < columns; at += superblock, row += block_bytes) {
    unpack(*this, row, codes + at, super);
    scales = std::copy_n(super.scales, groups, scales);
    *super_scales++ = super.scale;
    if (symmetric())
      continue;
    mins = std::copy_n(super.mins, groups, mins);
    *super_mins++ = super.min;
  }
}

void Encoding::decodeRow(const uint8_t *row, int64_t columns, float *out) const {
  if (isFloat()) {
    const ScaleFormat format{code};
    const int64_t size = floatBytes(format);
    for (int64_t i = 0; i < columns; ++i)
      out[i] = loadFloat(format, row + i * size);
    return;
  }
  const int64_t group = groupElements(columns);
  std::vector<int16_t> codes(columns);
  std::vector<float> scales(columns / group), mins(columns / group);
  affineRow(row, columns, codes.data(), scales.data(), mins.data());
  for (int64_t i = 0; i < columns; ++i) {
    const float product = float(codes[i]) * scales[i / group];
    out[i] = symmetric() ? product : product + mins[i / group]; // -0 + 0 would lose the sign
  }
}

void Encoding::encodeRow(const float *row, int64_t columns, uint8_t *out) const {
  if (isFloat()) {
    const ScaleFormat format{code};
    for (int64_t i = 0; i < columns; ++i)
      storeFloat(format, out + i * floatBytes(format), row[i]);
    return;
  }
  assert(!scale.sub_bits && "two-level scales are read, not written");
  const NamedEncoding *named = findEncoding(*this);
  const int64_t block = blockElements(columns);
  if (table != CodeTable::none) {
    assert(named && block == table_group && "tables are of formats with a name");
    const TableRounding rounding(*this);
    for (int64_t at = 0; at < columns; at += block, out += named->block_bytes) {
      uint8_t stored[table_group];
      rounding.round(row + at, out, stored);
      for (int i = 0; i < 16; ++i)
        out[floatBytes(scale) + i] = static_cast<uint8_t>(stored[i] | stored[16 + i] << 4);
    }
    return;
  }
  for (int64_t at = 0; at < columns; at += block) {
    auto [s, m] = span(*this, row + at, block);
    s = storeFloat(scale, out, s);
    out += floatBytes(scale);
    if (!symmetric())
      m = storeFloat(min, out, m);
    out += floatBytes(min);
    if (!named || bits == 8) {
      for (int64_t i = 0; i < block; ++i) {
        const int value = roundCode(*this, row[at + i], s, m);
        if (named)
          out[i] = static_cast<uint8_t>(value); // Q8_0 keeps signed bytes
        else
          writeBits(out, i, bits, value - minCode());
      }
      out += (block * bits + 7) / 8;
      continue;
    }
    // The nibble layouts of unpackNibbles.
    uint32_t fifth = 0;
    uint8_t nibbles[16] = {};
    for (int i = 0; i < 32; ++i) {
      const int value = roundCode(*this, row[at + i], s, m) - minCode();
      fifth |= uint32_t(value >> 4 & 1) << i;
      nibbles[i % 16] |= static_cast<uint8_t>((value & 15) << (i < 16 ? 0 : 4));
    }
    if (bits == 5) {
      memcpy(out, &fifth, 4);
      out += 4;
    }
    memcpy(out, nibbles, 16);
    out += 16;
  }
}

//===--- Text ---------------------------------------------------------------------------===//

static const char *floatName(CodeKind kind) {
  return kind == CodeKind::f16    ? "f16"
         : kind == CodeKind::bf16 ? "bf16"
         : kind == CodeKind::e8m0 ? "e8m0"
                                  : "f32";
}

static std::string scaleText(const ScaleFormat &format) {
  std::string text = floatName(format.type);
  if (format.sub_bits)
    text += (format.sub_signed ? "*i" : "*u") + std::to_string(format.sub_bits);
  return text;
}

std::string Encoding::str() const {
  if (code == CodeKind::none)
    return "none";
  if (isFloat() && scale.type == CodeKind::none)
    return floatName(code);
  const NamedTable *of_table = findTable(table);
  const char *kind = code == CodeKind::u ? "u" : code == CodeKind::i ? "i" : "f";
  std::string text = of_table ? of_table->name : kind + std::to_string(bits);
  text += group_size ? ", g" + std::to_string(group_size) : ", row";
  text += ", " + scaleText(scale);
  if (!symmetric())
    text += "+" + scaleText(min);
  return text;
}

static std::optional<CodeKind> parseFloatKind(llvm::StringRef text) {
  for (CodeKind kind : {CodeKind::f16, CodeKind::bf16, CodeKind::f32})
    if (text == floatName(kind))
      return kind;
  return std::nullopt;
}

/// "u4", "i6": an integer code of 1 to 8 bits.
static bool parseCode(llvm::StringRef text, bool &is_signed, uint8_t &bits) {
  if (text.size() != 2 || (text[0] != 'u' && text[0] != 'i') || text[1] < '1' || text[1] > '8')
    return false;
  is_signed = text[0] == 'i';
  bits = static_cast<uint8_t>(text[1] - '0');
  return true;
}

static bool parseScale(llvm::StringRef text, ScaleFormat &format) {
  auto [base, sub] = text.split('*');
  auto kind = base == floatName(CodeKind::e8m0) ? CodeKind::e8m0 : parseFloatKind(base);
  if (!kind || (text.contains('*') && !parseCode(sub, format.sub_signed, format.sub_bits)))
    return false;
  format.type = *kind;
  return true;
}

/// Two-level scales, tables and exponents exist only where a file format defines how they are
/// stored.
static std::optional<Encoding> checked(const Encoding &encoding) {
  const bool of_formats =
      encoding.scale.sub_bits || encoding.min.sub_bits || encoding.table != CodeTable::none ||
      encoding.scale.type == CodeKind::e8m0 || encoding.min.type == CodeKind::e8m0;
  if (of_formats && !findEncoding(encoding))
    return std::nullopt;
  return encoding;
}

llvm::StringRef toString(Activations activations) {
  return activations == Activations::int8    ? "int8"
         : activations == Activations::int16 ? "int16"
         : activations == Activations::f16   ? "f16"
                                             : "f32";
}

std::optional<Activations> parseActivations(llvm::StringRef text) {
  for (Activations activations : allActivations)
    if (text == toString(activations))
      return activations;
  return std::nullopt;
}

std::optional<Encoding> Encoding::parse(llvm::StringRef text) {
  text = text.trim();
  if (auto kind = parseFloatKind(text))
    return plain(*kind, *kind == CodeKind::f32 ? 32 : 16);
  llvm::SmallVector<llvm::StringRef, 3> words;
  text.split(words, ',');
  if (words.size() != 3)
    return std::nullopt;
  Encoding encoding;
  bool is_signed = true;
  const auto *of_table =
      llvm::find_if(tables, [&](const NamedTable &row) { return words[0].trim() == row.name; });
  const bool halves = words[0].trim() == "f16";
  if (of_table != std::end(tables))
    encoding.bits = 4, encoding.table = of_table->table;
  else if (halves || words[0].trim() == "i16")
    encoding.bits = 16;
  else if (!parseCode(words[0].trim(), is_signed, encoding.bits) || encoding.bits < 2)
    return std::nullopt;
  encoding.code = halves ? CodeKind::f16 : is_signed ? CodeKind::i : CodeKind::u;
  llvm::StringRef group = words[1].trim();
  if (group == "row")
    encoding.group_size = 0;
  else if (!group.consume_front("g") || group.getAsInteger(10, encoding.group_size) ||
           !encoding.group_size || encoding.group_size > (1u << 24))
    return std::nullopt;
  auto [scale, min] = words[2].trim().split('+');
  if (!parseScale(scale, encoding.scale) ||
      (words[2].contains('+') && !parseScale(min, encoding.min)))
    return std::nullopt;
  return checked(encoding);
}

llvm::Expected<Encoding> Encoding::parseSpec(llvm::StringRef spec) {
  const std::string lower = spec.lower();
  for (const NamedEncoding &named : formats)
    if (lower == llvm::StringRef(named.name).lower() && !named.encoding.scale.sub_bits)
      return named.encoding;
  auto fail = [&] {
    return inputError(
        "", "format '" + spec + "'", "is not one that weights can be rounded to",
        "use intN or uintN (N = 2 to 8; uint adds a minimum) with :gSIZE (16, 32, 64, "
        "128, 256) or one scale a row, for example int4:g32, uint4:g32, int8; or f16, "
        "bf16, f32, q8_0, q4_0, q4_1, q5_0, q5_1, iq4_nl, mxfp4");
  };
  auto [kind, group] = llvm::StringRef(lower).split(':');
  Encoding encoding;
  encoding.code = kind.consume_front("u") ? CodeKind::u : CodeKind::i;
  unsigned bits;
  if (!kind.consume_front("int") || kind.getAsInteger(10, bits) || bits < 2 || bits > 8)
    return fail();
  encoding.bits = static_cast<uint8_t>(bits);
  encoding.group_size = 0;
  if (llvm::StringRef(lower).contains(':') &&
      (!group.consume_front("g") || group.getAsInteger(10, encoding.group_size) ||
       encoding.group_size < 16 || encoding.group_size > 256 ||
       !llvm::isPowerOf2_32(encoding.group_size)))
    return fail();
  // One scale for a whole row is cheap enough to keep in full precision.
  encoding.scale.type = encoding.group_size ? CodeKind::f16 : CodeKind::f32;
  if (encoding.code == CodeKind::u)
    encoding.min = encoding.scale;
  return encoding;
}

//===--- Half precision --------------------------------------------------------------------===//

int32_t keyCodeLimit(int64_t head_dim) {
  int32_t limit = INT16_MAX;
  while (int64_t(limit) * limit * head_dim > INT32_MAX)
    --limit;
  return limit;
}

float halfToFloat(uint16_t bits) {
  _Float16 half;
  memcpy(&half, &bits, 2);
  return static_cast<float>(half);
}

uint16_t floatToHalf(float value) {
  const _Float16 half = static_cast<_Float16>(value);
  uint16_t bits;
  memcpy(&bits, &half, 2);
  return bits;
}

float e8m0ToFloat(uint8_t bits) { return std::ldexp(1.0f, bits - 128); }

uint8_t floatToE8m0(float value) {
  const float exponent = value > 0 ? std::nearbyint(std::log2(value)) : -128;
  return static_cast<uint8_t>(std::clamp(exponent, -128.0f, 127.0f) + 128);
}

float bfloatToFloat(uint16_t bits) {
  const uint32_t wide = uint32_t(bits) << 16;
  float value;
  memcpy(&value, &wide, 4);
  return value;
}

uint16_t floatToBfloat(float value) {
  uint32_t bits;
  memcpy(&bits, &value, 4);
  if (std::isnan(value))
    return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

} // namespace ingot
