#include "codegen/link/Pack.h"

#include "dialects/kernel/Spec.h"
#include "support/Error.h"

#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Parallel.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;

namespace ingot {

static void storeFloat(CodeKind type, uint8_t *out, int64_t index, float value) {
  if (type == CodeKind::f32) {
    memcpy(out + index * 4, &value, 4);
    return;
  }
  const uint16_t bits = type == CodeKind::f16 ? floatToHalf(value) : floatToBfloat(value);
  memcpy(out + index * 2, &bits, 2);
}

std::vector<uint8_t> packMatrix(const lm::WeightReader &weight, const PackedLayout &layout) {
  KernelSpec spec;
  KernelValue value;
  value.kind = KernelValue::Kind::matrix;
  value.width = weight.columns();
  value.height = weight.rows();
  value.encoding = weight.encoding();
  value.layout = layout;
  spec.values.push_back(value);
  const int32_t parts = bufferCount(value, spec.kv);
  std::vector<int64_t> start{0};
  for (int32_t part = 0; part < parts; ++part)
    start.push_back(start.back() + kernel::alignLine(bufferBytes(spec, 0, part)));
  std::vector<uint8_t> out(start.back());

  const Encoding &encoding = weight.encoding();
  const int64_t columns = weight.columns(), lanes = layout.rows;
  const int64_t blocks = (weight.rows() + lanes - 1) / lanes;
  llvm::parallelFor(0, blocks, [&](size_t block) {
    const int64_t first = int64_t(block) * lanes;
    const int64_t count = std::min(lanes, weight.rows() - first);
    if (encoding.isFloat()) {
      std::vector<float> values(columns);
      for (int64_t lane = 0; lane < count; ++lane) {
        weight.decodeRow(first + lane, values.data());
        for (int64_t k = 0; k < columns; ++k)
          storeFloat(encoding.code, out.data(), (int64_t(block) * columns + k) * lanes + lane,
                     values[k]);
      }
      return;
    }
    const int64_t groups = encoding.groups(columns), inner = layout.k_inner;
    const int64_t group = encoding.groupElements(columns), half = group / 2;
    std::vector<int16_t> codes(columns);
    std::vector<float> scales(groups), mins(groups);
    for (int64_t lane = 0; lane < count; ++lane) {
      weight.affineRow(first + lane, codes.data(), scales.data(), mins.data());
      for (int64_t k = 0; k < columns; ++k) {
        const uint8_t code = static_cast<uint8_t>(codes[k] - encoding.minCode());
        if (layout.code_bits == 4) {
          // Low nibbles hold the first half of the group, high nibbles the second.
          const int64_t high = k % group / half;
          const int64_t position = k / group * half + k % half; // bytes before it in this lane
          uint8_t &byte =
              out[((int64_t(block) * columns / 2 / inner + position / inner) * lanes + lane) *
                      inner +
                  position % inner];
          byte |= high ? code << 4 : code;
        } else {
          out[((int64_t(block) * columns / inner + k / inner) * lanes + lane) * inner + k % inner] =
              code;
        }
      }
      for (int64_t g = 0; g < groups; ++g) {
        const int64_t index = (int64_t(block) * groups + g) * lanes + lane;
        storeFloat(layout.scale_type, out.data() + start[1], index, scales[g]);
        if (!encoding.symmetric())
          storeFloat(layout.scale_type, out.data() + start[2], index, mins[g]);
      }
    }
  });
  return out;
}

llvm::Error writeWeights(ModuleOp planned, StringRef path, uint64_t reserve,
                         llvm::function_ref<void(uint64_t)> progress) {
  SmallVector<lm::WeightOp> weights;
  for (auto weight : planned.getOps<lm::WeightOp>())
    if (weight.getOffset())
      weights.push_back(weight);
  llvm::sort(weights,
             [](lm::WeightOp a, lm::WeightOp b) { return *a.getOffset() < *b.getOffset(); });
  std::error_code error;
  llvm::raw_fd_ostream stream(path, error);
  if (error)
    return inputError(path, "", "cannot write: " + error.message());
  stream.write_zeros(reserve);
  for (lm::WeightOp weight : weights) {
    auto reader = lm::WeightReader::open(weight);
    if (!reader)
      return reader.takeError();
    const uint64_t begin = reserve + *weight.getOffset();
    if (stream.tell() > begin)
      return inputError("", "weight '" + weight.getSymName() + "'", "overlaps the one before it");
    stream.write_zeros(begin - stream.tell());
    std::vector<uint8_t> bytes;
    if (lm::isMatrix(weight.getType())) {
      bytes =
          packMatrix(*reader, kernel::layoutFrom(cast<kernel::LayoutAttr>(*weight.getLayout())));
    } else {
      bytes.resize(reader->columns() * sizeof(float));
      reader->decodeRow(0, reinterpret_cast<float *>(bytes.data()));
    }
    stream.write(reinterpret_cast<const char *>(bytes.data()), bytes.size());
    progress(bytes.size());
  }
  const uint64_t end = reserve + planned->getAttrOfType<IntegerAttr>("ingot.weight_bytes").getInt();
  if (stream.tell() < end)
    stream.write_zeros(end - stream.tell());
  stream.close();
  if (std::error_code failed = stream.error()) {
    stream.clear_error();
    return inputError(path, "", "cannot write: " + failed.message());
  }
  return llvm::Error::success();
}

} // namespace ingot
