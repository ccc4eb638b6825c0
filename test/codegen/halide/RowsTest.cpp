// Kernels that work on one row at a time: embedding, norms, quantization, rope, the cache.
#include "test/codegen/halide/Twins.h"

#include "gtest/gtest.h"

using namespace ingot;
using namespace ingot::test;
using Kind = KernelOp::Kind;

namespace {

TEST(Rows, EmbeddingReadsEveryPackedLayout) {
  const Encoding encodings[] = {integers(CodeKind::u, 4, 32, CodeKind::f16, true),
                                integers(CodeKind::i, 8, 32, CodeKind::f16, false),
                                integers(CodeKind::i, 4, 64, CodeKind::f32, false),
                                integers(CodeKind::i, 6, 16, CodeKind::f32, false),
                                integers(CodeKind::i, 8, 0, CodeKind::f32, false),
                                *Encoding::parse("iq4_nl, g32, f16"),
                                *Encoding::parse("e2m1, g32, e8m0"),
                                floats(CodeKind::f16),
                                floats(CodeKind::bf16),
                                integers(CodeKind::u, 5, 32, CodeKind::f16, true),
                                integers(CodeKind::i, 2, 16, CodeKind::f16, false),
                                findGgmlType(13)->encoding, // Q5_K
                                findGgmlType(14)->encoding, // Q6_K
                                floats(CodeKind::f32)};
  for (const auto &target : testTargets())
    for (const Encoding &encoding : encodings)
      for (int32_t tokens : {1, 7}) {
        SpecMaker make(tokens);
        const int64_t width = encoding.twoLevel() ? 512 : 64;
        const int32_t ids = make.input(KernelValue::Kind::tokens, 0);
        const int32_t w = make.matrix(*target, encoding, 37, width);
        const int32_t y = make.rowsOp(Kind::embedding, {ids, w}, width);
        const KernelSpec spec = make.finish(*target, {y});
        LoadedKernel kernel(spec, *target);
        ASSERT_TRUE(kernel);
        Memory memory(spec);
        const TestMatrix matrix = makeMatrix(spec.values[w], 3);
        memory.setMatrix(w, matrix);
        for (int32_t t = 0; t < tokens; ++t)
          memory.get<int32_t>(ids)[t] = (t * 17 + 36) % 37;
        for (int32_t t = 0; t < tokens; ++t)
          kernel.run(memory, t, 1, tokens);
        EXPECT_TRUE(memory.intact());
        for (int32_t t = 0; t < tokens; ++t)
          for (int64_t c = 0; c < width; ++c)
            ASSERT_EQ(memory.get<float>(y)[t * width + c], matrix.at((t * 17 + 36) % 37, c))
                << "token " << t << " column " << c << " bits " << int(encoding.bits);
      }
}

TEST(Rows, NormAlone) {
  for (const auto &target : testTargets())
    for (int64_t width : {16, 40, 64, 576})
      for (int32_t max_tokens : {1, 9}) {
        SpecMaker make(max_tokens);
        const int32_t x = make.rows(width), gain = make.input(KernelValue::Kind::vector, width);
        const int32_t y = make.rowsOp(Kind::rms_norm, {x, gain}, width);
        make.spec.ops.back().eps = 1e-5;
        const KernelSpec spec = make.finish(*target, {y});
        LoadedKernel kernel(spec, *target);
        ASSERT_TRUE(kernel);
        Memory memory(spec);
        memory.randomRows(x, 1, 3);
        memory.randomRows(gain, 2);
        const int32_t tokens = max_tokens == 1 ? 1 : 8, stride = int32_t(roundUp(width, 16));
        kernel.runAll(memory, tokens);
        EXPECT_TRUE(memory.intact());
        std::vector<float> want(width);
        for (int32_t t = 0; t < tokens; ++t) {
          twinNorm(memory.get<float>(x) + t * stride, memory.get<float>(gain), 1e-5f, width,
                   want.data());
          for (int64_t c = 0; c < width; ++c)
            ASSERT_EQ(memory.get<float>(y)[t * stride + c], want[c])
                << width << " " << t << " " << c;
        }
      }
}

/// norm (or nothing), last token (or all), quantize.
template <typename Code>
void checkQuantize(const Target &target, int64_t width, int32_t group, int32_t max_tokens,
                   int32_t tokens, bool norm, bool last) {
  SCOPED_TRACE(target.machine().name + " width " + std::to_string(width) + " group " +
               std::to_string(group) + " norm " + std::to_string(norm) + " last " +
               std::to_string(last));
  const QuantizeKernel made(target, width, group, 8 * sizeof(Code), max_tokens, norm, last,
                            code_kind<Code>);
  const int32_t x = made.x, gain = made.gain, q = made.q;
  LoadedKernel kernel(made.spec, target);
  ASSERT_TRUE(kernel);
  Memory memory(made.spec);
  made.fill(memory, group);
  if (!std::is_integral_v<Code>) // down to halves that are not normal, and to none
    for (int64_t i = 0; i < memory.bytes(x) / 4; ++i)
      memory.get<float>(x)[i] = std::ldexp(memory.get<float>(x)[i], -int(i * 7 % 30));
  const int32_t outputs = last ? 1 : tokens;
  made.run(kernel, memory, tokens);
  EXPECT_TRUE(memory.intact());
  std::vector<float> row(width), scales(width / group);
  std::vector<Code> codes(width);
  std::vector<int32_t> sums(width / group);
  const int64_t stride = roundUp(width, 16), groups = width / group;
  for (int32_t t = 0; t < outputs; ++t) {
    const float *source = memory.get<float>(x) + (last ? tokens - 1 : t) * stride;
    std::memcpy(row.data(), source, 4 * width);
    if (norm)
      twinNorm(source, memory.get<float>(gain), 1e-6f, width, row.data());
    twinQuantize(row.data(), width, group, codes.data(), scales.data(), sums.data());
    for (int64_t c = 0; c < width; ++c)
      ASSERT_EQ(memory.get<Code>(q)[t * width + c], codes[c]) << t << " " << c;
    for (int64_t g = 0; g < groups; ++g) {
      ASSERT_EQ(memory.get<float>(q, 1)[t * groups + g], scales[g]);
      ASSERT_EQ(memory.get<int32_t>(q, 2)[t * groups + g], sums[g]);
    }
  }
}

TEST(Rows, Quantize) {
  for (const auto &target : testTargets())
    for (bool norm : {false, true}) {
      checkQuantize<int8_t>(*target, 64, 32, 1, 1, norm, false);
      checkQuantize<int16_t>(*target, 96, 32, 9, 9, norm, false);
      checkQuantize<int16_t>(*target, 576, 16, 1, 1, norm, false);
      checkQuantize<int8_t>(*target, 96, 32, 9, 9, norm, false);
      checkQuantize<int8_t>(*target, 576, 16, 5, 3, norm, false);
      checkQuantize<int8_t>(*target, 1536, 32, 5, 3, norm, false);
      checkQuantize<int8_t>(*target, 64, 32, 9, 9, norm, true);
      checkQuantize<int8_t>(*target, 64, 32, 9, 4, norm, true);
      checkQuantize<_Float16>(*target, 96, 32, 9, 9, norm, false);
      checkQuantize<_Float16>(*target, 576, 16, 1, 1, norm, false);
      checkQuantize<_Float16>(*target, 64, 32, 9, 4, norm, true);
    }
}

TEST(Rows, LastTokenAlone) {
  const auto target = std::move(testTargets().front());
  SpecMaker make(5);
  const int32_t x = make.rows(40);
  const int32_t y = make.rowsOp(Kind::last_token, {x}, 40);
  const KernelSpec spec = make.finish(*target, {y});
  LoadedKernel kernel(spec, *target);
  ASSERT_TRUE(kernel);
  Memory memory(spec);
  memory.randomRows(x, 1);
  kernel.run(memory, 0, 1, 4);
  for (int c = 0; c < 40; ++c)
    EXPECT_EQ(memory.get<float>(y)[c], memory.get<float>(x)[3 * 48 + c]);
}

TEST(Rows, RopeAnglesAreDoublesRoundedOnce) {
  for (const auto &target : testTargets())
    for (int32_t max_tokens : {1, 6}) {
      SpecMaker make(max_tokens);
      const int32_t y = make.value(KernelValue::Kind::angles, 64);
      KernelOp &op = make.op(Kind::rope_angles, {}, y);
      op.head_dim = 64;
      op.rope_theta = 100000;
      const KernelSpec spec = make.finish(*target, {y});
      LoadedKernel kernel(spec, *target);
      ASSERT_TRUE(kernel);
      Memory memory(spec);
      const int32_t tokens = max_tokens == 1 ? 1 : 5, position = 2043;
      for (int32_t t = 0; t < tokens; ++t)
        kernel.run(memory, t, 1, tokens, position);
      EXPECT_TRUE(memory.intact());
      for (int32_t t = 0; t < tokens; ++t)
        for (int i = 0; i < 32; ++i) {
          const double angle = double(position + t) * std::pow(100000.0, i * (-2.0 / 64));
          EXPECT_EQ(memory.get<float>(y)[t * 64 + i], float(std::cos(angle)));
          EXPECT_EQ(memory.get<float>(y)[t * 64 + 32 + i], float(std::sin(angle)));
        }
    }
}

/// Queries, keys and values cut out of fused rows, rotated, written to rows and cache.
void checkRopeAppend(const Target &target, int32_t heads, int32_t kv_heads, int32_t head_dim,
                     bool interleaved, CodeKind kv, int32_t max_tokens, int32_t tokens,
                     int32_t position, bool queries) {
  SCOPED_TRACE(target.machine().name + " heads " + std::to_string(heads) + "/" +
               std::to_string(kv_heads) + " x " + std::to_string(head_dim) + " interleaved " +
               std::to_string(interleaved) + " position " + std::to_string(position));
  // QEMU 7.2 stops at RISC-V's conversions that round towards zero (an assertion of its own), which
  // integer arithmetic on half precision has.
  if (kv == CodeKind::f16 && llvm::StringRef(target.emulator()).contains("v=true"))
    return;
  const int32_t q_width = heads * head_dim, kv_width = kv_heads * head_dim;
  const int32_t width = q_width + 2 * kv_width, context = 72;
  SpecMaker make(max_tokens);
  make.spec.context = context;
  make.spec.kv = kv;
  const int32_t x = make.rows(width), angles = make.input(KernelValue::Kind::angles, head_dim);
  auto slice = [&](int32_t offset, int32_t columns) {
    const int32_t y = make.rowsOp(Kind::slice, {x}, columns);
    make.spec.ops.back().offset = offset;
    return y;
  };
  auto rope = [&](int32_t rows, int32_t count) {
    const int32_t y = make.rowsOp(Kind::rope, {rows, angles}, int64_t(count) * head_dim);
    KernelOp &op = make.spec.ops.back();
    op.heads = count;
    op.head_dim = head_dim;
    op.interleaved = interleaved;
    return y;
  };
  std::vector<int32_t> outputs;
  const int32_t q = queries ? rope(slice(0, q_width), heads) : -1;
  if (queries)
    outputs.push_back(q);
  const int32_t k = rope(slice(q_width, kv_width), kv_heads);
  const int32_t v = slice(q_width + kv_width, kv_width);
  const int32_t cache = make.value(KernelValue::Kind::cache, kv_width);
  KernelOp &append = make.op(Kind::append, {k, v, cache}, -1);
  append.kv_heads = kv_heads;
  append.head_dim = head_dim;
  outputs.push_back(cache);
  const KernelSpec spec = make.finish(target, outputs);
  LoadedKernel kernel(spec, target);
  ASSERT_TRUE(kernel);
  Memory memory(spec);
  memory.randomRows(x, 4);
  memory.randomRows(angles, 5);
  for (int32_t begin = 0; begin < tokens; begin += 2)
    kernel.run(memory, begin, std::min(2, tokens - begin), tokens, position);
  EXPECT_TRUE(memory.intact());

  const int32_t half = head_dim / 2;
  const TestCache stored(memory, cache, kv, head_dim, context);
  Memory other(spec); // what the cache should be
  TestCache twin(other, cache, kv, head_dim, context);
  const float *angle = memory.get<float>(angles);
  auto rotated = [&](int32_t t, int32_t offset, int32_t d) { // column d of a head at `offset`
    const float *row = memory.get<float>(x) + t * roundUp(width, 16) + offset;
    const int32_t i = interleaved ? d / 2 : d % half, upper = interleaved ? d % 2 : d / half;
    const float a = row[interleaved ? 2 * i : i], b = row[interleaved ? 2 * i + 1 : i + half];
    const float c = angle[t * head_dim + i], s = angle[t * head_dim + half + i];
    return upper ? a * s + b * c : a * c - b * s;
  };
  for (int32_t t = 0; t < tokens; ++t) {
    for (int32_t h = 0; queries && h < heads; ++h)
      for (int32_t d = 0; d < head_dim; ++d)
        ASSERT_EQ(memory.get<float>(q)[t * roundUp(q_width, 16) + h * head_dim + d],
                  rotated(t, h * head_dim, d));
    for (int32_t h = 0; h < kv_heads; ++h) {
      std::vector<float> key(head_dim), value(head_dim);
      for (int32_t d = 0; d < head_dim; ++d) {
        key[d] = rotated(t, q_width + h * head_dim, d);
        value[d] =
            memory.get<float>(x)[t * roundUp(width, 16) + q_width + kv_width + h * head_dim + d];
      }
      twin.write(false, h, position + t, key.data());
      twin.write(true, h, position + t, value.data());
    }
  }
  // Everywhere, also where nothing was to be touched.
  for (int32_t p = 0; p < context; ++p)
    for (int32_t h = 0; h < kv_heads; ++h)
      for (bool values : {false, true})
        for (int32_t d = 0; d < head_dim; ++d)
          ASSERT_EQ(stored.read(values, h, p, d), twin.read(values, h, p, d))
              << "position " << p << " head " << h << " d " << d << " values " << values;
}

TEST(Rows, RopeAndAppend) {
  for (const auto &target : testTargets())
    for (CodeKind kv : {CodeKind::f16, CodeKind::f32, CodeKind::i})
      for (bool interleaved : {false, true})
        for (bool queries : {true, false}) {
          checkRopeAppend(*target, 3, 1, 64, interleaved, kv, 1, 1, 71, queries);
          checkRopeAppend(*target, 4, 2, 32, interleaved, kv, 7, 5, 13, queries);
          checkRopeAppend(*target, 2, 2, 80, interleaved, kv, 3, 3, 0, queries);
        }
}

} // namespace
