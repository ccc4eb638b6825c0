// What a number format is, described once. Frontend, passes, interpreter, packer, kernels and
// `ingot inspect` all ask this struct; nobody else lists the formats. Plain C++ (no MLIR): the lm
// dialect wraps it in the type `!lm.q<...>`.
#pragma once

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <cstdint>
#include <optional>
#include <string>

namespace ingot {

/// How one stored number is written. Float kinds stand alone (no scale, group_size 1). `e8m0` is a
/// scale only: a byte, the exponent of a power of two.
enum class CodeKind : uint8_t { none, u, i, f16, bf16, f32, e8m0 };

/// What codes of 4 bits stand for, where it is not themselves: one of 16 signed bytes.
enum class CodeTable : uint8_t {
  none,
  iq4_nl, ///< ggml's: dense around 0, where most weights are
  e2m1,   ///< OCP's FP4 (Microscaling Formats), doubled to be integers
};

/// A scale (or minimum): a float per group, or, two-level (`sub_bits` > 0), an integer code per
/// group times one float per super-block of 256 elements (the K-quants). Prints `f16`, `f16*u6`.
struct ScaleFormat {
  CodeKind type = CodeKind::none; ///< none, f16, bf16, f32 or e8m0
  uint8_t sub_bits = 0;
  bool sub_signed = false;
  bool operator==(const ScaleFormat &) const = default;
};

/// value[k] = code[k] * scale[group of k] + min[group of k]
/// in fp32, product rounded, then sum rounded. Every format here has that *affine view*; it is
/// exact, so the decoder of any format is its affine view evaluated. Symmetric formats have no min.
///
/// Text form (IR, inspect): `u4, g32, f16+f16` (Q4_1), `i4, g32, f16` (Q4_0), `i8, row, f32`,
/// `u4, g32, f16*u6+f16*u6` (Q4_K), `i6, g16, f16*i8` (Q6_K), `iq4_nl, g32, f16`,
/// `e2m1, g32, e8m0` (MXFP4), `f16`; of activations also `i16, g32, f32` and `f16, g32, f32`. Codes
/// of a table are the numbers in it, here as everywhere but where they are stored.
/// Mins are added: formats that store a subtracted minimum (K-quants) give negated mins.
struct Encoding {
  CodeKind code = CodeKind::none;
  uint8_t bits = 0;        ///< of one code: 2..8, 16 for activations (i), or 16/32 for floats
  uint32_t group_size = 1; ///< elements along a row sharing a scale; 0: the whole row
  ScaleFormat scale, min;
  CodeTable table = CodeTable::none;

  bool operator==(const Encoding &) const = default;
  bool isFloat() const { return code != CodeKind::u && code != CodeKind::i; }
  bool symmetric() const { return min.type == CodeKind::none; }
  static constexpr int64_t kSuperBlock = 256; ///< elements that share what two levels multiply
  bool twoLevel() const { return scale.sub_bits > 0; }
  /// The numbers of the table, by what is stored for them; empty: there is none.
  llvm::ArrayRef<int8_t> values() const;
  int minCode() const {
    return table != CodeTable::none ? leastValue() : code == CodeKind::i ? -(1 << (bits - 1)) : 0;
  }
  int maxCode() const {
    return table != CodeTable::none ? largestValue()
                                    : (1 << (code == CodeKind::i ? bits - 1 : bits)) - 1;
  }
  /// What stands for a code where codes are stored unsigned: its place in the table, or how far it
  /// is above the least.
  uint8_t storedCode(int code) const {
    return table != CodeTable::none ? placeOfValue(code) : static_cast<uint8_t>(code - minCode());
  }
  int64_t groupElements(int64_t columns) const { return group_size ? group_size : columns; }
  int64_t groups(int64_t columns) const { return columns / groupElements(columns); }

  /// Elements in one storage block (a row is whole blocks): 1 for floats, 32 for Q4_1, 256 for the
  /// K-quants, `columns` for per-row scales.
  int64_t blockElements(int64_t columns) const;
  /// Bytes of one row of `columns` elements in the canonical storage (GGUF's block layout where
  /// GGUF has the format, otherwise [scale][min][codes, little-endian bits] per group);
  /// nullopt when columns is not whole blocks or the size overflows.
  std::optional<uint64_t> rowBytes(int64_t columns) const;
  std::optional<uint64_t> storageBytes(int64_t rows, int64_t columns) const;
  /// Bits per weight of the canonical storage, scales included: 5.0 for Q4_1.
  double bitsPerWeight(int64_t columns) const;

