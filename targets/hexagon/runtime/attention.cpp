// Attention in HVX: four queries that share keys and values go together, of some heads and tokens.
//
// Both products are of 16-bit codes, two a lane and instruction, which takes both multipliers. What
// is between them is integers, too. A score is the log2 of a weight, 16 bits behind the point, so
// 2^-x of 64 positions at once shifts a polynomial of x's lower half by its upper half. A value's
// scale is added to the score, as its log2: a code of a weight times that scale is one more 2^-x,
// of what the span's largest is above it.
#include "targets/hexagon/runtime/attention.h"

#include "targets/hexagon/runtime/vectors.h"

namespace ingot::hexagon {

namespace {

constexpr int32_t lanes = 32, together = 4, span = weight_span, query_lanes = lanes / together;
constexpr int32_t unseen = -(1 << 30), most_score = 1 << 29;

struct Query {
  const int16_t *codes;
  int32_t mantissa, exponent; ///< of the scale of scores
  int32_t last;               ///< position that it sees last
  float *out;
};

/// log2 of positive floats within 2^-17, 16 bits behind the point; of 0, less than of any other.
Words log2_of(Words bits) {
  const Words x = (bits << 9) ^ INT32_MIN; // fraction * 2 - 1, in 31 bits
  Words log = splat(-416505);
  constexpr int32_t coefficients[] = {1457214, -4743672, 19038633, -86067058, 516370377, 628098898};
  for (const int32_t coefficient : coefficients)
    log = product(log, x) + coefficient;
  return (((bits >> 23) - 127) << 16) + (log >> 14);
}

/// 2^-(x / 2^16) for halves in 16 bits, without sign, times weight_limit / (weight_limit + 1),
/// within 2^-15.
HVX_Vector half_power(HVX_Vector x) {
  const HVX_Vector centered = Q6_V_vxor_VV(x, Q6_Vh_vsplat_R(0x8000));
  HVX_Vector power = Q6_Vh_vsplat_R(28);
  constexpr int32_t coefficients[] = {-324, 2783, -16059, 46338};
  for (const int32_t coefficient : coefficients)
    power =
        Q6_Vh_vadd_VhVh(Q6_Vh_vmpy_VhVh_s1_rnd_sat(power, centered), Q6_Vh_vsplat_R(coefficient));
  return power;
}

/// A kv head, and the scales of its positions.
struct Attention {
  const AttentionShape &shape;
  const CacheBuffers &cache;
  int32_t kv_head;
  Numbers *key_scales;
  Words *value_scales; ///< log2
  int32_t *scores;     ///< of the queries, each of all positions
  Words *tops;         ///< of each span: its largest score, scales of values added
  int32_t room;        ///< positions, in whole spans

  const int32_t *keys(int32_t position) const { // of 16 positions
    const int32_t half = shape.query.head_dim / 2;
    return reinterpret_cast<const int32_t *>(cache.keys) +
           (kv_head * (shape.positions / 16) + position / 16) * half * 16;
  }
  const int32_t *values(int32_t position) const { // of 2 positions
    return reinterpret_cast<const int32_t *>(cache.values) +
           (kv_head * (shape.positions / 2) + position / 2) * shape.query.head_dim;
  }

  /// Takes the scales of positions before `end`; what lies behind them in a vector is anything.
  void take_scales(int32_t end) {
    for (int32_t at = 0; at < end; at += lanes) {
      const int32_t from = kv_head * shape.positions + at;
      key_scales[at / lanes] = from_floats(load(cache.key_scales + from));
      value_scales[at / lanes] = log2_of(load(cache.value_scales + from));
    }
  }

