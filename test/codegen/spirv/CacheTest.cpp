// Kernels of SPIR-V that write and read caches.
#include "test/codegen/spirv/Kernels.h"

#include <array>
#include <cfloat>

using namespace ingot;
using namespace ingot::test;

namespace {

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
    TestCache(memory, cache, kv, shape.head_dim, context)
        .randomize(shape.kv_heads, position + tokens);
  }
  void check(Memory &memory) const {
    const TestCache stored(memory, cache, kv, shape.head_dim, context);
    const int32_t hd = shape.head_dim;
    for (int32_t t = 0; t < tokens; ++t)
      for (int32_t h = 0; h < shape.heads; ++h) {
        const int32_t kh = h / (shape.heads / shape.kv_heads), keys = position + t + 1;
        const float *query = memory.get<float>(q) + t * stride() + h * hd;
        const std::vector<double> want = stored.attention(query, scale(), kh, keys);
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

} // namespace
