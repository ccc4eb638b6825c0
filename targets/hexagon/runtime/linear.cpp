// Linear layers in HVX: two blocks of 16 rows side by side fill a vector of sums.
//
// What a float would be elsewhere is an integer here. With a weight's scale s, an activation's a
// and the sum d of a group's products of codes, a row is sum(d * (s * a)): s in 16 bits of what is
// above all scales of the row (a power of two, E), a in 16 bits of what is above it and that of the
// group beside it, their product in 16 bits, d in the 16 bits that the token's codes leave it. Two
// groups lie beside each other in the halves of a word, so that one instruction multiplies the
// scales of two and another adds both products; their sum is shifted to what is above all that the
// row can be (F, of a token), 32 bits, which cannot overflow. d is not multiplied by a scale alone:
// it is small where one activation of a group is large, and a product in 16 bits would keep little
// of it.
//
// Codes of activations of 16 bits are two of 8, 256 * high + low. Of those with weights of 4 bits,
// sums of both stay apart, in 16 bits each. Of 8 bits they are put together, and the 16 upper bits
// of the sum then taken apart from what is left.
#include "targets/hexagon/runtime/linear.h"

#include "targets/hexagon/runtime/scales.h"

namespace ingot::hexagon {

namespace {

constexpr int32_t code_step = 4, step_bytes = rows * code_step;
/// Of a sum of 32 products of the lower parts of codes, with weights of 4 bits, 255 added.
constexpr int32_t low_bits = 17;
static_assert(32 * 15 * 255 + 255 < 1 << low_bits);

inline int32_t rounded_up(int32_t value, int32_t to) { return (value + to - 1) / to * to; }

/// Two groups' factors in the halves of a word, and by how much their products are shifted.
struct Factors {
  int32_t pair, shift;
};

/// A token's activations beside their codes.
struct Token {
  const int8_t *codes;
  const int32_t *starts;           ///< min_code * sum of codes, for each group
  const Factors *scales;           ///< a
  const Factors *sums;             ///< the same of a * sum of codes
  int32_t exponent, sums_exponent; ///< F
  int32_t shift;                   ///< of sums of products, to 16 bits
  int32_t low_shift;               ///< of products of their lower parts, to those of the upper
};

int32_t bits_of(int32_t value) { return 32 - __builtin_clz(static_cast<uint32_t>(value) | 1); }

/// Numbers of 30 bits, 32 in a vector, as factors of what has `bits` bits. Returns the exponent of
/// the products' sum, which stays below 2^31.
int32_t fix(int32_t vectors, const Words *numbers, int32_t bits, Factors *factors) {
  Words total = splat(0), peak = splat(0);
  for (int32_t i = 0; i < vectors; ++i) {
    const Words magnitude = words(Q6_Vw_vabs_Vw(raw(numbers[i])));
    total += magnitude >> 12; // 18 bits: as many as 8192 of them, a unit less and 4 rounded up
    peak = larger(peak, magnitude);
  }
  const int32_t of_sum = bits_of(first_lane(sum_of_lanes(total)) + vectors * 160) + 12 + bits - 31,
                of_peak = bits_of(first_lane(largest_lane(peak))) - 15;
  const int32_t exponent = of_sum > of_peak ? of_sum : of_peak < 0 ? 0 : of_peak;
  for (int32_t i = 0; i < vectors; ++i) {
    const HVX_Vector magnitude = Q6_Vw_vabs_Vw(raw(numbers[i]));
    const HVX_VectorPair apart = Q6_W_vshuff_VVR(magnitude, magnitude, 4);
    const Words most = larger(words(Q6_V_lo_W(apart)), words(Q6_V_hi_W(apart)));
    const Words shift = larger(16 - words(Q6_Vw_vnormamt_Vw(raw(most))), splat(0));
    const HVX_Vector rounded = raw(smaller(
        shifted_right(numbers[i] + (shifted_left(splat(1), shift) >> 1), shift), splat(INT16_MAX)));
    const HVX_VectorPair halves = Q6_W_vshuff_VVR(rounded, rounded, 4);
    const HVX_Vector pairs = Q6_Vh_vshuffe_VhVh(Q6_V_hi_W(halves), Q6_V_lo_W(halves));
    const Words left = smaller(exponent - shift, splat(31));
    store(factors + i * 16, words(Q6_V_lo_W(Q6_W_vshuff_VVR(raw(left), pairs, 4))));
  }
  return exponent;
}

/// What no sum of products of a group of a token's codes exceeds.
int32_t largest_dot(const LinearShape &shape, const int8_t *codes) {
  const bool wide = shape.planes == 2;
  Words most = splat(0);
  for (int32_t i = 0; i < shape.columns; i += 128) {
    const int8_t *from = codes + i * shape.planes;
    const int32_t lanes = (shape.columns - i) * shape.planes / 4;
    HVX_Vector x = raw(load_lanes(from, lanes));
    if (wide) // high bytes alone
      x = Q6_V_lo_W(Q6_W_vdeal_VVR(
          lanes > 32 ? raw(load_lanes(from + 128, lanes - 32)) : Q6_V_vzero(), x, -shape.group));
    const HVX_Vector ones = Q6_Vb_vsplat_R(1);
    Words sum = words(Q6_Vw_vrmpy_VbVb(x, ones)),
          magnitudes = words(Q6_Vw_vrmpy_VubVb(Q6_Vb_vabs_Vb(x), ones));
    const auto fold = [](Words a, int32_t bytes) {
      const HVX_VectorPair both = Q6_W_vshuff_VVR(raw(a), raw(a), bytes);
      return words(Q6_V_lo_W(both)) + words(Q6_V_hi_W(both));
    };
    for (int32_t bytes = shape.group / 2; bytes >= 4; bytes /= 2) {
      sum = fold(sum, bytes);
      magnitudes = fold(magnitudes, bytes);
    }
    // Codes of weights that are not negative do their most for activations of one sign.
    const Words one_sign = (magnitudes + words(Q6_Vw_vabs_Vw(raw(sum)))) >> 1;
    most = larger(most, shape.min_code ? magnitudes : one_sign);
  }
  const int32_t codes_most = first_lane(largest_lane(most));
  return (wide ? 256 * codes_most + 255 * shape.group : codes_most) * shape.most;
}

/// One pair of blocks.
struct Pair {
  const uint8_t *a, *b;
  Scales scales, mins;
  HVX_Vector table; ///< where codes have one, in the lower bytes of halves
};

/// Bits of codes of 4 that a table has bytes for: they are stored like the former and multiplied
/// like bytes.
constexpr int32_t tabled = 5;

/// The codes of a group of two blocks, step by step, as their layout has them.
template <int32_t bits, int32_t steps> struct Group {
  HVX_Vector codes[steps];

  Group(const Pair &pair, int32_t group, int32_t ratio) {
    const uint8_t *a = pair.a, *b = pair.b;
    if constexpr (bits == 8) {
      const int32_t at = group * steps * step_bytes;
      for (int32_t i = 0; i < steps; i += 2)
        set(i, aligned(a + at + i * step_bytes), aligned(b + at + i * step_bytes));
    } else if (ratio == 1) {
      const int32_t at = group * (steps / 2) * step_bytes;
      const HVX_Vector low = Q6_Vb_vsplat_R(15);
      for (int32_t i = 0; i < steps / 2; i += 2) {
        const HVX_Vector of_a = aligned(a + at + i * step_bytes),
                         of_b = aligned(b + at + i * step_bytes);
        set(i, of_a, of_b);
        for (int32_t step = i; step < i + 2; ++step) {
          codes[step + steps / 2] = Q6_Vub_vlsr_VubR(codes[step], 4);
          codes[step] = Q6_V_vand_VV(codes[step], low);
        }
      }
      if constexpr (bits == tabled)
#pragma unroll
        for (int32_t step = 0; step < steps; ++step)
          codes[step] = Q6_Vb_vlut32_VbVbR(codes[step], pair.table, 0);
    } else {
      const HVX_Vector low = Q6_Vb_vsplat_R(15);
      const int32_t half = ratio * steps / 2, first = group % ratio * steps;
      const int32_t at = group / ratio * half * step_bytes;
      for (int32_t i = 0; i < steps; i += 2) {
        const bool high = first + i >= half;
        const int32_t step = at + (first + i - (high ? half : 0)) * step_bytes;
        set(i, aligned(a + step), aligned(b + step));
        for (int32_t own = i; own < i + 2; ++own)
          codes[own] = Q6_V_vand_VV(Q6_Vub_vlsr_VubR(codes[own], high ? 4 : 0), low);
      }
    }
  }
  void set(int32_t step, HVX_Vector a, HVX_Vector b) {
    const HVX_VectorPair both = Q6_W_vshuff_VVR(b, a, 64);
    codes[step] = Q6_V_lo_W(both);
    codes[step + 1] = Q6_V_hi_W(both);
  }
};

/// Sums of products of codes, for each row and each of a tile of tokens.
template <int32_t tile, int32_t planes> struct Dots {
  HVX_Vector low[tile], high[planes > 1 ? tile : 1];
};

template <int32_t bits, int32_t steps, int32_t tile, int32_t planes, bool offset>
[[gnu::always_inline]] inline void dots(const Group<bits, steps> &group, const Token *tokens,
                                        int32_t index, Dots<tile, planes> &sums) {
  constexpr int32_t size = steps * code_step;
  const int32_t at = index * planes * size;
#pragma unroll
  for (int32_t t = 0; t < tile; ++t) {
    const int32_t start = offset ? tokens[t].starts[index] : 0;
    if constexpr (planes == 1) {
      sums.low[t] = Q6_V_vsplat_R(start);
    } else {
      sums.low[t] = Q6_V_vsplat_R(start & 255);
      sums.high[t] = Q6_V_vsplat_R(start >> 8);
    }
  }
#pragma unroll
  for (int32_t i = 0; i < steps; i += 2) {
#pragma unroll
    for (int32_t t = 0; t < tile; ++t) {
      const int8_t *codes = tokens[t].codes + at + i * code_step;
      const int64_t x = *reinterpret_cast<const int64_t *>(codes);
      const auto first = static_cast<int32_t>(x), second = static_cast<int32_t>(x >> 32);
      HVX_Vector &own = planes == 1 ? sums.low[t] : sums.high[t];
      own = Q6_Vw_vrmpyacc_VwVubRb(own, group.codes[i], first);
      own = Q6_Vw_vrmpyacc_VwVubRb(own, group.codes[i + 1], second);
      if constexpr (planes > 1) {
        const int64_t y = *reinterpret_cast<const int64_t *>(codes + size);
        HVX_Vector &low = sums.low[t];
        low = Q6_Vuw_vrmpyacc_VuwVubRub(low, group.codes[i], static_cast<int32_t>(y));
        low = Q6_Vuw_vrmpyacc_VuwVubRub(low, group.codes[i + 1], static_cast<int32_t>(y >> 32));
      }
    }
  }
}

/// Sums of two groups of a token, in the halves of words, times `factors`.
template <int32_t bits, int32_t tile, int32_t planes>
[[gnu::always_inline]] inline HVX_Vector products(const Dots<tile, planes> &even,
                                                  const Dots<tile, planes> &odd, int32_t t,
                                                  const Token &token, HVX_Vector factors) {
  if constexpr (planes == 1)
    return Q6_Vw_vdmpy_VhVh_sat(Q6_Vh_vasr_VwVwR_rnd_sat(odd.low[t], even.low[t], token.shift),
                                factors);
  HVX_Vector high, low;
  if constexpr (bits == 4) {
    high = Q6_Vh_vasr_VwVwR_rnd_sat(odd.high[t], even.high[t], token.shift);
    low = Q6_Vh_vasr_VwVwR_rnd_sat(odd.low[t], even.low[t], low_bits - 15);
  } else {
    const HVX_Vector second = Q6_Vw_vaslacc_VwVwR(odd.low[t], odd.high[t], 8),
                     first = Q6_Vw_vaslacc_VwVwR(even.low[t], even.high[t], 8);
    high = Q6_Vh_vasr_VwVwR_sat(second, first, token.shift);
    low = Q6_V_vand_VV(Q6_Vh_vshuffe_VhVh(second, first), Q6_Vh_vsplat_R((1 << token.shift) - 1));
  }
  return Q6_Vw_vdmpyacc_VwVhVh_sat(
      Q6_Vw_vasr_VwR(Q6_Vw_vdmpy_VhVh_sat(low, factors), token.low_shift), high, factors);
}

/// Where a tile's results go: kept as they are, or to rows of floats, some of which are added.
struct Results {
  Numbers *kept; ///< null: to rows
  float *out;
  const float *added;   ///< null: none
  int32_t width, lanes; ///< floats from a token to the next; of a token

