// Attention in HVX: some queries that share keys and values go together, heads of one token or
// tokens of one head. Both products are of 16-bit codes, two a lane and instruction; what is
// between them is integers, too: scores in 20 bits behind the point, weights in 30.
#include "targets/hexagon/runtime/attention.h"

#include "targets/hexagon/runtime/vectors.h"

namespace ingot::hexagon {

namespace {

constexpr int32_t lanes = 32, span = 64, most_queries = 4, score_bits = 20;

struct Query {
  int16_t codes[most_head_dim + 2 * lanes] __attribute__((aligned(128)));
  Numbers scale; ///< of scores
  int32_t last;  ///< position that it sees last
  float *out;
  int32_t *scores; ///< of every position: scores, then weights
  int16_t weight_codes[span] __attribute__((aligned(128)));
  Words total;
};

struct Attention {
  const AttentionShape &shape;
  const CacheBuffers &cache;
  int32_t kv_head;

  const int32_t *keys(int32_t position) const { // of 16 positions
    const int32_t half = shape.query.head_dim / 2;
    return reinterpret_cast<const int32_t *>(cache.keys) +
           (kv_head * (shape.positions / 16) + position / 16) * half * 16;
  }
  const int32_t *values(int32_t position) const { // of 2 positions
    return reinterpret_cast<const int32_t *>(cache.values) +
           (kv_head * (shape.positions / 2) + position / 2) * shape.query.head_dim;
  }
  const float *key_scales() const { return cache.key_scales + kv_head * shape.positions; }
  const float *value_scales() const { return cache.value_scales + kv_head * shape.positions; }

  /// Sums of products of codes for 32 positions.
  template <int32_t count> void dots(const Query *queries, int32_t position, Words *sums) const {
    const int32_t half = shape.query.head_dim / 2;
    const int32_t *low = keys(position), *high = keys(position + 16);
#pragma unroll
    for (int32_t q = 0; q < count; ++q)
      sums[q] = splat(0);
    for (int32_t i = 0; i < half; i += 2) {
      const HVX_VectorPair both =
          Q6_W_vshuff_VVR(aligned(high + i * 16), aligned(low + i * 16), 64);
#pragma unroll
      for (int32_t q = 0; q < count; ++q) {
        const auto *pairs = reinterpret_cast<const int32_t *>(queries[q].codes) + i;
        sums[q] = words(Q6_Vw_vdmpyacc_VwVhRh_sat(raw(sums[q]), Q6_V_lo_W(both), pairs[0]));
        sums[q] = words(Q6_Vw_vdmpyacc_VwVhRh_sat(raw(sums[q]), Q6_V_hi_W(both), pairs[1]));
      }
    }
  }

  /// Scores of all positions, and the largest.
  template <int32_t count> void score(Query *queries, int32_t end, Words *largest) const {
    Words order;
    {
      int32_t of_lanes[lanes] __attribute__((aligned(128)));
      for (int32_t i = 0; i < lanes; ++i)
        of_lanes[i] = i;
      order = load(of_lanes);
    }
    for (int32_t q = 0; q < count; ++q)
      largest[q] = splat(INT32_MIN);
    for (int32_t at = 0; at < end; at += lanes) {
      Words sums[count];
      dots<count>(queries, at, sums);
      const Numbers scales = from_floats(load(key_scales() + at));
#pragma unroll
      for (int32_t q = 0; q < count; ++q) {
        const Numbers value =
            product(product(normalized({sums[q], splat(0)}), scales), queries[q].scale);
        // To 20 bits behind the point; what does not fit is as large as can be.
        const Words left = value.exponent + score_bits;
        const Words room = words(Q6_Vw_vnormamt_Vw(raw(value.mantissa))) - 2;
        const Words limit =
            where_greater(splat(0), value.mantissa, splat(-(1 << 29)), splat(1 << 29));
        Words score = where_greater(
            left, splat(0),
            where_greater(left, room, limit, shifted_left(value.mantissa, larger(left, splat(0)))),
            shifted_right(value.mantissa, smaller(larger(-left, splat(0)), splat(31))));
        score = where_greater(order + at, splat(queries[q].last), splat(INT32_MIN), score);
        store(queries[q].scores + at, score);
        largest[q] = larger(largest[q], score);
      }
    }
    for (int32_t q = 0; q < count; ++q)
      largest[q] = largest_lane(largest[q]);
  }

