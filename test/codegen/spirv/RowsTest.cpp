// Kernels of SPIR-V that work on one row at a time.
#include "test/codegen/spirv/Kernels.h"

using namespace ingot;
using namespace ingot::test;

namespace {

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
        exactNorm(memory.get<float>(x) + (last ? tokens - 1 : t) * stride, memory.get<float>(gain),
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
      exactNorm(memory.get<float>(x) + t * width, memory.get<float>(gain), 1e-5, width, want);
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
  std::vector<Encoding> all(std::begin(one_level), std::end(one_level));
  all.insert(all.end(), std::begin(compact), std::end(compact));
  all.push_back(floats(CodeKind::f16));
  all.push_back(floats(CodeKind::bf16));
  for (const Encoding &encoding : all) {
    SpecMaker make(19);
    const int32_t ids = make.input(KernelValue::Kind::tokens, 0);
    const int32_t width = encoding.twoLevel() ? 512 : 192;
    const int32_t w = matrixOf(make, encoding, 50, width);
    const int32_t y = make.rowsOp(Kind::embedding, {ids, w}, width);
    const KernelSpec spec = finish(make, {y});
    DeviceKernel kernel(spec);
    Memory memory(spec);
    const TestMatrix matrix = makeMatrix(spec.values[w], 9);
    memory.setMatrix(w, matrix);
    for (int32_t t = 0; t < 7; ++t)
      memory.get<int32_t>(ids)[t] = t * 8 + 1;
    kernel.run(memory, 7);
    for (int32_t t = 0; t < 7; ++t)
      for (int32_t c = 0; c < width; ++c)
        ASSERT_NEAR(memory.get<float>(y)[t * width + c], matrix.at(t * 8 + 1, c), 1e-5)
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
