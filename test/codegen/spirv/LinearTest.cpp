// Linear layers of SPIR-V.
#include "test/codegen/spirv/Kernels.h"

using namespace ingot;
using namespace ingot::test;

namespace {

double silu(double v) { return v / (1 + std::exp(-v)); }

/// A sum and what its rounding may depend on: the sum of magnitudes.
struct Sum {
  double value = 0, magnitude = 0, share = 2e-6;
  void add(double term) { value += term, magnitude += std::fabs(term); }
  double bound() const { return share * magnitude + 1e-7; }
};

Sum dot(const TestMatrix &m, int64_t row, const int8_t *codes, const float *scales, int32_t group) {
  Sum sum;
  for (int64_t k = 0; k < m.columns; ++k)
    sum.add(double(m.at(row, k)) * codes[k] * scales[k / group]);
  return sum;
}

/// The same of halves, whose products with codes are exact. Sums in whatever order, each rounded in
/// whatever direction: 2^-23 of all magnitudes for each that an element goes through, which are the
/// group's, the groups', what adds minima, and the parts'.
Sum dotOfHalves(const TestMatrix &m, int64_t row, const uint16_t *codes, const float *scales,
                int32_t group) {
  Sum sum;
  sum.share = double(group + 2 * (m.columns / group) + 8) / (1 << 23);
  for (int64_t k = 0; k < m.columns; ++k) {
    const int64_t g = row * m.groups + k / m.encoding.groupElements(m.columns);
    const double x = double(halfToFloat(codes[k])) * scales[k / group];
    sum.add(double(m.codes[row * m.columns + k]) * m.scales[g] * x);
    if (!m.encoding.symmetric())
      sum.add(m.mins[g] * x);
  }
  return sum;
}

struct Shape {
  int64_t rows, columns;
  int32_t max_tokens, tokens;
};
enum class Epilogue { none, residual, silu };
enum class Reads { codes, halves, floats };

/// A layer and what it reads. Super-blocks are whole.
struct Layer {
  Shape shape;
  Reads reads;
  Epilogue epilogue;
  int32_t group, x, w, y, residual = -1;
  KernelSpec spec;

  Layer(const Encoding &encoding, Shape of, Reads reads, Epilogue epilogue)
      : shape(of), reads(reads), epilogue(epilogue) {
    if (encoding.twoLevel())
      shape.columns = roundUp(shape.columns, Encoding::kSuperBlock);
    group = encoding.groupElements(shape.columns) % 32 ? 16 : 32;
    SpecMaker make(shape.max_tokens);
    const bool quantized = reads != Reads::floats;
    x = make.input(quantized ? KernelValue::Kind::quant : KernelValue::Kind::rows, shape.columns);
    if (reads == Reads::halves)
      make.spec.values[x].encoding = {CodeKind::f16, 16, uint32_t(group), {CodeKind::f32}, {}};
    w = matrixOf(make, encoding, shape.rows, shape.columns);
    if (epilogue == Epilogue::residual)
      residual = make.rows(shape.rows);
    y = make.rowsOp(Kind::linear, {x, w}, shape.rows);
    make.spec.ops.back().act_group = quantized ? group : 0;
    if (epilogue == Epilogue::residual)
      y = make.rowsOp(Kind::add, {y, residual}, shape.rows);
    else if (epilogue == Epilogue::silu)
      y = make.rowsOp(Kind::silu_mul, {y}, shape.rows / 2);
    spec = finish(make, {y});
  }
  int64_t groups() const { return shape.columns / group; }
  int64_t stride() const { return roundUp(shape.columns, 16); }
  int64_t outRows() const { return epilogue == Epilogue::silu ? shape.rows / 2 : shape.rows; }
  int64_t outStride() const { return roundUp(outRows(), 16); }