  /// 2^(score - largest) in 30 bits of 32 positions.
  static Words weights(Words scores, Words largest) {
    const Words below = smaller(largest - scores, splat(31 << score_bits));
    // Positions that are not seen: far below.
    const Words seen = where_greater(scores, splat(INT32_MIN), below, splat(31 << score_bits));
    return where_greater(scores, splat(INT32_MIN),
                         power_of_half(shifted_right(seen, splat(score_bits)),
                                       (seen & ((1 << score_bits) - 1)) << (31 - score_bits)),
                         splat(0));
  }

  /// A span's weights as codes times the scales of values; returns the span's scale.
  Numbers weigh(Query &query, int32_t at, Words largest, int32_t total_shift) const {
    Numbers values[2];
    Words top = splat(-1000), peak = splat(0), fixed[2];
    for (int32_t i = 0; i < 2; ++i) {
      const Words weight = weights(load(query.scores + at + i * lanes), largest);
      query.total += shifted_right(weight, splat(total_shift));
      values[i] = product(normalized({weight, splat(-30)}),
                          from_floats(load(value_scales() + at + i * lanes)));
      top = larger(top,
                   where_greater(values[i].mantissa, splat(0), values[i].exponent, splat(-1000)));
    }
    top = largest_lane(top);
    for (int32_t i = 0; i < 2; ++i) {
      fixed[i] = shifted_right(values[i].mantissa, smaller(top - values[i].exponent, splat(31)));
      peak = larger(peak, fixed[i]);
    }
    peak = largest_lane(peak);
    const Words by = words(Q6_Vw_vnormamt_Vw(raw(peak)));
    const Words normal = shifted_left(peak, by) >> 2, inverse = reciprocal(normal);
    HVX_Vector codes[2];
    for (int32_t i = 0; i < 2; ++i) {
      const Words ratio = product(shifted_left(fixed[i], by), inverse); // 29 bits
      codes[i] = raw((product(ratio, splat(shape.weight_limit << 10)) + (1 << 7)) >> 8);
    }
    *reinterpret_cast<HVX_Vector *>(query.weight_codes) = Q6_Vh_vpacke_VwVw(codes[1], codes[0]);
    return {normal, top - by + 2};
  }

