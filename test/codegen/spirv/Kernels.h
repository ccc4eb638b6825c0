// What tests of kernels of SPIR-V share, which compare them with plain loops in double precision,
// over odd shapes.
#pragma once

#include "targets/BlockLayout.h"
#include "test/codegen/halide/Twins.h"
#include "test/codegen/spirv/Device.h"

#include "gtest/gtest.h"

namespace ingot::test {

using Kind = KernelOp::Kind;

class SpirvKernels : public testing::Test {
protected:
  void SetUp() override {
    if (const char *missing = missingDevice())
      GTEST_SKIP() << missing;
  }
};

inline int32_t matrixOf(SpecMaker &make, const Encoding &encoding, int64_t height, int64_t width) {
  const int32_t index = make.input(KernelValue::Kind::matrix, width);
  KernelValue &value = make.spec.values[index];
  value.height = height;
  value.encoding = storedEncoding(encoding); // what devices read
  value.layout = blockLayout(value.encoding);
  return index;
}

inline KernelSpec finish(SpecMaker &make, std::vector<int32_t> outputs) {
  make.spec.outputs = std::move(outputs);
  return make.spec;
}

/// RMS norm of a row.
inline void exactNorm(const float *x, const float *gain, double eps, int64_t width,
                      std::vector<double> &y) {
  double sum = 0;
  for (int64_t c = 0; c < width; ++c)
    sum += double(x[c]) * x[c];
  y.resize(width);
  for (int64_t c = 0; c < width; ++c)
    y[c] = x[c] / std::sqrt(sum / double(width) + eps) * gain[c];
}

/// Of each kind that kernels read.
inline const Encoding one_level[] = {
    integers(CodeKind::u, 4, 32, CodeKind::f16, true),
    integers(CodeKind::i, 4, 32, CodeKind::f16, false),
    integers(CodeKind::i, 8, 32, CodeKind::f16, false),
    integers(CodeKind::u, 5, 32, CodeKind::f16, true),
    integers(CodeKind::i, 6, 16, CodeKind::f32, false),
    integers(CodeKind::u, 2, 16, CodeKind::f32, true),
    *Encoding::parse("iq4_nl, g32, f16"),
    *Encoding::parse("e2m1, g32, e8m0"),
};

/// Codes in planes, and scales of two levels: K-quants, codes of 5, 6 and 2 bits.
inline const Encoding compact[] = {
    *Encoding::parse("u4, g32, f16*u6+f16*u6"),
    *Encoding::parse("u5, g32, f16*u6+f16*u6"),
    *Encoding::parse("i6, g16, f16*i8"),
    *Encoding::parse("u2, g16, f16*u4+f16*u4"),
    *Encoding::parse("i3, g16, f16*i6"),
    integers(CodeKind::i, 5, 32, CodeKind::f16, false),
    integers(CodeKind::i, 6, 32, CodeKind::f16, false),
    integers(CodeKind::u, 5, 64, CodeKind::f16, true),
    integers(CodeKind::u, 2, 64, CodeKind::f16, true),
};

} // namespace ingot::test