  /// All of a tile in one go: there is enough to do side by side.
  template <int32_t tile> void take(const Numbers (&results)[tile]) const {
    if (kept) {
#pragma unroll
      for (int32_t t = 0; t < tile; ++t)
        kept[t] = results[t];
      return;
    }
    Words values[tile];
    if (added) {
#pragma unroll
      for (int32_t t = 0; t < tile; ++t)
        values[t] = to_floats(
            sum(normalized(results[t]), from_floats(load_lanes(added + t * width, lanes))));
    } else {
#pragma unroll
      for (int32_t t = 0; t < tile; ++t)
        values[t] = to_floats(results[t]);
    }
    if (lanes == 2 * rows) {
#pragma unroll
      for (int32_t t = 0; t < tile; ++t)
        store(out + t * width, values[t]);
    } else {
      for (int32_t t = 0; t < tile; ++t)
        store_lanes(out + t * width, values[t], lanes);
    }
  }
};

template <int32_t bits, int32_t steps, int32_t tile, int32_t planes, bool by_group, bool offset>
[[gnu::noinline]] void run_tile(const LinearShape &shape, const Pair &pair, const Token *tokens,
                                const Results &results) {
  const int32_t groups = shape.groups, ratio = by_group ? 1 : shape.ratio;
  HVX_Vector totals[tile];
#pragma unroll
  for (int32_t t = 0; t < tile; ++t)
    totals[t] = Q6_V_vzero();
  Dots<tile, planes> even, odd;
  auto add = [&](int32_t i) {
    const HVX_Vector scales = pair.scales.pairs[i];
#pragma unroll
    for (int32_t t = 0; t < tile; ++t) {
      const Factors factors = tokens[t].scales[i];
      totals[t] = Q6_Vw_vasracc_VwVwR(
          totals[t],
          products<bits>(even, odd, t, tokens[t], Q6_Vh_vmpy_VhRh_s1_rnd_sat(scales, factors.pair)),
          factors.shift);
    }
  };
  int32_t i = 0;
  for (; i < groups / 2; ++i) {
    dots<bits, steps, tile, planes, offset>({pair, 2 * i, ratio}, tokens, 2 * i, even);
    dots<bits, steps, tile, planes, offset>({pair, 2 * i + 1, ratio}, tokens, 2 * i + 1, odd);
    add(i);
  }
  if (groups % 2) {
    dots<bits, steps, tile, planes, offset>({pair, 2 * i, ratio}, tokens, 2 * i, even);
#pragma unroll
    for (int32_t t = 0; t < tile; ++t) {
      odd.low[t] = Q6_V_vzero();
      if constexpr (planes > 1)
        odd.high[t] = Q6_V_vzero();
    }
    add(i);
  }
  const Words exponent = pair.scales.exponent;
  Numbers sums_of[tile];
  if (!shape.has_mins) {
#pragma unroll
    for (int32_t t = 0; t < tile; ++t)
      sums_of[t] = {words(totals[t]), exponent + tokens[t].exponent};
    return results.take(sums_of);
  }
  HVX_Vector sums[tile];
#pragma unroll
  for (int32_t t = 0; t < tile; ++t)
    sums[t] = Q6_V_vzero();
#pragma unroll 3
  for (i = 0; i < (groups + 1) / 2; ++i)
#pragma unroll
    for (int32_t t = 0; t < tile; ++t) {
      const Factors factors = tokens[t].sums[i];
      sums[t] = Q6_Vw_vasracc_VwVwR(sums[t], Q6_Vw_vdmpy_VhRh_sat(pair.mins.pairs[i], factors.pair),
                                    factors.shift);
    }
  const Words between = pair.mins.exponent - exponent;
#pragma unroll
  for (int32_t t = 0; t < tile; ++t) {
    // Both of them halved: as integers of the larger of their exponents, which is all that they are
    // known to.
    const Words more = between + (tokens[t].sums_exponent - tokens[t].exponent), none = splat(0),
                most = splat(31);
    sums_of[t] = {shifted_right(words(totals[t]), smaller(larger(more, none) + 1, most)) +
                      shifted_right(words(sums[t]), smaller(larger(-more, none) + 1, most)),
                  exponent + larger(more, none) + (tokens[t].exponent + 1)};
  }
  results.take(sums_of);
}

template <int32_t bits, int32_t steps, int32_t tile, int32_t planes, bool by_group>
void run_offset(const LinearShape &shape, const Pair &pair, const Token *tokens,
                const Results &results) {
  shape.min_code
      ? run_tile<bits, steps, tile, planes, by_group, true>(shape, pair, tokens, results)
      : run_tile<bits, steps, tile, planes, by_group, false>(shape, pair, tokens, results);
}

template <int32_t bits, int32_t steps, int32_t planes>
void run_tokens(const LinearShape &shape, const Pair &pair, const Token *tokens,
                const Results &results) {
  constexpr bool packed = bits == 4; // else all groups lie alike
  auto run = [&]<int32_t tile>() {
    packed &&shape.ratio > 1
        ? run_offset<bits, steps, tile, planes, !packed>(shape, pair, tokens, results)
        : run_offset<bits, steps, tile, planes, true>(shape, pair, tokens, results);
  };
  shape.one_token ? run.template operator()<1>() : run.template operator()<token_tile>();
}

/// Codes of a table, whose groups are of 32 elements and have no minima.
template <int32_t planes>
void run_table(const LinearShape &shape, const Pair &pair, const Token *tokens,
               const Results &results) {
  shape.one_token
      ? run_tile<tabled, 8, 1, planes, true, true>(shape, pair, tokens, results)
      : run_tile<tabled, 8, token_tile, planes, true, true>(shape, pair, tokens, results);
}

template <int32_t bits, int32_t steps>
void run_planes(const LinearShape &shape, const Pair &pair, const Token *tokens,
                const Results &results) {
  shape.planes == 2 ? run_tokens<bits, steps, 2>(shape, pair, tokens, results)
                    : run_tokens<bits, steps, 1>(shape, pair, tokens, results);
}

/// a * b / 2^31, of b the 16 upper bits: half the work.
inline Words half_product(Words a, Words b) {
  return words(Q6_Vw_vmpyo_VwVh_s1_rnd_sat(raw(a), raw(b)));
}

/// 1 / (1 + 2^-(whole + (x + 1) / 2)) for x below 1 as 31 bits behind the point, in 30 bits, within
/// 2^-22: steps of a polynomial that do not decide more than half of that take half of x.
inline Words sigmoid_of(Words whole, Words x) {
  Words power = half_product(splat(-31772), x) + 459158;
  power = half_product(power, x) - 5267637;
  power = half_product(power, x) + 45596970;
  power = product(power, x) - 263136045;
  power = product(power, x) + 759250182;
  const Words e = smaller(shifted_right(power, whole), splat((1 << 30) - 1));
  // Within 2^-11 by a polynomial, then a step of Newton's method.
  const Words z = (e << 2) ^ INT32_MIN; // 2 e - 1
  Words r = half_product(splat(10216990), z) - 30650971;
  r = half_product(r, z) + 79181675;
  r = half_product(r, z) - 237545024;
  r = half_product(r, z) + 715827883;
  const Words off = (1 << 29) - product(r, (1 << 30) + e);
  return r + (half_product(r, off << 13) >> 11);
}

/// gate * up / (1 + exp(-gate)).
inline Numbers silu_mul(Numbers gate, const Numbers &up) {
  gate = normalized(gate);
  // |gate| * log2(e) in 26 bits behind the point; above 31, the exponential is 0.
  const Words magnitude =
      product(words(Q6_Vw_vabs_Vw(raw(gate.mantissa))), splat(1549082005)); // log2(e) 2^30
  // magnitude * 2^(exponent + 1 + 26)
  const Words by = gate.exponent + 27;
  const Words power =
      where_greater(by, splat(1), splat(INT32_MAX),
                    where_greater(by, splat(0), magnitude + magnitude,
                                  shifted_right(magnitude, smaller(-by, splat(31)))));
  // Of negative numbers, 1 minus that.
  const Words r = sigmoid_of(power >> 26, (power << 6) ^ INT32_MIN);
  const Words sigmoid = where_greater(splat(0), gate.mantissa, (1 << 30) - r, r);
  return product(product(gate, {sigmoid, splat(-30)}), normalized(up));
}

struct Layer {
  const LinearShape &shape;
  const LinearBuffers &buffers;
  Token *tokens;
  int32_t from, to;      ///< tokens, padding included
  int32_t weight_groups; ///< of a row
  HVX_Vector *scratch;
  HVX_Vector table; ///< Pair::table