  template <int32_t count> void run(Query *queries) const {
    const int32_t head_dim = shape.query.head_dim, columns = (head_dim + lanes - 1) / lanes;
    int32_t end = 0;
    for (int32_t q = 0; q < count; ++q)
      end = queries[q].last + 1 > end ? queries[q].last + 1 : end;
    Words largest[count];
    score<count>(queries, (end + span - 1) / span * span, largest);
    int32_t total_shift = 0;
    while (end >> (total_shift + 4)) // 31 lanes of 2^30
      ++total_shift;
    Numbers outs[count][most_head_dim / lanes];
    for (int32_t q = 0; q < count; ++q) {
      queries[q].total = splat(0);
      for (int32_t c = 0; c < columns; ++c)
        outs[q][c] = {splat(0), splat(-1000)};
    }
    for (int32_t at = 0; at < end; at += span) {
      Numbers scales[count];
      for (int32_t q = 0; q < count; ++q)
        scales[q] = normalized(weigh(queries[q], at, largest[q], total_shift));
      for (int32_t c = 0; c < columns; ++c) {
        const int32_t some = head_dim - c * lanes;
        Words sums[count];
#pragma unroll
        for (int32_t q = 0; q < count; ++q)
          sums[q] = splat(0);
        const int32_t *from = values(at) + c * lanes;
        for (int32_t i = 0; i < span / 2; ++i) {
          const HVX_Vector pairs = head_dim % lanes ? raw(load_lanes(from + i * head_dim, some))
                                                    : aligned(from + i * head_dim);
#pragma unroll
          for (int32_t q = 0; q < count; ++q)
            sums[q] = words(Q6_Vw_vdmpyacc_VwVhRh_sat(
                raw(sums[q]), pairs,
                reinterpret_cast<const int32_t *>(queries[q].weight_codes)[i]));
        }
#pragma unroll
        for (int32_t q = 0; q < count; ++q)
          outs[q][c] = normalized(
              sum(outs[q][c], normalized(product(normalized({sums[q], splat(0)}), scales[q]))));
      }
    }
    for (int32_t q = 0; q < count; ++q) {
      // 1 / (sum of weights * limit): the total has 30 - total_shift bits behind the point.
      const Words total = sum_of_lanes(queries[q].total >> 5);
      const Words by = words(Q6_Vw_vnormamt_Vw(raw(total)));
      const Words normal = shifted_left(total, by) >> 2;
      const float inverse_limit = 1.0f / static_cast<float>(shape.weight_limit);
      // 1 / (normal * 2^(2 - by + 5 + total_shift - 30))
      const Numbers inverse =
          normalized(product(normalized({reciprocal(normal), by - (58 + 2 + 5 + total_shift - 30)}),
                             from_floats(splat(__builtin_bit_cast(int32_t, inverse_limit)))));
      for (int32_t c = 0; c < columns; ++c)
        store_lanes(queries[q].out + c * lanes, to_floats(product(outs[q][c], inverse)),
                    head_dim - c * lanes);
    }
  }

  void run(Query *queries, int32_t count) const {
    switch (count) {
    case 1:
      return run<1>(queries);
    case 2:
      return run<2>(queries);
    case 3:
      return run<3>(queries);
    default:
      return run<4>(queries);
    }
  }
};

} // namespace

extern "C" void ingot_hexagon_attention(const AttentionShape *shape, const float *query,
                                        const float *angles, const CacheBuffers *cache, float *out,
                                        int32_t begin, int32_t extent, int32_t tokens,
                                        int32_t position) {
  const int32_t shared = shape->heads / shape->kv_heads, head_dim = shape->query.head_dim;
  Query queries[most_queries];
  const int32_t room = (position + tokens + span - 1) / span * span;
  auto *scores = static_cast<int32_t *>(__builtin_alloca_with_align(
      static_cast<size_t>(most_queries * room) * 4, 8 * sizeof(HVX_Vector)));
  auto prepare = [&](Query &made, int32_t head, int32_t token, int32_t *own) {
    const int32_t bits = head_codes(shape->query, query + token * shape->query.stride,
                                    angles + token * head_dim, head, made.codes);
    made.scale = normalized(product(from_floats(splat(bits)),
                                    from_floats(splat(__builtin_bit_cast(int32_t, shape->scale)))));
    made.last = position + token;
    made.out = out + (head - begin) * head_dim + token * shape->out_width;
    made.scores = own;
  };
  if (shape->one_token) {
    for (int32_t head = begin; head < begin + extent;) {
      int32_t count = 0;
      const int32_t kv_head = head / shared;
      for (; count < most_queries && head < begin + extent && head / shared == kv_head;
           ++head, ++count)
        prepare(queries[count], head, 0, scores + count * room);
      Attention{*shape, *cache, kv_head}.run(queries, count);
    }
    return;
  }
  for (int32_t head = begin; head < begin + extent; ++head)
    for (int32_t token = 0; token < tokens; token += most_queries) {
      int32_t count = 0;
      for (; count < most_queries && token + count < tokens; ++count)
        prepare(queries[count], head, token + count, scores + count * room);
      Attention{*shape, *cache, head / shared}.run(queries, count);
    }
}

} // namespace ingot::hexagon
