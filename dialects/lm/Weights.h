// Evaluates the recipe of an `lm.weight`, one row at a time: what the interpreter multiplies with
// and what the packer lays out. At most one row is ever in memory.
#pragma once

#include "dialects/lm/Lm.h"

#include <vector>

namespace ingot::lm {

/// True where every value of `from` is a value of `to` with the same codes, scales and minima, so
/// that a row needs no rounding to change format (scales f16, minima f32 -> both f32).
bool holdsExactly(const Encoding &from, const Encoding &to);

class WeightReader {
public:
  /// Fails where a source's payload is missing or has the wrong size.
  static llvm::Expected<WeightReader> open(WeightOp weight);

  int64_t rows() const { return row_count; }
  int64_t columns() const { return column_count; }
  const Encoding &encoding() const { return format; }
  /// What the rows are read from.
  std::vector<llvm::ArrayRef<uint8_t>> sourceBytes() const;

  /// Row `row` as fp32 [columns].
  void decodeRow(int64_t row, float *out) const;
  /// Row `row` as codes [columns], scales and mins [encoding().groups(columns)]. Integer formats.
  void affineRow(int64_t row, int16_t *codes, float *scales, float *mins) const;
  /// Row `row` as Encoding::twoLevelRow has it, where that is the format; it is as it was stored.
  void twoLevelRow(int64_t row, int16_t *codes, int16_t *scales, int16_t *mins, float *super_scales,
                   float *super_mins) const;

private:
  struct Source {
    Encoding encoding;
    int64_t rows, row_bytes;
    const uint8_t *data;
  };
  struct Place {
    const Source *source;
    const uint8_t *row;
  };
  Place find(int64_t row) const;
  /// The re-encoded row in the canonical storage of `format`.
  std::vector<uint8_t> recode(const Place &place) const;

  Encoding format;
  int64_t row_count = 0, column_count = 0, interleave = 0;
  std::vector<Source> sources;
  const float *scale = nullptr; // [columns]
  std::string owned;            // expanded splats of test modules
};

/// The bytes of a dense or resource attribute (one element for a splat); empty where the resource
/// has no data.
llvm::ArrayRef<char> payload(mlir::Attribute attribute);

} // namespace ingot::lm