  int64_t matrixBytes() const {
    int64_t bytes = 0;
    for (int32_t part = 0; part < bufferCount(spec.values[w], spec.kv); ++part)
      bytes += bufferBytes(spec, w, part);
    return bytes;
  }
  void fill(Memory &memory) const {
    std::mt19937 random(11);
    std::normal_distribution<float> normal;
    std::vector<float> source(shape.columns);
    for (int32_t t = 0; t < shape.tokens; ++t) {
      for (float &v : source)
        v = normal(random);
      if (reads == Reads::halves)
        roundToHalves(memory, t, source);
      else if (reads == Reads::codes)
        twinQuantize(source.data(), shape.columns, group, memory.get<int8_t>(x) + t * shape.columns,
                     memory.get<float>(x, 1) + t * groups(),
                     memory.get<int32_t>(x, 2) + t * groups());
      else
        std::memcpy(memory.get<float>(x) + t * stride(), source.data(), 4 * shape.columns);
    }
    if (residual >= 0)
      memory.randomRows(residual, 5);
  }
  void check(Memory &memory, const TestMatrix &matrix) const {
    for (int32_t t = 0; t < shape.tokens; ++t)
      for (int64_t n = 0; n < outRows(); ++n) {
        Sum want =
            product(memory, matrix, epilogue == Epilogue::silu ? n / 16 * 32 + n % 16 : n, t);
        if (epilogue == Epilogue::residual) {
          want.add(memory.get<float>(residual)[t * outStride() + n]);
        } else if (epilogue == Epilogue::silu) {
          const Sum up = product(memory, matrix, n / 16 * 32 + n % 16 + 16, t);
          const double gate = want.value;
          want = {silu(gate) * up.value,
                  (1 + std::fabs(gate)) * (up.magnitude + std::fabs(up.value)) +
                      want.magnitude * std::fabs(up.value),
                  want.share};
        }
        ASSERT_NEAR(memory.get<float>(y)[t * outStride() + n], want.value, want.bound())
            << "row " << n << " token " << t;
      }
  }

private:
  void roundToHalves(Memory &memory, int32_t t, const std::vector<float> &source) const {
    for (int64_t g = 0; g < groups(); ++g) {
      float peak = 0, sum = 0;
      for (int64_t k = g * group; k < (g + 1) * group; ++k)
        peak = std::fmax(peak, std::fabs(source[k]));
      const float scale = std::ldexp(1.0f, std::ilogb(peak));
      for (int64_t k = g * group; k < (g + 1) * group; ++k) {
        const uint16_t half = floatToHalf(source[k] / scale);
        memory.get<uint16_t>(x)[t * shape.columns + k] = half;
        sum += halfToFloat(half);
      }
      memory.get<float>(x, 1)[t * groups() + g] = scale;
      memory.get<float>(x, 2)[t * groups() + g] = sum;
    }
  }
  Sum product(Memory &memory, const TestMatrix &matrix, int64_t row, int32_t t) const {
    if (reads == Reads::halves)
      return dotOfHalves(matrix, row, memory.get<uint16_t>(x) + t * shape.columns,
                         memory.get<float>(x, 1) + t * groups(), group);
    if (reads == Reads::codes)
      return dot(matrix, row, memory.get<int8_t>(x) + t * shape.columns,
                 memory.get<float>(x, 1) + t * groups(), group);
    Sum sum;
    for (int64_t k = 0; k < shape.columns; ++k)
      sum.add(double(matrix.at(row, k)) * memory.get<float>(x)[t * stride() + k]);
    return sum;
  }
};

std::string told(const Encoding &encoding, Shape shape, Reads reads) {
  return encoding.str() + " " + std::to_string(shape.rows) + "x" + std::to_string(shape.columns) +
         " tokens " + std::to_string(shape.tokens) + "/" + std::to_string(shape.max_tokens) +
         (reads == Reads::halves  ? " f16"
          : reads == Reads::codes ? " int8"
                                  : " f32");
}

void checkLinear(const Encoding &encoding, Shape shape, Reads reads,
                 Epilogue epilogue = Epilogue::none) {
  SCOPED_TRACE(told(encoding, shape, reads));
  const Layer layer(encoding, shape, reads, epilogue);
  DeviceKernel kernel(layer.spec);
  Memory memory(layer.spec);
  const TestMatrix matrix = makeMatrix(layer.spec.values[layer.w], 7);
  memory.setMatrix(layer.w, matrix);
  layer.fill(memory);
  kernel.run(memory, shape.tokens, [&] { layer.check(memory, matrix); });
}

/// The same numbers, with one scale a group, as it is, and codes in nibbles or bytes.
TestMatrix expanded(const TestMatrix &m, const KernelValue &value) {
  TestMatrix all = m;
  all.encoding = value.encoding;
  const int64_t rows = roundUp(m.rows, 16), group = m.columns / m.groups;
  const bool nibbles = value.layout.code_bits == 4,
             floats = value.layout.scale_type == CodeKind::f32;
  all.packed_codes.assign(rows * m.columns / (nibbles ? 2 : 1), 0);
  all.packed_scales.assign(rows * m.groups * (floats ? 4 : 2), 0);
  all.packed_mins = value.encoding.symmetric() ? std::vector<uint8_t>() : all.packed_scales;
  all.packed_supers.clear();
  auto store = [&](std::vector<uint8_t> &to, int64_t at, float number) {
    const uint16_t half = floatToHalf(number);
    if (floats)
      std::memcpy(to.data() + 4 * at, &number, 4);
    else
      std::memcpy(to.data() + 2 * at, &half, 2);
  };
  for (int64_t r = 0; r < m.rows; ++r)
    for (int64_t g = 0; g < m.groups; ++g) {
      const int64_t at = (r / 16 * m.groups + g) * 16 + r % 16;
      store(all.packed_scales, at, m.scales[r * m.groups + g]);
      if (!value.encoding.symmetric())
        store(all.packed_mins, at, m.mins[r * m.groups + g]);
      const int64_t bytes = nibbles ? group / 2 : group;
      for (int64_t k = 0; k < group; ++k) {
        const int64_t byte = k % bytes, place = (r / 16 * m.groups + g) * bytes * 16;
        all.packed_codes[place + (byte / 4 * 16 + r % 16) * 4 + byte % 4] |=
            value.encoding.storedCode(m.codes[r * m.columns + g * group + k]) << (k / bytes * 4);
      }
    }
  return all;
}

/// The same values in nibbles or bytes, and one scale a group.
Encoding widened(Encoding encoding) {
  encoding.bits = encoding.bits <= 4 ? 4 : 8;
  for (ScaleFormat *scale : {&encoding.scale, &encoding.min})
    if (scale->sub_bits)
      *scale = {CodeKind::f32, 0, false};
  return encoding;
}

/// Codes in planes and scales of two levels give the bits of what they stand for.
void checkBits(const Encoding &encoding, Shape shape, Reads reads) {
  SCOPED_TRACE(told(encoding, shape, reads));
  const Layer layer(encoding, shape, reads, Epilogue::none);
  const Layer wide(widened(encoding), layer.shape, reads, Epilogue::none);
  Memory memory(layer.spec), other(wide.spec);
  const TestMatrix matrix = makeMatrix(layer.spec.values[layer.w], 7);
  memory.setMatrix(layer.w, matrix);
  other.setMatrix(wide.w, expanded(matrix, wide.spec.values[wide.w]));
  ASSERT_LT(layer.matrixBytes(), wide.matrixBytes());
  layer.fill(memory);
  wide.fill(other);
  DeviceKernel(layer.spec).runExact(memory, shape.tokens);
  DeviceKernel(wide.spec).runExact(other, shape.tokens);
  for (int32_t t = 0; t < shape.tokens; ++t)
    for (int64_t n = 0; n < shape.rows; ++n)
      ASSERT_EQ(memory.get<float>(layer.y)[t * layer.outStride() + n],
                other.get<float>(wide.y)[t * layer.outStride() + n])
          << "row " << n << " token " << t;
}

TEST_F(SpirvKernels, LinearOfCodes) {
  for (const Encoding &encoding : one_level) {
    checkLinear(encoding, {48, 192, 19, 13}, Reads::codes);
    checkLinear(encoding, {40, 96, 1, 1}, Reads::codes, Epilogue::residual);
    checkLinear(encoding, {64, 64, 4, 3}, Reads::codes, Epilogue::silu);
    checkLinear(encoding, {33, 96, 2, 2}, Reads::floats);
  }
  checkLinear(integers(CodeKind::u, 4, 64, CodeKind::f32, true), {80, 192, 7, 6}, Reads::codes);
  checkLinear(integers(CodeKind::i, 4, 96, CodeKind::f16, false), {48, 192, 1, 1}, Reads::codes);
  checkLinear(integers(CodeKind::i, 8, 0, CodeKind::f32, false), {64, 160, 7, 5}, Reads::codes);
  checkLinear(one_level[0], {3072, 64, 1, 1}, Reads::codes,
              Epilogue::silu);                               // several blocks at once
  checkLinear(one_level[2], {4096, 64, 1, 1}, Reads::codes); // and one after the other
}

TEST_F(SpirvKernels, LinearOfPlanesAndTwoLevels) {
  for (const Encoding &encoding : compact) {
    checkLinear(encoding, {48, 512, 1, 1}, Reads::codes);
    checkLinear(encoding, {33, 256, 7, 5}, Reads::codes);
    checkLinear(encoding, {40, 512, 1, 1}, Reads::floats, Epilogue::residual);
    checkLinear(encoding, {64, 256, 4, 3}, Reads::floats, Epilogue::silu);
    checkLinear(encoding, {33, 256, 2, 2}, Reads::halves);
  }
}

TEST_F(SpirvKernels, CompactMatricesGiveTheBitsOfWideOnes) {
  for (const Encoding &encoding : compact) {
    checkBits(encoding, {33, 512, 1, 1}, Reads::floats);
    checkBits(encoding, {33, 256, 7, 6}, Reads::codes);
  }
  for (const Encoding &encoding : {compact[1], compact[2]}) {
    checkBits(encoding, {48, 256, 19, 13}, Reads::floats);
    checkBits(encoding, {48, 512, 1, 1}, Reads::codes);
    checkBits(encoding, {48, 512, 1, 1}, Reads::halves);
  }
}

TEST_F(SpirvKernels, LinearOfHalves) {
  for (const Encoding &encoding : one_level) {
    checkLinear(encoding, {48, 192, 7, 5}, Reads::halves);
    checkLinear(encoding, {40, 96, 1, 1}, Reads::halves, Epilogue::residual);
    checkLinear(encoding, {64, 64, 4, 3}, Reads::halves, Epilogue::silu);
  }
  checkLinear(integers(CodeKind::u, 4, 64, CodeKind::f32, true), {80, 192, 7, 6}, Reads::halves);
  checkLinear(integers(CodeKind::i, 8, 0, CodeKind::f32, false), {64, 160, 7, 5}, Reads::halves);
}

/// Of many tokens, by each product of matrices: rows and tokens that fill no tile, fewer groups
/// than parts of a sum, groups of weights that are several of activations.
TEST_F(SpirvKernels, LinearByProducts) {
  if (!(deviceFeatures() & INGOT_DEVICE_ANY_PRODUCT))
    GTEST_SKIP() << "the device multiplies no matrices";
  formsThatRan() = 0;
  for (const Encoding &encoding : one_level) {
    checkLinear(encoding, {48, 160, 19, 17}, Reads::codes, Epilogue::residual);
    checkLinear(encoding, {96, 96, 40, 33}, Reads::codes, Epilogue::silu);
    checkLinear(encoding, {48, 160, 19, 17}, Reads::halves, Epilogue::residual);
  }
  for (const Encoding &encoding : compact) {
    checkLinear(encoding, {48, 256, 19, 17}, Reads::codes);
    checkLinear(encoding, {96, 512, 40, 33}, Reads::halves, Epilogue::silu);
  }
  checkLinear(one_level[0], {96, 96, 40, 33}, Reads::halves, Epilogue::silu);
  checkLinear(one_level[3], {80, 288, 32, 24}, Reads::halves);
  checkLinear(integers(CodeKind::i, 8, 0, CodeKind::f32, false), {64, 160, 30, 29}, Reads::halves);
  checkLinear(one_level[0], {16, 64, 9, 1}, Reads::codes);
  checkLinear(one_level[2], {33, 64, 16, 16}, Reads::codes);
  checkLinear(one_level[3], {80, 288, 32, 24}, Reads::codes);
  checkLinear(integers(CodeKind::u, 4, 64, CodeKind::f32, true), {80, 192, 24, 23}, Reads::codes);
  checkLinear(integers(CodeKind::i, 4, 96, CodeKind::f16, false), {40, 192, 64, 63}, Reads::codes);
  checkLinear(integers(CodeKind::u, 8, 64, CodeKind::f16, true), {48, 192, 12, 11}, Reads::codes);
  checkLinear(integers(CodeKind::i, 8, 0, CodeKind::f32, false), {64, 160, 30, 29}, Reads::codes,
              Epilogue::silu);
  for (size_t i = 0; i < std::size(product_shapes); ++i)
    if (everyProduct() || deviceFeatures() & INGOT_DEVICE_PRODUCT(i))
      EXPECT_TRUE(formsThatRan() & INGOT_DEVICE_PRODUCT(i)) << i;
}

TEST_F(SpirvKernels, LinearOfFloats) {
  for (CodeKind kind : {CodeKind::f16, CodeKind::bf16, CodeKind::f32}) {
    checkLinear(floats(kind), {40, 72, 7, 5}, Reads::floats, Epilogue::residual);
    checkLinear(floats(kind), {96, 64, 1, 1}, Reads::floats, Epilogue::silu);
  }
}

/// Norm and quantization in front of a layer of one token, in one kernel.
TEST_F(SpirvKernels, NormQuantizeLinear) {
  constexpr int64_t width = 192, rows = 80;
  SpecMaker make(1);
  const int32_t x = make.rows(width), gain = make.input(KernelValue::Kind::vector, width);
  const int32_t w = matrixOf(make, one_level[0], rows, width);
  const int32_t norm = make.rowsOp(Kind::rms_norm, {x, gain}, width);
  make.spec.ops.back().eps = 1e-5;
  const int32_t quant = make.quantize(norm, 32);
  const int32_t y = make.rowsOp(Kind::linear, {quant, w}, rows);
  make.spec.ops.back().act_group = 32;
  const KernelSpec spec = finish(make, {y});
  DeviceKernel kernel(spec);
  Memory memory(spec);
  const TestMatrix matrix = makeMatrix(spec.values[w], 7);
  memory.setMatrix(w, matrix);
  memory.randomRows(x, 3);
  memory.randomRows(gain, 4);
  kernel.run(memory, 1);
  std::vector<double> exact;
  exactNorm(memory.get<float>(x), memory.get<float>(gain), 1e-5, width, exact);
  for (int64_t n = 0; n < rows; ++n) {
    Sum want;
    double half_codes = 0; // what rounding activations to codes may change
    for (int64_t k = 0; k < width; ++k) {
      double peak = 0;
      for (int64_t i = k / 32 * 32; i < k / 32 * 32 + 32; ++i)
        peak = std::max(peak, std::fabs(exact[i]));
      want.add(matrix.at(n, k) * exact[k]);
      half_codes += 0.5001 * peak / 127 * std::fabs(matrix.at(n, k));
    }
    ASSERT_NEAR(memory.get<float>(y)[n], want.value, half_codes + want.bound());
  }
}

} // namespace
