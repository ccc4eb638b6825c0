#include "codegen/link/Pack.h"

#include "dialects/kernel/Spec.h"
#include "dialects/lm/StoredFloat.h"
#include "support/Error.h"
#include "support/Files.h"

#include "llvm/Support/MathExtras.h"
#include "llvm/Support/Parallel.h"

using namespace mlir;

namespace ingot {
namespace {

/// What a thread packs before it writes: few calls, and far below any cache that is shared.
constexpr uint64_t run_bytes = 1 << 20;

void storeAt(int64_t index, CodeKind type, uint8_t *out, float value) {
  storeFloat(type, out + index * scaleBytes(type), value);
}

/// Puts a row in units of `size` bytes into its lane: out [units][lanes][size].
template <int64_t size>
void spreadUnits(const uint8_t *row, int64_t units, int64_t lanes, int64_t lane, uint8_t *out) {
  out += lane * size;
  for (int64_t unit = 0; unit < units; ++unit)
    memcpy(out + unit * lanes * size, row + unit * size, size);
}

void spread(int64_t size, const std::vector<uint8_t> &row, int64_t lanes, int64_t lane,
            uint8_t *out) {
  const int64_t units = static_cast<int64_t>(row.size()) / size;
  switch (size) {
  case 1:
    return spreadUnits<1>(row.data(), units, lanes, lane, out);
  case 2:
    return spreadUnits<2>(row.data(), units, lanes, lane, out);
  case 4:
    return spreadUnits<4>(row.data(), units, lanes, lane, out);
  default:
    for (int64_t unit = 0; unit < units; ++unit)
      memcpy(out + (unit * lanes + lane) * size, row.data() + unit * size, size);
  }
}

/// Packs the blocks of a matrix one by one. A block, `layout.rows` rows, is contiguous in each part
/// of the packed matrix.
class MatrixPacker {
public:
  MatrixPacker(const lm::WeightReader &weight, const PackedLayout &layout)
      : weight(weight), layout(layout), encoding(weight.encoding()), columns(weight.columns()),
        blocks((weight.rows() + layout.rows - 1) / layout.rows) {
    KernelSpec spec;
    KernelValue &value = spec.values.emplace_back();
    value.kind = KernelValue::Kind::matrix;
    value.width = columns;
    value.height = weight.rows();
    value.encoding = encoding;
    value.layout = layout;
    for (const int8_t number : encoding.values())
      places[static_cast<uint8_t>(number)] = encoding.storedCode(number);
    uint64_t start = 0;
    for (int32_t part = 0; part < bufferCount(value, spec.kv); ++part) {
      const uint64_t bytes = bufferBytes(spec, 0, part);
      parts.push_back({start, bytes / blocks});
      start += kernel::alignLine(bytes);
    }
  }

  /// Packs and writes all blocks; the matrix begins at `offset` of `file`.
  void write(PlacedFile &file, uint64_t offset, llvm::function_ref<void(uint64_t)> written) const {
    uint64_t block_bytes = 0;
    for (const Part &part : parts)
      block_bytes += part.block_bytes;
    const int64_t run = std::max<int64_t>(1, run_bytes / block_bytes);
    llvm::parallelFor(0, llvm::divideCeil(blocks, run), [&](size_t index) {
      const int64_t first = static_cast<int64_t>(index) * run, end = std::min(blocks, first + run);
      std::vector<std::vector<uint8_t>> packed;
      for (const Part &part : parts)
        packed.emplace_back(part.block_bytes * (end - first));
      Scratch scratch;
      for (int64_t block = first; block < end; ++block)
        pack(block, block - first, scratch, packed);
      for (auto [part, bytes] : llvm::zip(parts, packed))
        file.write(offset + part.start + part.block_bytes * first, bytes);
      written(block_bytes * (end - first));
    });
  }

private:
  struct Part {
    uint64_t start, block_bytes;
  };
  /// One row, before it is spread over its block.
  struct Scratch {
    std::vector<uint8_t> row;
    std::vector<int16_t> codes, sub_scales, sub_mins;
    std::vector<float> values, scales, mins; ///< with scales of two levels: what those multiply
  };

  void pack(int64_t block, int64_t place, Scratch &scratch,
            std::vector<std::vector<uint8_t>> &out) const {
    const int64_t first = block * layout.rows;
    const int64_t count = std::min<int64_t>(layout.rows, weight.rows() - first);
    auto start = [&](size_t part) { return out[part].data() + place * parts[part].block_bytes; };
    for (int64_t lane = 0; lane < count; ++lane) {
      if (encoding.isFloat()) {
        const int64_t size = scaleBytes(encoding.code);
        scratch.values.resize(columns);
        weight.decodeRow(first + lane, scratch.values.data());
        scratch.row.resize(columns * size);
        for (int64_t k = 0; k < columns; ++k)
          storeAt(k, encoding.code, scratch.row.data(), scratch.values[k]);
        spread(size, scratch.row, layout.rows, lane, start(0));
        continue;
      }
      const int64_t groups = encoding.groups(columns);
      scratch.codes.resize(columns);
      if (encoding.twoLevel()) {
        packTwoLevels(first + lane, lane, scratch, start);
      } else {
        scratch.scales.resize(groups);
        scratch.mins.resize(groups);
        weight.affineRow(first + lane, scratch.codes.data(), scratch.scales.data(),
                         scratch.mins.data());
        for (int64_t group = 0; group < groups; ++group) {
          const int64_t index = group * layout.rows + lane;
          storeAt(index, layout.scale_type, start(1), scratch.scales[group]);
          if (!encoding.symmetric())
            storeAt(index, layout.scale_type, start(2), scratch.mins[group]);
        }
      }
      packCodes(scratch);
      spread(layout.k_inner, scratch.row, layout.rows, lane, start(0));
    }
  }

