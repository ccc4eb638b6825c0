// Kernels of SPIR-V against plain loops in double precision, over odd shapes.
#include "targets/BlockLayout.h"
#include "test/codegen/halide/Twins.h"
#include "test/codegen/spirv/Device.h"

#include "gtest/gtest.h"

#include <array>
#include <cfloat>
#include <numbers>

using namespace ingot;
using namespace ingot::test;
using Kind = KernelOp::Kind;

namespace {

class SpirvKernels : public testing::Test {
protected:
  void SetUp() override {
    if (const char *missing = missingDevice())
      GTEST_SKIP() << missing;
  }
};

int32_t matrixOf(SpecMaker &make, const Encoding &encoding, int64_t height, int64_t width) {
  const int32_t index = make.input(KernelValue::Kind::matrix, width);
  KernelValue &value = make.spec.values[index];
  value.height = height;
  value.encoding = oneScaleEncoding(encoding); // what devices read
  value.layout = blockLayout(value.encoding);
  return index;
}

KernelSpec finish(SpecMaker &make, std::vector<int32_t> outputs) {
  make.spec.outputs = std::move(outputs);
  return make.spec;
}

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

void checkLinear(const Encoding &encoding, Shape shape, Reads reads,
                 Epilogue epilogue = Epilogue::none) {
  const bool quantized = reads != Reads::floats, halves = reads == Reads::halves;
  SCOPED_TRACE(encoding.str() + " " + std::to_string(shape.rows) + "x" +
               std::to_string(shape.columns) + " tokens " + std::to_string(shape.tokens) + "/" +
               std::to_string(shape.max_tokens) +
               (halves      ? " f16"
                : quantized ? " int8"
                            : " f32"));
  const int32_t group = encoding.groupElements(shape.columns) % 32 ? 16 : 32;
  SpecMaker make(shape.max_tokens);
  const int32_t x =
      make.input(quantized ? KernelValue::Kind::quant : KernelValue::Kind::rows, shape.columns);
  if (halves)
    make.spec.values[x].encoding = {CodeKind::f16, 16, uint32_t(group), {CodeKind::f32}, {}};
  const int32_t w = matrixOf(make, encoding, shape.rows, shape.columns);
  const int32_t residual = epilogue == Epilogue::residual ? make.rows(shape.rows) : -1;
  int32_t y = make.rowsOp(Kind::linear, {x, w}, shape.rows);
  make.spec.ops.back().act_group = quantized ? group : 0;
  if (epilogue == Epilogue::residual)
    y = make.rowsOp(Kind::add, {y, residual}, shape.rows);
  else if (epilogue == Epilogue::silu)
    y = make.rowsOp(Kind::silu_mul, {y}, shape.rows / 2);
  const KernelSpec spec = finish(make, {y});
  DeviceKernel kernel(spec);
  Memory memory(spec);
  const TestMatrix matrix = makeMatrix(spec.values[w], 7);
  memory.setMatrix(w, matrix);
  std::mt19937 random(11);
  std::normal_distribution<float> normal;
  std::vector<float> source(shape.columns);
  const int64_t groups = shape.columns / group, stride = roundUp(shape.columns, 16);
  for (int32_t t = 0; t < shape.tokens; ++t) {
    for (float &v : source)
      v = normal(random);
    if (halves)
      for (int64_t g = 0; g < groups; ++g) {
        float peak = 0, sum = 0;
        for (int64_t k = g * group; k < (g + 1) * group; ++k)
          peak = std::fmax(peak, std::fabs(source[k]));
        const float scale = std::ldexp(1.0f, std::ilogb(peak));
        for (int64_t k = g * group; k < (g + 1) * group; ++k) {
          const uint16_t half = floatToHalf(source[k] / scale);
          memory.get<uint16_t>(x)[t * shape.columns + k] = half;
          sum += halfToFloat(half);
        }
        memory.get<float>(x, 1)[t * groups + g] = scale;
        memory.get<float>(x, 2)[t * groups + g] = sum;
      }
    else if (quantized)
      twinQuantize(source.data(), shape.columns, group, memory.get<int8_t>(x) + t * shape.columns,
                   memory.get<float>(x, 1) + t * groups, memory.get<int32_t>(x, 2) + t * groups);
    else
      std::memcpy(memory.get<float>(x) + t * stride, source.data(), 4 * shape.columns);
  }
  if (residual >= 0)
    memory.randomRows(residual, 5);
  const int64_t out_rows = epilogue == Epilogue::silu ? shape.rows / 2 : shape.rows;
  const int64_t out_stride = roundUp(out_rows, 16);
  kernel.run(memory, shape.tokens, [&] {
    for (int32_t t = 0; t < shape.tokens; ++t) {
      auto product = [&](int64_t row) {
        if (halves)
          return dotOfHalves(matrix, row, memory.get<uint16_t>(x) + t * shape.columns,
                             memory.get<float>(x, 1) + t * groups, group);
        if (quantized)
          return dot(matrix, row, memory.get<int8_t>(x) + t * shape.columns,
                     memory.get<float>(x, 1) + t * groups, group);
        Sum sum;
        for (int64_t k = 0; k < shape.columns; ++k)
          sum.add(double(matrix.at(row, k)) * memory.get<float>(x)[t * stride + k]);
        return sum;
      };
      for (int64_t n = 0; n < out_rows; ++n) {
        Sum want = product(epilogue == Epilogue::silu ? n / 16 * 32 + n % 16 : n);
        if (epilogue == Epilogue::residual) {
          want.add(memory.get<float>(residual)[t * out_stride + n]);
        } else if (epilogue == Epilogue::silu) {
          const Sum up = product(n / 16 * 32 + n % 16 + 16);
          const double gate = want.value;
          want = {silu(gate) * up.value,
                  (1 + std::fabs(gate)) * (up.magnitude + std::fabs(up.value)) +
                      want.magnitude * std::fabs(up.value),
                  want.share};
        }
        ASSERT_NEAR(memory.get<float>(y)[t * out_stride + n], want.value, want.bound())
            << "row " << n << " token " << t;
      }
    }
  });
}

const Encoding encodings[] = {
    integers(CodeKind::u, 4, 32, CodeKind::f16, true),
    integers(CodeKind::i, 4, 32, CodeKind::f16, false),
    integers(CodeKind::i, 8, 32, CodeKind::f16, false),
    integers(CodeKind::u, 5, 32, CodeKind::f16, true),
    integers(CodeKind::i, 6, 16, CodeKind::f32, false),
    integers(CodeKind::u, 2, 16, CodeKind::f32, true),
    *Encoding::parse("iq4_nl, g32, f16"),
    *Encoding::parse("e2m1, g32, e8m0"),
};

TEST_F(SpirvKernels, LinearOfCodes) {
  for (const Encoding &encoding : encodings) {
    checkLinear(encoding, {48, 192, 19, 13}, Reads::codes);
    checkLinear(encoding, {40, 96, 1, 1}, Reads::codes, Epilogue::residual);
    checkLinear(encoding, {64, 64, 4, 3}, Reads::codes, Epilogue::silu);
    checkLinear(encoding, {33, 96, 2, 2}, Reads::floats);
  }
  checkLinear(integers(CodeKind::u, 4, 64, CodeKind::f32, true), {80, 192, 7, 6}, Reads::codes);
  checkLinear(integers(CodeKind::i, 4, 96, CodeKind::f16, false), {48, 192, 1, 1}, Reads::codes);
  checkLinear(integers(CodeKind::i, 8, 0, CodeKind::f32, false), {64, 160, 7, 5}, Reads::codes);
  checkLinear(encodings[0], {3072, 64, 1, 1}, Reads::codes,
              Epilogue::silu);                               // several blocks at once
  checkLinear(encodings[2], {4096, 64, 1, 1}, Reads::codes); // and one after the other
}

TEST_F(SpirvKernels, LinearOfHalves) {
  for (const Encoding &encoding : encodings) {
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
  for (const Encoding &encoding : encodings) {
    checkLinear(encoding, {48, 160, 19, 17}, Reads::codes, Epilogue::residual);
    checkLinear(encoding, {96, 96, 40, 33}, Reads::codes, Epilogue::silu);
    checkLinear(encoding, {48, 160, 19, 17}, Reads::halves, Epilogue::residual);
  }
  checkLinear(encodings[0], {96, 96, 40, 33}, Reads::halves, Epilogue::silu);
  checkLinear(encodings[3], {80, 288, 32, 24}, Reads::halves);
  checkLinear(integers(CodeKind::i, 8, 0, CodeKind::f32, false), {64, 160, 30, 29}, Reads::halves);
  checkLinear(encodings[0], {16, 64, 9, 1}, Reads::codes);
  checkLinear(encodings[2], {33, 64, 16, 16}, Reads::codes);
  checkLinear(encodings[3], {80, 288, 32, 24}, Reads::codes);
  checkLinear(integers(CodeKind::u, 4, 64, CodeKind::f32, true), {80, 192, 24, 23}, Reads::codes);
  checkLinear(integers(CodeKind::i, 4, 96, CodeKind::f16, false), {40, 192, 64, 63}, Reads::codes);
  checkLinear(integers(CodeKind::u, 8, 64, CodeKind::f16, true), {48, 192, 12, 11}, Reads::codes);
  checkLinear(integers(CodeKind::i, 8, 0, CodeKind::f32, false), {64, 160, 30, 29}, Reads::codes,
              Epilogue::silu);
  for (size_t i = 0; i < std::size(spirv::product_shapes); ++i)
    if (everyProduct() || deviceFeatures() & INGOT_DEVICE_PRODUCT(i))
      EXPECT_TRUE(formsThatRan() & INGOT_DEVICE_PRODUCT(i)) << i;
}

TEST_F(SpirvKernels, LinearOfFloats) {
  for (CodeKind kind : {CodeKind::f16, CodeKind::bf16, CodeKind::f32}) {
    checkLinear(floats(kind), {40, 72, 7, 5}, Reads::floats, Epilogue::residual);
    checkLinear(floats(kind), {96, 64, 1, 1}, Reads::floats, Epilogue::silu);
  }
}

void checkNorm(const float *x, const float *gain, double eps, int64_t width,
               std::vector<double> &y) {
  double sum = 0;
  for (int64_t c = 0; c < width; ++c)
    sum += double(x[c]) * x[c];
  y.resize(width);
  for (int64_t c = 0; c < width; ++c)
    y[c] = x[c] / std::sqrt(sum / double(width) + eps) * gain[c];
}

TEST_F(SpirvKernels, NormThenQuantize) {
  for (bool quantizes : {false, true})
    for (auto [width, max_tokens, tokens, last] :
         {std::tuple{576, 19, 7, false}, {96, 1, 1, false}, {64, 19, 9, true}, {40, 7, 3, false}}) {
      if (quantizes && width % 32)
        continue;
      SpecMaker make(max_tokens);
      const int32_t x = make.rows(width), gain = make.input(KernelValue::Kind::vector, width);
      const int32_t from = last ? make.rowsOp(Kind::last_token, {x}, width) : x;
      int32_t y = make.rowsOp(Kind::rms_norm, {from, gain}, width);
      make.spec.ops.back().eps = 1e-5;
      if (quantizes)
        y = make.quantize(y, 32);
      const KernelSpec spec = finish(make, {y});
      DeviceKernel kernel(spec);
      Memory memory(spec);
      memory.randomRows(x, 3);
      memory.randomRows(gain, 4);
      kernel.run(memory, tokens);
      std::vector<double> want;
      const int64_t stride = roundUp(width, 16);
      for (int32_t t = 0; t < (last ? 1 : tokens); ++t) {
        checkNorm(memory.get<float>(x) + (last ? tokens - 1 : t) * stride, memory.get<float>(gain),
                  1e-5, width, want);
        for (int64_t c = 0; c < width; ++c) {
          if (!quantizes) {
            ASSERT_NEAR(memory.get<float>(y)[t * stride + c], want[c],
                        1e-5 * (1 + std::fabs(want[c])));
            continue;
          }
          const float scale = memory.get<float>(y, 1)[t * (width / 32) + c / 32];
          const int code = memory.get<int8_t>(y)[t * width + c];
          ASSERT_LE(std::abs(code), 127);
          ASSERT_NEAR(code * scale, want[c], 0.5001 * scale);
        }
        for (int64_t g = 0; quantizes && g < width / 32; ++g) {
          int32_t sum = 0;
          for (int64_t k = 0; k < 32; ++k)
            sum += memory.get<int8_t>(y)[t * width + g * 32 + k];
          ASSERT_EQ(memory.get<int32_t>(y, 2)[t * (width / 32) + g], sum);
        }
      }
    }
}

/// Norm and quantization in front of a layer of one token, in one kernel.
TEST_F(SpirvKernels, NormQuantizeLinear) {
  constexpr int64_t width = 192, rows = 80;
  SpecMaker make(1);
  const int32_t x = make.rows(width), gain = make.input(KernelValue::Kind::vector, width);
  const int32_t w = matrixOf(make, encodings[0], rows, width);
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
  checkNorm(memory.get<float>(x), memory.get<float>(gain), 1e-5, width, exact);
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

/// Rounded to halves beside powers of two, whatever the size of the numbers.
TEST_F(SpirvKernels, NormThenHalves) {
  constexpr int64_t width = 96;
  constexpr int32_t tokens = 7;
  for (float size : {1e-6f, 1.0f, 1e20f}) {
    SpecMaker make(19);
    const int32_t x = make.rows(width), gain = make.input(KernelValue::Kind::vector, width);
    const int32_t norm = make.rowsOp(Kind::rms_norm, {x, gain}, width);
    make.spec.ops.back().eps = 1e-5;
    const int32_t y = make.quantize(norm, 32, 16);
    make.spec.values[y].encoding = {CodeKind::f16, 16, 32, {CodeKind::f32}, {}};
    const KernelSpec spec = finish(make, {y});
    DeviceKernel kernel(spec);
    Memory memory(spec);
    memory.randomRows(x, 3);
    memory.randomRows(gain, 4, size);
    for (int64_t c = 32; c < 64; ++c)
      memory.get<float>(gain)[c] = 0;
    kernel.run(memory, tokens);
    std::vector<double> want;
    for (int32_t t = 0; t < tokens; ++t) {
      checkNorm(memory.get<float>(x) + t * width, memory.get<float>(gain), 1e-5, width, want);
      for (int64_t g = 0; g < width / 32; ++g) {
        const float scale = memory.get<float>(y, 1)[t * 3 + g];
        double sum = 0, peak = 0;
        for (int64_t c = g * 32; c < g * 32 + 32; ++c) {
          const double code = halfToFloat(memory.get<uint16_t>(y)[t * width + c]);
          sum += code, peak = std::fmax(peak, std::fabs(want[c]));
          ASSERT_LE(std::fabs(code), 2);
          ASSERT_NEAR(code * scale, want[c], 1e-3 * std::fabs(want[c]) + 1e-7 * scale);
        }
        ASSERT_NEAR(memory.get<float>(y, 2)[t * 3 + g], sum, 1e-5);
        if (g == 1)
          ASSERT_EQ(scale, 0);
        else
          ASSERT_TRUE(scale <= peak * 1.001 && peak < scale * 2.002) << scale << " " << peak;
      }
    }
  }
}

TEST_F(SpirvKernels, Embedding) {
  std::vector<Encoding> all(std::begin(encodings), std::end(encodings));
  all.push_back(floats(CodeKind::f16));
  all.push_back(floats(CodeKind::bf16));
  for (const Encoding &encoding : all) {
    SpecMaker make(19);
    const int32_t ids = make.input(KernelValue::Kind::tokens, 0);
    const int32_t w = matrixOf(make, encoding, 50, 96);
    const int32_t y = make.rowsOp(Kind::embedding, {ids, w}, 96);
    const KernelSpec spec = finish(make, {y});
    DeviceKernel kernel(spec);
    Memory memory(spec);
    const TestMatrix matrix = makeMatrix(spec.values[w], 9);
    memory.setMatrix(w, matrix);
    for (int32_t t = 0; t < 7; ++t)
      memory.get<int32_t>(ids)[t] = t * 8 + 1;
    kernel.run(memory, 7);
    for (int32_t t = 0; t < 7; ++t)
      for (int32_t c = 0; c < 96; ++c)
        ASSERT_NEAR(memory.get<float>(y)[t * 96 + c], matrix.at(t * 8 + 1, c), 1e-5)
            << encoding.str();
  }
}

TEST_F(SpirvKernels, AnglesAtAnyPosition) {
  for (bool each : {false, true})
    for (int32_t position : {0, 7, 4095, 131000}) {
      SpecMaker make(each ? 1 : 19);
      const int32_t y = make.value(KernelValue::Kind::angles, 80);
      KernelOp &op = make.op(Kind::rope_angles, {}, y);
      op.head_dim = 80;
      op.rope_theta = 1e5;
      const KernelSpec spec = finish(make, {y});
      KernelSpec room = spec;
      room.max_tokens = 19;
      DeviceKernel kernel(each ? spec : spec, each);
      Memory memory(each ? spec : room);
      const int32_t tokens = each ? 1 : 5;
      kernel.run(memory, tokens, position);
      for (int32_t t = 0; t < tokens; ++t)
        for (int32_t i = 0; i < 40; ++i) {
          const long double angle = (position + t) * std::pow(1e5L, -2.0L * i / 80);
          ASSERT_NEAR(memory.get<float>(y)[t * 80 + i], double(std::cos(angle)), 2e-7);
          ASSERT_NEAR(memory.get<float>(y)[t * 80 + 40 + i], double(std::sin(angle)), 2e-7);
        }
    }
}

TEST_F(SpirvKernels, RopeOfASlice) {
  for (bool interleaved : {false, true}) {
    SpecMaker make(7);
    const int32_t x = make.rows(112), angles = make.input(KernelValue::Kind::angles, 32);
    const int32_t part = make.rowsOp(Kind::slice, {x}, 96);
    make.spec.ops.back().offset = 16;
    const int32_t y = make.rowsOp(Kind::rope, {part, angles}, 96);
    KernelOp &op = make.spec.ops.back();
    op.head_dim = 32, op.heads = 2, op.interleaved = interleaved; // the third head stays
    const KernelSpec spec = finish(make, {y});
    DeviceKernel kernel(spec);
    Memory memory(spec);
    memory.randomRows(x, 1);
    memory.randomRows(angles, 2);
    kernel.run(memory, 5);
    for (int32_t t = 0; t < 5; ++t)
      for (int32_t h = 0; h < 3; ++h)
        for (int32_t i = 0; i < 16; ++i) {
          const int32_t first = h * 32 + (interleaved ? 2 * i : i);
          const int32_t second = interleaved ? first + 1 : first + 16;
          const float *row = memory.get<float>(x) + t * 112 + 16;
          const double a = row[first], b = row[second];
          const double c = memory.get<float>(angles)[t * 32 + i];
          const double s = memory.get<float>(angles)[t * 32 + 16 + i];
          const float *out = memory.get<float>(y) + t * 96;
          ASSERT_NEAR(out[first], h < 2 ? a * c - b * s : a, 1e-5);
          ASSERT_NEAR(out[second], h < 2 ? a * s + b * c : b, 1e-5);
        }
  }
}

TEST_F(SpirvKernels, Append) {
  constexpr int32_t kv_heads = 3, context = 70;
  for (CodeKind kv : {CodeKind::i, CodeKind::f16, CodeKind::f32})
    for (auto [max_tokens, tokens, position, head_dim] : {std::array{1, 1, 0, 64},
                                                          {1, 1, 33, 64},
                                                          {19, 7, 3, 64},
                                                          {19, 18, 16, 80},
                                                          {7, 6, 64, 32}})
      for (bool each : {false, true}) {
        if (each && max_tokens > 1)
          continue;
        SCOPED_TRACE(std::to_string(int(kv)) + " tokens " + std::to_string(tokens) + " position " +
                     std::to_string(position));
        SpecMaker make(max_tokens);
        make.spec.context = context;
        make.spec.kv = kv;
        const int32_t width = kv_heads * head_dim;
        const int32_t k = make.rows(width), v = make.rows(width);
        const int32_t cache = make.value(KernelValue::Kind::cache, width);
        KernelOp &op = make.op(Kind::append, {k, v, cache}, -1);
        op.kv_heads = kv_heads, op.head_dim = head_dim;
        const KernelSpec spec = finish(make, {cache});
        DeviceKernel kernel(spec, each);
        Memory memory(spec);
        memory.randomRows(k, 1);
        memory.randomRows(v, 2);
        TestCache stored(memory, cache, kv, head_dim, context);
        std::vector<float> old(head_dim, 0.5f);
        for (int32_t h = 0; h < kv_heads; ++h)
          for (int32_t p = 0; p < context; ++p)
            for (bool values : {false, true})
              stored.write(values, h, p, old.data());
        kernel.run(memory, tokens, position);
        const int64_t stride = roundUp(width, 16);
        for (int32_t h = 0; h < kv_heads; ++h)
          for (int32_t p = 0; p < context; ++p)
            for (bool values : {false, true}) {
              const int32_t t = p - position;
              const bool here = t >= 0 && t < tokens;
              const float *x =
                  here ? memory.get<float>(values ? v : k) + t * stride + h * head_dim : old.data();
              float peak = 0;
              for (int32_t d = 0; d < head_dim; ++d)
                peak = std::fmax(peak, std::fabs(x[d]));
              const double limit = values ? kValueCodeLimit : keyCodeLimit(head_dim);
              for (int32_t d = 0; d < head_dim; ++d)
                ASSERT_NEAR(stored.read(values, h, p, d), x[d],
                            kv == CodeKind::i     ? 0.5001 * peak / limit
                            : kv == CodeKind::f16 ? 1e-3 * std::fabs(x[d]) + 1e-7
                                                  : 0)
                    << "head " << h << " position " << p << " values " << values;
            }
      }
}

struct Heads {
  int32_t heads, kv_heads, head_dim;
};

/// softmax(scale * q . K) V of random queries, keys and values.
struct AttentionCase {
  Heads shape;
  CodeKind kv;
  int32_t context, tokens, position;

  KernelSpec spec(int32_t max_tokens) {
    SpecMaker make(max_tokens);
    make.spec.context = context;
    make.spec.kv = kv;
    const int32_t width = shape.heads * shape.head_dim;
    q = make.rows(width);
    cache = make.input(KernelValue::Kind::cache, shape.kv_heads * shape.head_dim);
    y = make.rowsOp(Kind::attention, {q, cache}, width);
    KernelOp &op = make.spec.ops.back();
    op.heads = shape.heads, op.kv_heads = shape.kv_heads, op.head_dim = shape.head_dim;
    op.scale = scale();
    return finish(make, {y});
  }
  double scale() const { return 1 / std::sqrt(double(shape.head_dim)); }
  int64_t stride() const { return roundUp(shape.heads * shape.head_dim, 16); }
  void fill(Memory &memory) const {
    memory.randomRows(q, 8);
    TestCache stored(memory, cache, kv, shape.head_dim, context);
    std::mt19937 random(21);
    std::normal_distribution<float> normal;
    std::vector<float> x(shape.head_dim);
    for (int32_t h = 0; h < shape.kv_heads; ++h)
      for (int32_t p = 0; p < position + tokens; ++p)
        for (bool values : {false, true}) {
          for (float &element : x)
            element = normal(random) * (values ? 1 : 2);
          stored.write(values, h, p, x.data());
        }
  }
  void check(Memory &memory) const {
    TestCache stored(memory, cache, kv, shape.head_dim, context);
    const int32_t hd = shape.head_dim;
    for (int32_t t = 0; t < tokens; ++t)
      for (int32_t h = 0; h < shape.heads; ++h) {
        const int32_t kh = h / (shape.heads / shape.kv_heads), keys = position + t + 1;
        const float *query = memory.get<float>(q) + t * stride() + h * hd;
        std::vector<double> weights(keys), want(hd);
        double largest = -DBL_MAX, total = 0;
        for (int32_t p = 0; p < keys; ++p) {
          for (int32_t d = 0; d < hd; ++d)
            weights[p] += double(stored.read(false, kh, p, d)) * query[d] * scale();
          largest = std::fmax(largest, weights[p]);
        }
        for (double &weight : weights)
          total += weight = std::exp(weight - largest);
        for (int32_t p = 0; p < keys; ++p)
          for (int32_t d = 0; d < hd; ++d)
            want[d] += weights[p] / total * stored.read(true, kh, p, d);
        for (int32_t d = 0; d < hd; ++d)
          ASSERT_NEAR(memory.get<float>(y)[t * stride() + h * hd + d], want[d], 2e-5)
              << "kv " << int(kv) << " token " << t << " head " << h << " d " << d;
      }
  }
  int32_t q = 0, cache = 0, y = 0;
};

TEST_F(SpirvKernels, Attention) {
  for (CodeKind kv : {CodeKind::i, CodeKind::f16, CodeKind::f32})
    for (auto [shape, context, max_tokens, tokens, position] :
         {std::tuple{Heads{9, 3, 64}, 200, 1, 1, 0},
          {Heads{9, 3, 64}, 200, 1, 1, 63},
          {Heads{4, 4, 32}, 200, 1, 1, 199},
          {Heads{2, 1, 80}, 150, 19, 7, 60},
          {Heads{4, 2, 128}, 100, 7, 6, 0},
          {Heads{2, 1, 80}, 700, 19, 7, 508}}) {
      AttentionCase one{shape, kv, context, tokens, position};
      const KernelSpec spec = one.spec(max_tokens);
      DeviceKernel kernel(spec);
      Memory memory(spec);
      one.fill(memory);
      kernel.run(memory, tokens, position);
      one.check(memory);
    }
}

/// Several workgroups share the keys of a single token: the bits are those of one, which the
/// attention of many tokens has.
TEST_F(SpirvKernels, AttentionOfParts) {
  for (CodeKind kv : {CodeKind::i, CodeKind::f16, CodeKind::f32})
    for (auto [shape, context, position] : {std::tuple{Heads{9, 3, 64}, 300, 0},
                                            {Heads{9, 3, 64}, 300, 255},
                                            {Heads{9, 3, 64}, 300, 256},
                                            {Heads{2, 1, 80}, 700, 511},
                                            {Heads{4, 2, 128}, 1031, 1030}}) {
      SCOPED_TRACE("kv " + std::to_string(int(kv)) + " position " + std::to_string(position));
      AttentionCase parts{shape, kv, context, 1, position}, whole = parts;
      const KernelSpec decode = parts.spec(1), prefill = whole.spec(7);
      ASSERT_GT(spirv::scratchBytes(decode), 0);
      ASSERT_EQ(spirv::scratchBytes(prefill), 0);
      DeviceKernel by_parts(decode), by_one(prefill);
      Memory memory(decode), other(prefill);
      parts.fill(memory);
      whole.fill(other);
      by_parts.run(memory, 1, position);
      by_one.run(other, 1, position);
      parts.check(memory);
      for (int64_t c = 0; c < shape.heads * shape.head_dim; ++c)
        ASSERT_EQ(memory.get<float>(parts.y)[c], other.get<float>(whole.y)[c]) << c;
    }
}

/// A kernel that cannot be is refused, not guessed.
TEST(SpirvRefuses, WhatDoesNotFitTogether) {
  SpecMaker make(1);
  const int32_t x = make.rows(40), quant = make.quantize(x, 32);
  auto made = spirv::compileKernel(finish(make, {quant}), false, {});
  ASSERT_FALSE(made);
  EXPECT_EQ(llvm::toString(made.takeError()),
            "kernel kernel: rows of 40 columns cannot be quantized in groups of 32");
}

} // namespace