  /// Decodes one stored row to fp32, bit for bit as the format's definition says.
  void decodeRow(const uint8_t *row, int64_t columns, float *out) const;
  /// The affine view of one stored row (integer formats only): codes [columns], scales and mins
  /// [groups(columns)]; mins are 0 for symmetric formats.
  void affineRow(const uint8_t *row, int64_t columns, int16_t *codes, float *scales,
                 float *mins) const;
  /// What the affine view of a format with scales of two levels is made of: codes of scales and
  /// mins [groups(columns)], and the halves that they are multiplied with [columns / kSuperBlock].
  /// Mins are added, so theirs are negated. Symmetric formats leave those of mins alone.
  void twoLevelRow(const uint8_t *row, int64_t columns, int16_t *codes, int16_t *scales,
                   int16_t *mins, float *super_scales, float *super_mins) const;
  /// Encodes one row by rounding to nearest (symmetric: scale = max|x| / maxCode; otherwise min and
  /// max span the codes; of tables, the scale of the least squared error). Two-level scales are not
  /// encoded: asserts !scale.sub_bits.
  void encodeRow(const float *row, int64_t columns, uint8_t *out) const;

  std::string str() const;
  /// Parses the text form above.
  static std::optional<Encoding> parse(llvm::StringRef text);
  /// Parses what a user writes after --quantize: `int4:g32`, `int8`, `int8:g64`, `uint4:g32`
  /// (with minimum), `f16`, or a GGUF name such as `q4_1`. The error lists what is accepted.
  static llvm::Expected<Encoding> parseSpec(llvm::StringRef spec);

private:
  int leastValue() const;
  int largestValue() const;
  uint8_t placeOfValue(int value) const;
};

/// One row of the table of formats that GGUF files use (ggml's block formats).
struct NamedEncoding {
  const char *name;   ///< "Q4_1"
  uint32_t ggml_type; ///< the number in the file
  uint32_t block_elements, block_bytes;
  Encoding encoding;
};
llvm::ArrayRef<NamedEncoding> namedEncodings();
const NamedEncoding *findGgmlType(uint32_t ggml_type);
/// "Q4_1" for an encoding that GGUF names, otherwise str().
std::string displayName(const Encoding &);

/// What linear layers of integer weights read: activations rounded to symmetric codes with one f32
/// scale for each group of columns, to halves with a power of two for each group (so that none
/// overflows), or as they are.
enum class Activations : uint8_t { int8, int16, f16, f32 };
constexpr Activations allActivations[] = {Activations::int8, Activations::int16, Activations::f16,
                                          Activations::f32};
/// "int8", as a user writes it after --activations.
llvm::StringRef toString(Activations activations);
std::optional<Activations> parseActivations(llvm::StringRef name);
/// Bits of their codes; 0: they have none.
constexpr int32_t codeBits(Activations activations) {
  return activations == Activations::int8 ? 8 : activations == Activations::f32 ? 0 : 16;
}
/// The largest code. A group's sum of at most 32 products with weights of 8 bits fits i32.
constexpr int32_t activationCodeLimit(int32_t bits) { return (1 << (bits - 1)) - 1; }

/// A KV cache of 16-bit elements holds symmetric codes, with one f32 scale for each head of each
/// position. Products of codes are summed in i32: a query and a key of head_dim codes of at most
/// keyCodeLimit each, and kWeightCodeSpan softmax weights of at most kWeightCodeLimit with as many
/// values of at most kValueCodeLimit.
int32_t keyCodeLimit(int64_t head_dim); ///< floor(sqrt((2^31 - 1) / head_dim)), at most 2^15 - 1
constexpr int32_t kValueCodeLimit = 2047, kWeightCodeLimit = 16383, kWeightCodeSpan = 64;
static_assert(int64_t(kValueCodeLimit) * kWeightCodeLimit * kWeightCodeSpan <= INT32_MAX);

float halfToFloat(uint16_t bits);
uint16_t floatToHalf(float value); ///< ties to even, overflow to infinity
/// 2^(bits - 128): half of what OCP's E8M0 says, for codes that are doubled. ggml has no NaN there.
float e8m0ToFloat(uint8_t bits);
uint8_t floatToE8m0(float value); ///< to the nearest, of those that are not 0
/// Bytes of a scale of that kind; none has 0.
constexpr int64_t scaleBytes(CodeKind kind) {
  return kind == CodeKind::none ? 0 : kind == CodeKind::e8m0 ? 1 : kind == CodeKind::f32 ? 4 : 2;
}
float bfloatToFloat(uint16_t bits);
uint16_t floatToBfloat(float value); ///< ties to even

} // namespace ingot
