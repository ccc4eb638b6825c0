#include "dialects/lm/Weights.h"

#include "support/Error.h"

#include "mlir/IR/AsmState.h"
#include "mlir/IR/DialectResourceBlobManager.h"

using namespace mlir;

namespace ingot::lm {

bool holdsExactly(const Encoding &from, const Encoding &to) {
  if (from == to)
    return true;
  if (from.isFloat() || to.isFloat())
    return to.code == CodeKind::f32 && from.isFloat();
  auto scaleFits = [](const ScaleFormat &a, const ScaleFormat &b) {
    return a == b || (b == ScaleFormat{CodeKind::f32} && a.type != CodeKind::none);
  };
  return from.group_size == to.group_size &&
         (to.table == CodeTable::none || to.table == from.table) &&
         from.minCode() >= to.minCode() && from.maxCode() <= to.maxCode() &&
         scaleFits(from.scale, to.scale) &&
         (from.symmetric() == to.symmetric() || from.symmetric()) &&
         (from.symmetric() || scaleFits(from.min, to.min));
}

ArrayRef<char> payload(Attribute attribute) {
  if (auto dense = dyn_cast<DenseElementsAttr>(attribute))
    return dense.getRawData();
  if (auto resource = dyn_cast<DenseResourceElementsAttr>(attribute))
    if (AsmResourceBlob *blob = resource.getRawHandle().getBlob())
      return blob->getData();
  return {};
}

llvm::Expected<WeightReader> WeightReader::open(WeightOp weight) {
  WeightReader reader;
  reader.format = weight.getEncoding();
  RankedTensorType type = weight.getTensorType();
  reader.column_count = type.getShape().back();
  reader.row_count = type.getRank() == 1 ? 1 : type.getDimSize(0);
  reader.interleave = weight.getInterleave().value_or(0);
  auto fail = [&](const Twine &message) {
    return inputError("", "weight '" + weight.getSymName() + "'", message);
  };
  for (Attribute attribute : weight.getSources()) {
    auto source_type = cast<RankedTensorType>(cast<ElementsAttr>(attribute).getType());
    Source source{*encodingOf(source_type.getElementType()),
                  source_type.getRank() == 1 ? 1 : source_type.getDimSize(0), 0, nullptr};
    auto row_bytes = source.encoding.rowBytes(reader.column_count);
    if (!row_bytes)
      return fail("a row of " + Twine(reader.column_count) + " elements is not whole blocks of " +
                  displayName(source.encoding));
    source.row_bytes = *row_bytes;
    ArrayRef<char> bytes = payload(attribute);
    if (auto dense = dyn_cast<DenseElementsAttr>(attribute); dense && dense.isSplat()) {
      bytes = {};
      if (source.encoding.isFloat()) {
        const size_t start = reader.owned.size(), element = dense.getRawData().size();
        if (start)
          return fail("only one splat source is supported");
        for (int64_t i = 0; i < source_type.getNumElements(); ++i)
          reader.owned.append(dense.getRawData().data(), element);
        bytes = ArrayRef<char>(reader.owned.data(), reader.owned.size());
      }
    }
    if (bytes.size() != static_cast<uint64_t>(source.rows) * source.row_bytes)
      return fail("the payload has " + grouped(bytes.size()) + " bytes, expected " +
                  grouped(source.rows * source.row_bytes));
    source.data = reinterpret_cast<const uint8_t *>(bytes.data());
    reader.sources.push_back(source);
  }
  if (auto scale = weight.getScale()) {
    ArrayRef<char> bytes = payload(*scale);
    if (bytes.size() != reader.column_count * sizeof(float))
      return fail("the scale has " + grouped(bytes.size()) + " bytes, expected " +
                  grouped(reader.column_count * sizeof(float)));
    reader.scale = reinterpret_cast<const float *>(bytes.data());
  }
  // Moving `owned` may move its bytes (small strings live inside the object).
  if (!reader.owned.empty()) {
    reader.owned.reserve(256);
    reader.sources.front().data = reinterpret_cast<const uint8_t *>(reader.owned.data());
  }
  return reader;
}

std::vector<ArrayRef<uint8_t>> WeightReader::sourceBytes() const {
  std::vector<ArrayRef<uint8_t>> bytes;
  for (const Source &source : sources)
    bytes.emplace_back(source.data, source.rows * source.row_bytes);
  return bytes;
}

WeightReader::Place WeightReader::find(int64_t row) const {
  if (interleave) {
    const int64_t block = row / interleave, count = sources.size();
    const Source &source = sources[block % count];
    const int64_t inside = block / count * interleave + row % interleave;
    return {&source, source.data + inside * source.row_bytes};
  }
  for (const Source &source : sources) {
    if (row < source.rows)
      return {&source, source.data + row * source.row_bytes};
    row -= source.rows;
  }
  llvm_unreachable("row out of range");
}

std::vector<uint8_t> WeightReader::recode(const Place &place) const {
  std::vector<float> values(column_count);
  place.source->encoding.decodeRow(place.row, column_count, values.data());
  if (scale)
    for (int64_t i = 0; i < column_count; ++i)
      values[i] *= scale[i];
  std::vector<uint8_t> out(*format.rowBytes(column_count));
  format.encodeRow(values.data(), column_count, out.data());
  return out;
}

void WeightReader::decodeRow(int64_t row, float *out) const {
  const Place place = find(row);
  if (!scale && holdsExactly(place.source->encoding, format))
    place.source->encoding.decodeRow(place.row, column_count, out);
  else
    format.decodeRow(recode(place).data(), column_count, out);
}

void WeightReader::affineRow(int64_t row, int16_t *codes, float *scales, float *mins) const {
  const Place place = find(row);
  if (!scale && holdsExactly(place.source->encoding, format))
    place.source->encoding.affineRow(place.row, column_count, codes, scales, mins);
  else
    format.affineRow(recode(place).data(), column_count, codes, scales, mins);
}

void WeightReader::twoLevelRow(int64_t row, int16_t *codes, int16_t *scales, int16_t *mins,
                               float *super_scales, float *super_mins) const {
  const Place place = find(row);
  assert(!scale && place.source->encoding == format && "scales of two levels are never made");
  format.twoLevelRow(place.row, column_count, codes, scales, mins, super_scales, super_mins);
}

} // namespace ingot::lm
