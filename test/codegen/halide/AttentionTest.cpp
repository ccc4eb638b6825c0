// Attention against plain loops (bit for bit) and against doubles (close), and decode against
// prefill.
#include "test/codegen/halide/Twins.h"

#include "gtest/gtest.h"

#include <array>
#include <cfloat>

using namespace ingot;
using namespace ingot::test;
using Kind = KernelOp::Kind;

namespace {

struct Heads {
  int32_t heads, kv_heads, head_dim;
};

struct AttentionKernel {
  int32_t q, cache, y;
  KernelSpec spec;
};

AttentionKernel attentionSpec(const Target &target, Heads shape, CodeKind kv, int32_t context,
                              int32_t max_tokens) {
  AttentionKernel s;
  SpecMaker make(max_tokens);
  make.spec.context = context;
  make.spec.kv = kv;
  s.q = make.rows(shape.heads * shape.head_dim);
  s.cache = make.input(KernelValue::Kind::cache, shape.kv_heads * shape.head_dim);
  s.y = make.rowsOp(Kind::attention, {s.q, s.cache}, shape.heads * shape.head_dim);
  KernelOp &op = make.spec.ops.back();
  op.heads = shape.heads;
  op.kv_heads = shape.kv_heads;
  op.head_dim = shape.head_dim;
  op.scale = 1 / std::sqrt(double(shape.head_dim));
  s.spec = make.finish(target, {s.y});
  return s;
}

void fillCache(Memory &memory, const AttentionKernel &s, Heads shape, int32_t positions) {
  TestCache(memory, s.cache, s.spec.kv, shape.head_dim, s.spec.context)
      .randomize(shape.kv_heads, positions);
}

/// One head of one token: q and out [head_dim], keys 0 .. `keys` - 1 of cache head `kh`.
void twinAttention(const TestCache &cache, CodeKind kv, const float *q, int32_t head_dim,
                   int32_t kh, int32_t keys, float *out) {
  const float scale = float(1 / std::sqrt(double(head_dim)));
  std::vector<int16_t> codes(head_dim);
  const float q_scale = twinHeadCodes(q, head_dim, keyCodeLimit(head_dim), codes.data()) *
                        float(1 / std::sqrt(double(head_dim)) * 1.4426950408889634);
  std::vector<float> w(keys);
  float largest = -FLT_MAX, lanes[16] = {};
  for (int32_t p = 0; p < keys; ++p) {
    float sum = 0;
    int32_t dot = 0;
    for (int32_t d = 0; d < head_dim; ++d)
      if (kv == CodeKind::i)
        dot += cache.code(false, kh, p, d) * codes[d];
      else
        sum = std::fma(cache.read(false, kh, p, d), q[d], sum);
    w[p] = kv == CodeKind::i ? float(dot) * (cache.scale(false, kh, p) * q_scale) : sum * scale;
    largest = std::fmax(largest, w[p]);
  }
  for (int32_t p = 0; p < keys; ++p)
    lanes[p % 16] += w[p] =
        kv == CodeKind::i ? twinPowerOfTwo(w[p] - largest) : twinExp(w[p] - largest);
  const float inverse = 1.0f / sum16(lanes);
  for (int32_t d = 0; d < head_dim; ++d)
    out[d] = 0;
  if (kv != CodeKind::i) {
    for (int32_t d = 0; d < head_dim; ++d)
      for (int32_t p = 0; p < keys; ++p)
        out[d] = std::fma(w[p], cache.read(true, kh, p, d), out[d]);
  } else {
    for (int32_t first = 0; first < keys; first += kWeightCodeSpan) {
      const int32_t last = std::min(keys, first + kWeightCodeSpan);
      float peak = 0;
      for (int32_t p = first; p < last; ++p)
        peak = std::fmax(peak, w[p] *= cache.scale(true, kh, p));
      float span_scale = peak * float(1.0 / kWeightCodeLimit);
      span_scale = span_scale > 1e-30f ? span_scale : 0;
      const float back = span_scale > 0 ? 1.0f / span_scale : 0;
      for (int32_t d = 0; d < head_dim; ++d) {
        int32_t dot = 0;
        for (int32_t p = first; p < last; ++p)
          dot += int32_t(std::nearbyint(w[p] * back)) * cache.code(true, kh, p, d);
        out[d] = std::fma(float(dot), span_scale, out[d]);
      }
    }
  }
  for (int32_t d = 0; d < head_dim; ++d)
    out[d] *= inverse;
}

void checkAttention(const Target &target, Heads shape, CodeKind kv, int32_t context,
                    int32_t max_tokens, int32_t tokens, int32_t position) {
  SCOPED_TRACE(target.machine().name + " heads " + std::to_string(shape.heads) + "/" +
               std::to_string(shape.kv_heads) + " x " + std::to_string(shape.head_dim) +
               " context " + std::to_string(context) + " tokens " + std::to_string(tokens) +
               " position " + std::to_string(position) + " kv " + std::to_string(int(kv)));
  const AttentionKernel s = attentionSpec(target, shape, kv, context, max_tokens);
  LoadedKernel kernel(s.spec, target);
  ASSERT_TRUE(kernel);
  Memory memory(s.spec);
  const int32_t hd = shape.head_dim;
  memory.randomRows(s.q, 8);
  fillCache(memory, s, shape, position + tokens);
  for (int32_t h = 0; h < shape.heads; h += kernel.grain())
    kernel.run(memory, h, kernel.grain(), tokens, position);
  EXPECT_TRUE(memory.intact());

  const TestCache cache(memory, s.cache, kv, hd, context);
  // Integer products round queries and softmax weights as well.
  const double tolerance = kv == CodeKind::i ? 2e-3 : 1e-5;
  const double scale = 1 / std::sqrt(double(hd));
  const int64_t stride = roundUp(shape.heads * hd, 16);
  std::vector<float> expected(hd);
  for (int32_t t = 0; t < tokens; ++t)
    for (int32_t h = 0; h < shape.heads; ++h) {
      const int32_t kh = h / (shape.heads / shape.kv_heads), keys = position + t + 1;
      const float *q = memory.get<float>(s.q) + t * stride + h * hd;
      twinAttention(cache, kv, q, hd, kh, keys, expected.data());
      const std::vector<double> precise = cache.attention(q, scale, kh, keys);
      for (int32_t d = 0; d < hd; ++d) {
        const float got = memory.get<float>(s.y)[t * stride + h * hd + d];
        ASSERT_EQ(got, expected[d]) << "token " << t << " head " << h << " d " << d;
        ASSERT_NEAR(got, precise[d], tolerance);
      }
    }
}

TEST(Attention, EqualsTheLoops) {
  for (const auto &target : testTargets()) {
    checkAttention(*target, {9, 3, 64}, CodeKind::f16, 64, 1, 1, 0);
    checkAttention(*target, {9, 3, 64}, CodeKind::f16, 64, 1, 1, 36);
    checkAttention(*target, {9, 3, 64}, CodeKind::f16, 90, 1, 1, 89); // the last position
    checkAttention(*target, {9, 3, 64}, CodeKind::f16, 90, 13, 13, 0);
    checkAttention(*target, {2, 1, 32}, CodeKind::f32, 90, 13, 5, 85); // to the last position
    checkAttention(*target, {4, 4, 80}, CodeKind::f16, 48, 7, 7, 9);
    checkAttention(*target, {2, 1, 128}, CodeKind::f16, 200, 40, 40, 131);
    checkAttention(*target, {2, 2, 128}, CodeKind::f32, 40, 1, 1, 17);
    checkAttention(*target, {9, 3, 64}, CodeKind::i, 64, 1, 1, 0);
    checkAttention(*target, {9, 3, 64}, CodeKind::i, 200, 1, 1, 199); // the last position
    checkAttention(*target, {9, 3, 64}, CodeKind::i, 90, 13, 13, 0);
    checkAttention(*target, {8, 1, 32}, CodeKind::i, 90, 1, 1, 70);
    checkAttention(*target, {16, 2, 128}, CodeKind::i, 200, 1, 1, 131);
    checkAttention(*target, {4, 1, 256}, CodeKind::i, 100, 11, 11, 64);
    checkAttention(*target, {4, 4, 80}, CodeKind::i, 70, 7, 7, 58);
  }
}

TEST(Attention, RandomShapes) {
  std::mt19937 random(7);
  auto pick = [&](int from, int to) {
    return std::uniform_int_distribution<int>(from, to)(random);
  };
  for (const auto &target : testTargets())
    for (int i = 0; i < 12; ++i) {
      const int32_t kv_heads = pick(1, 3), context = pick(33, 150);
      const int32_t max_tokens = pick(0, 2) ? pick(2, 32) : 1, tokens = pick(1, max_tokens);
      checkAttention(*target, {kv_heads * pick(1, 4), kv_heads, 16 * pick(1, 8)},
                     std::array{CodeKind::f16, CodeKind::f32, CodeKind::i}[pick(0, 2)], context,
                     max_tokens, tokens, pick(0, context - tokens));
    }
}

TEST(Attention, DecodeEqualsPrefillInAnySplit) {
  const Heads shape{3, 1, 64};
  const int32_t context = 112, total = 100;
  for (const auto &target : testTargets())
    for (CodeKind kv : {CodeKind::f16, CodeKind::i}) {
      const AttentionKernel one = attentionSpec(*target, shape, kv, context, 1);
      const AttentionKernel many = attentionSpec(*target, shape, kv, context, 100);
      LoadedKernel decode(one.spec, *target), prefill(many.spec, *target);
      ASSERT_TRUE(decode && prefill);
      Memory a(one.spec), b(many.spec);
      fillCache(a, one, shape, total);
      fillCache(b, many, shape, total);
      Memory queries(many.spec);
      queries.randomRows(many.q, 31);
      const int64_t width = 3 * 64;
      for (int32_t begin = 0, extent = 1; begin < total; begin += extent, extent = extent * 3 + 1) {
        extent = std::min(extent, total - begin);
        std::memcpy(b.get<float>(many.q), queries.get<float>(many.q) + begin * width,
                    4 * extent * width);
        prefill.runAll(b, extent, begin);
        for (int32_t t = 0; t < extent; ++t) {
          std::memcpy(a.get<float>(one.q), queries.get<float>(many.q) + (begin + t) * width,
                      4 * width);
          decode.runAll(a, 1, begin + t);
          ASSERT_EQ(std::memcmp(a.get<float>(one.y), b.get<float>(many.y) + t * width, 4 * width),
                    0)
              << "position " << begin + t << " in a step from " << begin;
        }
      }
    }
}

TEST(Attention, PowerOfTwoIsFinerThanTheCodesOfWeights) {
  EXPECT_EQ(twinPowerOfTwo(0), 1);
  for (float x = -125; x <= 0; x += 0.00917f)
    ASSERT_NEAR(twinPowerOfTwo(x) / std::exp2(double(x)), 1, 3e-6) << x;
}

TEST(Attention, ExponentialIsWithinTwoUlp) {
  for (float x = -87; x < 88; x += 0.00917f) {
    const double want = std::exp(double(x));
    ASSERT_LE(std::fabs(twinExp(x) - want), want * 2 * 1.2e-7) << x;
  }
}

} // namespace