  /// Codes of scales and mins as bytes, and behind them what they are multiplied with.
  void packTwoLevels(int64_t row, int64_t lane, Scratch &scratch,
                     llvm::function_ref<uint8_t *(size_t)> start) const {
    const int64_t groups = encoding.groups(columns), supers = columns / Encoding::kSuperBlock;
    const int64_t numbers = encoding.symmetric() ? 1 : 2;
    scratch.sub_scales.resize(groups);
    scratch.sub_mins.resize(groups);
    scratch.scales.resize(supers);
    scratch.mins.resize(supers);
    weight.twoLevelRow(row, scratch.codes.data(), scratch.sub_scales.data(),
                       scratch.sub_mins.data(), scratch.scales.data(), scratch.mins.data());
    for (int64_t number = 0; number < numbers; ++number) {
      const std::vector<int16_t> &codes = number ? scratch.sub_mins : scratch.sub_scales;
      const std::vector<float> &by = number ? scratch.mins : scratch.scales;
      for (int64_t group = 0; group < groups; ++group)
        start(1 + number)[group * layout.rows + lane] = static_cast<uint8_t>(codes[group]);
      for (int64_t super = 0; super < supers; ++super)
        storeAt((super * numbers + number) * layout.rows + lane, layout.scale_type,
                start(1 + numbers), by[super]);
    }
  }

  /// The bytes of a row's codes, in the order of the reduction.
  void packCodes(Scratch &scratch) const {
    const bool table = encoding.table != CodeTable::none;
    if (table)
      for (int16_t &code : scratch.codes)
        code = places[static_cast<uint8_t>(code)];
    const int lowest = table ? 0 : encoding.minCode();
    const int16_t *codes = scratch.codes.data();
    if (layout.code_bits == 8) {
      scratch.row.resize(columns);
      for (int64_t k = 0; k < columns; ++k)
        scratch.row[k] = static_cast<uint8_t>(codes[k] - lowest);
      return;
    }
    scratch.row.assign(columns * layout.code_bits / 8, 0);
    const int64_t group = encoding.groupElements(columns);
    uint8_t *out = scratch.row.data();
    for (int64_t k = 0; k < columns; k += group) {
      int32_t shift = 0;
      for (const int32_t bits : planesOf(layout.code_bits)) {
        const int64_t part = group * bits / 8;
        const int mask = (1 << bits) - 1;
        for (int64_t field = 0; field < 8 / bits; ++field)
          for (int64_t i = 0; i < part; ++i)
            out[i] |= static_cast<uint8_t>((codes[k + field * part + i] - lowest) >> shift & mask)
                      << bits * field;
        out += part;
        shift += bits;
      }
    }
  }

  const lm::WeightReader &weight;
  const PackedLayout &layout;
  const Encoding &encoding;
  const int64_t columns, blocks;
  std::vector<Part> parts;
  std::array<uint8_t, 256> places{}; ///< of a table's numbers: Encoding::storedCode
};

} // namespace

llvm::Error writeWeights(ModuleOp planned, StringRef path, uint64_t reserve,
                         const PackObserver &observer) {
  SmallVector<lm::WeightOp> weights;
  for (auto weight : planned.getOps<lm::WeightOp>())
    if (weight.getOffset())
      weights.push_back(weight);
  llvm::sort(weights,
             [](lm::WeightOp a, lm::WeightOp b) { return *a.getOffset() < *b.getOffset(); });
  const uint64_t end = planned->getAttrOfType<IntegerAttr>("ingot.weight_bytes").getInt();
  auto file = PlacedFile::create(path, reserve + end);
  if (!file)
    return file.takeError();
  for (auto [index, weight] : llvm::enumerate(weights)) {
    auto reader = lm::WeightReader::open(weight);
    if (!reader)
      return reader.takeError();
    for (ArrayRef<uint8_t> bytes : reader->sourceBytes())
      observer.reading(bytes);
    const uint64_t begin = reserve + *weight.getOffset();
    if (lm::isMatrix(weight.getType())) {
      const PackedLayout layout = kernel::layoutFrom(cast<kernel::LayoutAttr>(*weight.getLayout()));
      MatrixPacker(*reader, layout).write(*file, begin, observer.written);
    } else {
      std::vector<float> values(reader->columns());
      reader->decodeRow(0, values.data());
      const uint64_t bytes = values.size() * sizeof(float);
      file->write(begin, {reinterpret_cast<const uint8_t *>(values.data()), bytes});
      observer.written(bytes);
    }
    if (file->failed())
      break;
  }
  return file->close();
}

} // namespace ingot