  /// Asks for the codes of the blocks that come after `block`: memory is far, and nothing else
  /// does.
  void fetch(int32_t block) const {
    constexpr int32_t line = 128;
    const int32_t bytes = shape.columns * rows * shape.code_bits / 8,
                  blocks = shape.blocks - block - 1 < 2 ? shape.blocks - block - 1 : 2;
    if (blocks <= 0)
      return;
    const int64_t lines = blocks * bytes / line < UINT16_MAX ? blocks * bytes / line : UINT16_MAX;
    Q6_l2fetch_AP(const_cast<uint8_t *>(buffers.codes) +
                      static_cast<uint32_t>(block + 1) * static_cast<uint32_t>(bytes),
                  int64_t{line} << 32 | line << 16 | lines);
  }
  Pair pair(int32_t a, int32_t b, HVX_Vector *scales) const {
    const int32_t block_bytes = shape.columns * rows * shape.code_bits / 8,
                  scale_bytes = weight_groups * rows * shape.scale_bytes;
    auto part = [&](const void *from, int32_t block, int32_t bytes) {
      return static_cast<const uint8_t *>(from) +
             static_cast<uint32_t>(block) * static_cast<uint32_t>(bytes);
    };
    Pair pair{
        part(buffers.codes, a, block_bytes), part(buffers.codes, b, block_bytes), {}, {}, table};
    pair.scales = scales_of(buffers.scales, a, b, scale_bytes, scales);
    if (shape.has_mins)
      pair.mins = scales_of(buffers.mins, a, b, scale_bytes, scales + pairs());
    return pair;
  }
  Scales scales_of(const void *from, int32_t a, int32_t b, int32_t bytes, HVX_Vector *to) const {
    const auto *start = static_cast<const uint8_t *>(from);
    Scales made =
        fix_scales(start + a * bytes, start + b * bytes, weight_groups, shape.scale_bytes, to);
    const int32_t groups = shape.groups, ratio = shape.ratio;
    if (ratio > 1) // a weight's group is several of activations: from behind, each over itself
      for (int32_t i = pairs() - 1; i >= 0; --i) {
        auto half = [&](int32_t group) {
          if (group >= groups)
            return Q6_V_vzero();
          const HVX_Vector both = to[group / ratio / 2];
          return group / ratio % 2 ? Q6_Vh_vshuffo_VhVh(both, both) : both;
        };
        to[i] = Q6_Vh_vshuffe_VhVh(half(2 * i + 1), half(2 * i));
      }
    return made;
  }
  int32_t pairs() const { return (shape.groups + 1) / 2; }