  /// Sums of products of codes for 32 positions.
  template <int32_t count>
  void dots(const Query *queries, int32_t position, Words (&sums)[count]) const {
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

  /// Scores of all positions. Returns the largest of query q, in the lanes from q * query_lanes on;
  /// tops: for each span the same, of scores and scales of values.
  template <int32_t count> Words score(const Query *queries, int32_t end) const {
    Words order;
    {
      int32_t of_lanes[lanes] __attribute__((aligned(128)));
      for (int32_t i = 0; i < lanes; ++i)
        of_lanes[i] = i;
      order = load(of_lanes);
    }
    Words most[together], most_of_span[together];
    for (Words &own : most)
      own = splat(unseen);
    for (int32_t at = 0; at < end; at += span) {
      for (Words &own : most_of_span)
        own = splat(INT32_MIN);
      for (int32_t from = at; from < at + span; from += lanes) {
        if (from >= end) {
          for (int32_t q = 0; q < count; ++q)
            store(scores + q * room + from, splat(unseen));
          break;
        }
        Words sums[count];
        dots(queries, from, sums);
        const Numbers keys = key_scales[from / lanes];
        const Words values = value_scales[from / lanes];
#pragma unroll
        for (int32_t q = 0; q < count; ++q) {
          const Words exact = product(product(sums[q], keys.mantissa), splat(queries[q].mantissa));
          // A product of mantissas lacks 62 bits, a score has 16: the rest is its exponent.
          const Words by = larger(
              smaller(keys.exponent + (16 + 62 + queries[q].exponent), splat(31)), splat(-31));
          const Words limit = shifted_right(splat(most_score), larger(by, splat(0)));
          const Words score =
              where_greater(order + from, splat(queries[q].last), splat(unseen),
                            shifted_left(larger(smaller(exact, limit), -limit), by));
          store(scores + q * room + from, score);
          most[q] = larger(most[q], score);
          most_of_span[q] = larger(most_of_span[q], score + values);
        }
      }
      tops[at / span] = fold_lanes<together>(most_of_span, larger);
    }
    return fold_lanes<together>(most, larger);
  }

  /// Codes of a span's weights times the scales of values; adds the weights to `total`.
  template <int32_t count>
  void weigh(int32_t at, const int32_t *largest, const int32_t *largest_of_span,
             int32_t total_factor, Words (&total)[count], int16_t (&codes)[together][span]) const {
#pragma unroll
    for (int32_t q = 0; q < count; ++q) {
      const int32_t *own = scores + q * room + at;
      Words below[2], below_span[2];
#pragma unroll
      for (int32_t i = 0; i < 2; ++i) {
        const Words score = load(own + i * lanes);
        // By 32 and more nothing is left, of codes by 16.
        below[i] = smaller(largest[q * query_lanes] - score, splat((32 << 16) - 1));
        below_span[i] =
            smaller(largest_of_span[q * query_lanes] - (score + value_scales[at / lanes + i]),
                    splat((16 << 16) - 1));
      }
      const HVX_VectorPair weights = Q6_Wuw_vmpy_VuhRuh(
          half_power(Q6_Vh_vshuffe_VhVh(raw(below[1]), raw(below[0]))), total_factor);
      total[q] += words(Q6_Vw_vlsr_VwVw(Q6_V_lo_W(weights), raw(below[0] >> 16))) +
                  words(Q6_Vw_vlsr_VwVw(Q6_V_hi_W(weights), raw(below[1] >> 16)));
      const HVX_Vector power =
          half_power(Q6_Vh_vshuffe_VhVh(raw(below_span[1]), raw(below_span[0])));
      const HVX_Vector code = Q6_Vh_vlsr_VhVh(
          Q6_Vuh_vlsr_VuhR(power, 1), Q6_Vh_vshuffo_VhVh(raw(below_span[1]), raw(below_span[0])));
      store(codes[q], words(Q6_Vh_vdeal_Vh(Q6_Vuh_vavg_VuhVuh_rnd(code, Q6_V_vzero()))));
    }
  }

  /// Adds a span's values times codes times factors, `wide` vectors of columns.
  template <int32_t count, int32_t wide, bool whole>
  void add_values(const int32_t *from, int32_t pairs, const int16_t (&codes)[together][span],
                  const int32_t *factors, int32_t columns,
                  Words (*out)[most_head_dim / lanes]) const {
    const int32_t head_dim = shape.query.head_dim;
    Words sums[wide][count];
#pragma unroll
    for (int32_t c = 0; c < wide; ++c)
#pragma unroll
      for (int32_t q = 0; q < count; ++q)
        sums[c][q] = splat(0);
    for (int32_t i = 0; i < pairs; ++i, from += head_dim)
#pragma unroll
      for (int32_t c = 0; c < wide; ++c) {
        const HVX_Vector own = whole ? aligned(from + c * lanes) : raw(load_lanes(from, columns));
#pragma unroll
        for (int32_t q = 0; q < count; ++q)
          sums[c][q] = words(Q6_Vw_vdmpyacc_VwVhRh_sat(
              raw(sums[c][q]), own, reinterpret_cast<const int32_t *>(codes[q])[i]));
      }
#pragma unroll
    for (int32_t c = 0; c < wide; ++c)
#pragma unroll
      for (int32_t q = 0; q < count; ++q)
        out[q][c] += product(sums[c][q], splat(factors[q * query_lanes]));
  }

  template <int32_t count> [[gnu::noinline]] void run(const Query *queries) const {
    const int32_t head_dim = shape.query.head_dim, columns = (head_dim + lanes - 1) / lanes;
    int32_t end = 0;
    for (int32_t q = 0; q < count; ++q)
      end = queries[q].last + 1 > end ? queries[q].last + 1 : end;
    const int32_t spans = (end + span - 1) / span;
    const Words largest = score<count>(queries, end);
    int32_t of_queries[lanes] __attribute__((aligned(128)));
    store(of_queries, largest);

    // Spans are added as parts of the largest one, each shifted by what their sum may be more.
    int32_t guard = 0, total_shift = 0;
    while (spans >> guard)
      ++guard;
    while (end >> (total_shift + 5) && total_shift < 14) // weights of 30 bits in a lane
      ++total_shift;
    Words top_of_all = tops[0], total[together], out[count][most_head_dim / lanes];
    for (int32_t s = 1; s < spans; ++s)
      top_of_all = larger(top_of_all, tops[s]);
    for (int32_t q = 0; q < together; ++q)
      total[q] = splat(0);
    for (int32_t q = 0; q < count; ++q)
      for (int32_t c = 0; c < columns; ++c)
        out[q][c] = splat(0);
    for (int32_t s = 0; s < spans; ++s) {
      const int32_t at = s * span, left = end - at;
      int32_t own_tops[lanes] __attribute__((aligned(128))),
          factors[lanes] __attribute__((aligned(128)));
      int16_t codes[together][span] __attribute__((aligned(128)));
      const Words below = top_of_all - tops[s];
      store(own_tops, tops[s]);
      store(factors, power_of_half(below >> 16, (below & 0xffff) << 15) >> guard);
      weigh<count>(at, of_queries, own_tops, (1 << (14 - total_shift)) * 0x10001,
                   reinterpret_cast<Words(&)[count]>(total), codes);
      const int32_t *from = values(at), pairs = ((left < span ? left : span) + 1) / 2;
      int32_t c = 0;
      auto add = [&]<int32_t wide, bool whole>() {
        add_values<count, wide, whole>(
            from + c * lanes, pairs, codes, factors, head_dim - c * lanes,
            reinterpret_cast<Words(*)[most_head_dim / lanes]>(&out[0][c]));
      };
      for (; head_dim % lanes == 0 && c + 1 < columns; c += 2)
        add.template operator()<2, true>();
      for (; c < columns; ++c)
        head_dim % lanes ? add.template operator()<1, false>() : add.template operator()<1, true>();
    }

    // out * 2^(1 + guard) * 2^(top_of_all - largest) / (weight_limit * sum of weights), which have
    // 16 + 14 - total_shift bits, times weight_limit / (weight_limit + 1); 5 of them go here.
    for (int32_t q = 0; q < together; ++q)
      total[q] >>= 5;
    const Words sum = fold_lanes<together>(total, added);
    const Words by = words(Q6_Vw_vnormamt_Vw(raw(sum)));
    const Words below = largest - top_of_all;
    const Numbers inverse =
        normalized({product(power_of_half(splat(0), (below & 0xffff) << 15),
                            reciprocal(shifted_left(sum, by) >> 2)),
                    by - (below >> 16) + (31 - 30 - 58 - 2 + 12 + guard - total_shift)});
    int32_t exponents[lanes] __attribute__((aligned(128)));
    store(of_queries, inverse.mantissa);
    store(exponents, inverse.exponent);
    for (int32_t c = 0; c < columns; ++c) {
      Words values[count];
#pragma unroll
      for (int32_t q = 0; q < count; ++q)
        values[q] = to_floats(
            product(normalized({out[q][c], splat(0)}),
                    {splat(of_queries[q * query_lanes]), splat(exponents[q * query_lanes])}));
      for (int32_t q = 0; q < count; ++q)
        store_lanes(queries[q].out + c * lanes, values[q], head_dim - c * lanes);
    }
  }

  void run(const Query *queries, int32_t count) const {
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
  const int32_t shared = shape->heads / shape->kv_heads, head_dim = shape->query.head_dim,
                stride = code_stride(head_dim), end = position + tokens;
  const int32_t room = (end + span - 1) / span * span;
  auto *key_scales = static_cast<Numbers *>(
      __builtin_alloca_with_align(static_cast<size_t>(2 * room) * 4, 8 * sizeof(Words)));
  auto *value_scales = static_cast<Words *>(
      __builtin_alloca_with_align(static_cast<size_t>(room) * 4, 8 * sizeof(Words)));
  auto *scores = static_cast<int32_t *>(
      __builtin_alloca_with_align(static_cast<size_t>(together * room) * 4, 8 * sizeof(Words)));
  auto *tops = static_cast<Words *>(__builtin_alloca_with_align(
      static_cast<size_t>(room / span) * sizeof(Words), 8 * sizeof(Words)));
  auto *codes = static_cast<int16_t *>(
      __builtin_alloca_with_align(static_cast<size_t>(most_heads * stride) * 2, 8 * sizeof(Words)));

  for (int32_t group = begin, next; group < begin + extent; group = next) {
    const int32_t kv_head = group / shared, last = (kv_head + 1) * shared;
    next = last < begin + extent ? last : begin + extent;
    Attention attention{*shape, *cache, kv_head, key_scales, value_scales, scores, tops, room};
    attention.take_scales(end);
    // Queries that are coded together: tokens of a head, then of the next.
    int32_t head = group, t = 0;
    for (int32_t left = (next - group) * tokens, count; left; left -= count) {
      count = left < most_heads ? left : most_heads;
      HeadRow rows[most_heads];
      Query queries[most_heads];
      int32_t bits[lanes] __attribute__((aligned(128))) = {};
      for (int32_t i = 0; i < count; ++i) {
        rows[i] = {query + t * shape->query.stride, angles + t * head_dim, head};
        queries[i] = {codes + i * stride, 0, 0, position + t,
                      out + (head - begin) * head_dim + t * shape->out_width};
        if (++t == tokens)
          t = 0, ++head;
      }
      head_codes(shape->query, rows, count, codes, bits);
      const Numbers made = normalized(product(
          from_floats(load(bits)), from_floats(splat(__builtin_bit_cast(int32_t, shape->scale)))));
      int32_t mantissas[lanes] __attribute__((aligned(128))),
          exponents[lanes] __attribute__((aligned(128)));
      store(mantissas, made.mantissa);
      store(exponents, made.exponent);
      for (int32_t i = 0; i < count; ++i)
        queries[i].mantissa = mantissas[i], queries[i].exponent = exponents[i];
      for (int32_t i = 0; i < count; i += together)
        attention.run(queries + i, count - i < together ? count - i : together);
    }
  }
}

} // namespace ingot::hexagon
