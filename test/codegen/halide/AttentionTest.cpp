// Attention against plain loops (bit for bit) and against doubles (close), and decode against
// prefill.
#include "test/codegen/halide/Twins.h"

#include "gtest/gtest.h"

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

void fillCache(Memory &memory, int32_t cache, CodeKind kv, int32_t positions, Heads shape,
               int32_t padded) {
  std::mt19937 random(21);
  std::normal_distribution<float> normal;
  auto store = [&](int part, int64_t at, float v) {
    if (kv == CodeKind::f16)
      memory.get<_Float16>(cache, part)[at] = _Float16(v);
    else
      memory.get<float>(cache, part)[at] = v;
  };
  for (int32_t h = 0; h < shape.kv_heads; ++h)
    for (int32_t p = 0; p < positions; ++p)
      for (int32_t d = 0; d < shape.head_dim; ++d) {
        store(0, ((int64_t(h) * (padded / 16) + p / 16) * shape.head_dim + d) * 16 + p % 16,
              normal(random) * 2);
        store(1, (int64_t(h) * padded + p) * shape.head_dim + d, normal(random));
      }
}

void checkAttention(const Target &target, Heads shape, CodeKind kv, int32_t context,
                    int32_t max_tokens, int32_t tokens, int32_t position) {
  SCOPED_TRACE(target.machine().name + " heads " + std::to_string(shape.heads) + "/" +
               std::to_string(shape.kv_heads) + " x " + std::to_string(shape.head_dim) +
               " context " + std::to_string(context) + " tokens " + std::to_string(tokens) +
               " position " + std::to_string(position));
  const AttentionKernel s = attentionSpec(target, shape, kv, context, max_tokens);
  LoadedKernel kernel(s.spec, target);
  ASSERT_TRUE(kernel);
  Memory memory(s.spec);
  const int32_t padded = int32_t(roundUp(context, 16)), hd = shape.head_dim;
  memory.randomRows(s.q, 8);
  fillCache(memory, s.cache, kv, position + tokens, shape, padded);
  for (int32_t h = 0; h < shape.heads; ++h)
    kernel.run(memory, h, 1, tokens, position);
  EXPECT_TRUE(memory.intact());

  auto read = [&](int part, int64_t at) {
    return kv == CodeKind::f16 ? float(memory.get<_Float16>(s.cache, part)[at])
                               : memory.get<float>(s.cache, part)[at];
  };
  const float scale = float(1 / std::sqrt(double(hd)));
  const int64_t stride = roundUp(shape.heads * hd, 16);
  for (int32_t t = 0; t < tokens; ++t)
    for (int32_t h = 0; h < shape.heads; ++h) {
      const int32_t kh = h / (shape.heads / shape.kv_heads), keys = position + t + 1;
      const float *q = memory.get<float>(s.q) + t * stride + h * hd;
      std::vector<float> scores(keys);
      std::vector<double> exact(keys);
      float largest = -FLT_MAX;
      for (int32_t p = 0; p < keys; ++p) {
        float sum = 0;
        for (int32_t d = 0; d < hd; ++d) {
          const float k = read(0, ((int64_t(kh) * (padded / 16) + p / 16) * hd + d) * 16 + p % 16);
          sum = std::fma(k, q[d], sum);
          exact[p] += double(k) * q[d];
        }
        scores[p] = sum * scale;
        exact[p] *= scale;
        largest = std::fmax(largest, scores[p]);
      }
      float lanes[16] = {};
      double total = 0;
      for (int32_t p = 0; p < keys; ++p) {
        scores[p] = twinExp(scores[p] - largest);
        lanes[p % 16] += scores[p];
        exact[p] = std::exp(exact[p] - largest);
        total += exact[p];
      }
      const float inverse = 1.0f / sum16(lanes);
      for (int32_t d = 0; d < hd; ++d) {
        float sum = 0;
        double precise = 0;
        for (int32_t p = 0; p < keys; ++p) {
          const float v = read(1, (int64_t(kh) * padded + p) * hd + d);
          sum = std::fma(scores[p], v, sum);
          precise += exact[p] * v / total;
        }
        const float got = memory.get<float>(s.y)[t * stride + h * hd + d];
        ASSERT_EQ(got, sum * inverse) << "token " << t << " head " << h << " d " << d;
        ASSERT_NEAR(got, precise, 1e-5);
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
                     pick(0, 1) ? CodeKind::f16 : CodeKind::f32, context, max_tokens, tokens,
                     pick(0, context - tokens));
    }
}

TEST(Attention, DecodeEqualsPrefillInAnySplit) {
  const Heads shape{3, 1, 64};
  const int32_t context = 112, total = 100;
  for (const auto &target : testTargets()) {
    const AttentionKernel one = attentionSpec(*target, shape, CodeKind::f16, context, 1);
    const AttentionKernel many = attentionSpec(*target, shape, CodeKind::f16, context, 100);
    LoadedKernel decode(one.spec, *target), prefill(many.spec, *target);
    ASSERT_TRUE(decode && prefill);
    Memory a(one.spec), b(many.spec);
    fillCache(a, one.cache, CodeKind::f16, total, shape, context);
    fillCache(b, many.cache, CodeKind::f16, total, shape, context);
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
        ASSERT_EQ(std::memcmp(a.get<float>(one.y), b.get<float>(many.y) + t * width, 4 * width), 0)
            << "position " << begin + t << " in a step from " << begin;
      }
    }
  }
}

TEST(Attention, ExponentialIsWithinTwoUlp) {
  for (float x = -87; x < 88; x += 0.00917f) {
    const double want = std::exp(double(x));
    ASSERT_LE(std::fabs(twinExp(x) - want), want * 2 * 1.2e-7) << x;
  }
}

} // namespace