  void run(const Pair &pair, const Token *tile, const Results &results) const {
    if (shape.has_table)
      shape.planes == 2 ? run_table<2>(shape, pair, tile, results)
                        : run_table<1>(shape, pair, tile, results);
    else if (shape.code_bits == 4)
      shape.group == 32 ? run_planes<4, 8>(shape, pair, tile, results)
                        : run_planes<4, 4>(shape, pair, tile, results);
    else
      shape.group == 32 ? run_planes<8, 8>(shape, pair, tile, results)
                        : run_planes<8, 4>(shape, pair, tile, results);
  }

  float *out(int32_t slice, int32_t token) const {
    return buffers.out + slice * rows + token * shape.out_width;
  }

  /// Slices `slice` and, where `both`, the next, counted from `begin`.
  void rows_of(int32_t begin, int32_t slice, bool both) const {
    const int32_t a = begin + slice, b = both ? a + 1 : a, tile = shape.one_token ? 1 : token_tile;
    const Pair own = pair(a, b, scratch);
    fetch(b);
    for (int32_t t = from; t < to; t += tile)
      run(own, tokens + t,
          {nullptr, out(slice, t),
           shape.after == after_add ? buffers.added + a * rows + t * shape.out_width : nullptr,
           shape.out_width, both ? 2 * rows : rows});
  }
  /// Values of a tile wait for each other's products where they are not side by side.
  template <int32_t tile> void gated(int32_t begin, int32_t slice, bool both) const {
    const int32_t a = 2 * (begin + slice), b = both ? a + 2 : a;
    const Pair first = pair(a, a + 1, scratch), second = pair(b, b + 1, scratch + 2 * pairs());
    fetch(b + 1);
    Numbers of_first[tile], of_second[tile];
    for (int32_t t = from; t < to; t += tile) {
      run(first, tokens + t, {of_first, nullptr, nullptr, 0, 0});
      run(second, tokens + t, {of_second, nullptr, nullptr, 0, 0});
      Words values[tile];
#pragma unroll
      for (int32_t i = 0; i < tile; ++i) {
        const HVX_VectorPair mantissas = Q6_W_vshuff_VVR(raw(of_second[i].mantissa),
                                                         raw(of_first[i].mantissa), 64),
                             exponents = Q6_W_vshuff_VVR(raw(of_second[i].exponent),
                                                         raw(of_first[i].exponent), 64);
        values[i] = to_floats(silu_mul({words(Q6_V_lo_W(mantissas)), words(Q6_V_lo_W(exponents))},
                                       {words(Q6_V_hi_W(mantissas)), words(Q6_V_hi_W(exponents))}));
      }
      for (int32_t i = 0; i < tile; ++i)
        store_lanes(out(slice, t + i), values[i], both ? 2 * rows : rows);
    }
  }
};

} // namespace

extern "C" void ingot_hexagon_linear(const LinearShape *shape, const LinearBuffers *buffers,
                                     int32_t begin, int32_t extent, int32_t tokens) {
  const int32_t groups = shape->groups, pairs = (groups + 1) / 2;
  const int32_t count = shape->one_token ? 1 : rounded_up(tokens, token_tile);
  // On the stack of a step, which has room for it. Vectors are written whole.
  auto *of_tokens = static_cast<Token *>(__builtin_alloca(count * sizeof(Token)));
  auto *factors = static_cast<Factors *>(__builtin_alloca((count * 2 * pairs + 16) * 8));
  auto *starts = static_cast<int32_t *>(__builtin_alloca((count * groups + 32) * 4));
  auto *scratch = static_cast<HVX_Vector *>(
      __builtin_alloca_with_align(4 * pairs * sizeof(HVX_Vector), 8 * sizeof(HVX_Vector)));
  const int32_t vectors = (groups + 31) / 32;
  auto *fixed =
      static_cast<Words *>(__builtin_alloca_with_align(vectors * sizeof(Words), 8 * sizeof(Words)));
  alignas(128) uint8_t table[128] = {};
  if (shape->has_table)
    for (int32_t i = 0; i < 16; ++i)
      table[2 * i] = reinterpret_cast<const uint8_t *>(shape->table)[i];
  for (int32_t t = 0; t < count; ++t) {
    const float *scales = buffers->x_scales + t * groups;
    const int32_t *sums = buffers->x_sums + t * groups;
    int32_t *own = starts + t * groups;
    Factors *own_factors = factors + t * 2 * pairs;
    Words most = splat(0);
    for (int32_t i = 0; i < vectors; ++i)
      most = larger(most, load_lanes(scales + i * 32, groups - i * 32));
    const int32_t top = first_lane(largest_lane(most)) >> 23; // scales are not negative
    for (int32_t i = 0; i < vectors; ++i) {
      const Words bits = load_lanes(scales + i * 32, groups - i * 32);
      fixed[i] = shifted_right(
          where_greater(bits, splat(0x7fffff), ((bits & 0x7fffff) | 0x800000) << 6, splat(0)),
          smaller(top - (bits >> 23), splat(31)));
    }
    const int32_t exponent = top - (127 + 23 + 6);
    Token &token = of_tokens[t];
    token = {buffers->x + t * shape->columns * shape->planes,
             own,
             own_factors,
             own_factors + pairs,
             0,
             0,
             0,
             0};
    const int32_t most_dot = largest_dot(*shape, token.codes), dot_bits = bits_of(most_dot);
    int32_t unit = dot_bits > 15 ? dot_bits - 15 : 0; // of what is multiplied, in bits
    if (shape->planes == 1) {
      token.shift = unit;
    } else if (shape->code_bits == 4 && !shape->has_table) {
      // The upper part alone is larger where the lower one takes from it.
      const int32_t high_bits = bits_of((most_dot >> 8) + (1 << (low_bits - 8)));
      token.shift = high_bits > 15 ? high_bits - 15 : 0;
      unit = 8 + token.shift;
      token.low_shift = unit - (low_bits - 15);
    } else {
      token.shift = token.low_shift = unit;
    }
    token.exponent =
        exponent + unit + fix(vectors, fixed, dot_bits > unit ? dot_bits - unit : 0, own_factors);
    if (shape->min_code)
      for (int32_t i = 0; i < vectors; ++i)
        store(own + i * 32, load_lanes(sums + i * 32, groups - i * 32) * shape->min_code);
    if (!shape->has_mins)
      continue;
    // Sums of 12 or, of wide codes, 20 bits and a sign, times scales; minima have 15 bits.
    const int32_t left = shape->planes == 2 ? 10 : 18;
    for (int32_t i = 0; i < vectors; ++i)
      fixed[i] = product(fixed[i], load_lanes(sums + i * 32, groups - i * 32) << left);
    token.sums_exponent = exponent + 31 - left - 15 + fix(vectors, fixed, 15, own_factors + pairs);
  }
  for (int32_t first = 0; first < count; first += shape->near_tokens) {
    const int32_t last = count - first < shape->near_tokens ? count : first + shape->near_tokens;
    const Layer layer{*shape,  *buffers,      of_tokens, first, last, groups / shape->ratio,
                      scratch, aligned(table)};
    for (int32_t slice = 0; slice < extent; slice += 2) {
      const bool both = slice + 1 < extent;
      if (shape->after != after_silu_mul)
        layer.rows_of(begin, slice, both);
      else if (shape->one_token)
        layer.gated<1>(begin, slice, both);
      else
        layer.gated<token_tile>(begin, slice, both);
    }
  }
}

} // namespace ingot::hexagon
