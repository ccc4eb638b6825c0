#include "dialects/lm/Encoding.h"

#include "dialects/lm/Blocks.h"
#include "dialects/lm/StoredFloat.h"
#include "dialects/lm/TableRounding.h"
#include "support/Error.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/MathExtras.h"

#include <algorithm>
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

//===--- The generic layout: [scale][min][codes] per group ------------------------===//

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
    block_bytes = scaleBytes(scale.type) + scaleBytes(min.type) + (uint64_t(block) * bits + 7) / 8;
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
    SuperBlock super;
    for (int64_t at = 0; at < columns; at += block, row += named->block_bytes) {
      unpackSuperBlock(*this, row, codes + at, super);
      for (int64_t g = 0; g < block / group; ++g) {
        *scales++ = super.scale * float(super.scales[g]);
        *mins++ = symmetric() ? 0.0f : super.min * float(super.mins[g]);
      }
    }
    return;
  }
  if (named) {
    for (int64_t at = 0; at < columns; at += block, row += named->block_bytes)
      unpackBlock(*this, row, codes + at, scales + at / group, mins + at / group);
    return;
  }
  const int64_t code_bytes = (block * bits + 7) / 8;
  for (int64_t at = 0; at < columns; at += block) {
    *scales++ = loadFloat(scale.type, row);
    row += scaleBytes(scale.type);
    *mins++ = symmetric() ? 0.0f : loadFloat(min.type, row);
    row += scaleBytes(min.type);
    for (int64_t i = 0; i < block; ++i)
      codes[at + i] = static_cast<int16_t>(readBits(row, i, bits) + minCode());
    row += code_bytes;
  }
}

void Encoding::twoLevelRow(const uint8_t *row, int64_t columns, int16_t *codes, int16_t *scales,
                           int16_t *mins, float *super_scales, float *super_mins) const {
  const uint32_t block_bytes = findEncoding(*this)->block_bytes, groups = superblock / group_size;
  SuperBlock super;
  for (int64_t at = 0; at < columns; at += superblock, row += block_bytes) {
    unpackSuperBlock(*this, row, codes + at, super);
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
    for (int64_t i = 0; i < columns; ++i)
      out[i] = loadFloat(code, row + i * scaleBytes(code));
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
    for (int64_t i = 0; i < columns; ++i)
      storeFloat(code, out + i * scaleBytes(code), row[i]);
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
        out[scaleBytes(scale.type) + i] = static_cast<uint8_t>(stored[i] | stored[16 + i] << 4);
    }
    return;
  }
  for (int64_t at = 0; at < columns; at += block) {
    auto [s, m] = span(*this, row + at, block);
    s = storeFloat(scale.type, out, s);
    out += scaleBytes(scale.type);
    if (!symmetric())
      m = storeFloat(min.type, out, m);
    out += scaleBytes(min.type);
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
