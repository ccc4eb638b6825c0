// Rows of two blocks times a tile of tokens: sums of products of codes, times scales (linear.cpp
// says how).
#pragma once

#include "targets/hexagon/runtime/codes.h"
#include "targets/hexagon/runtime/tokens.h"

namespace ingot::hexagon {

/// Sums of products of codes, for each row and each of a tile of tokens.
template <int32_t tile, int32_t planes> struct Dots {
  HVX_Vector low[tile], high[planes > 1 ? tile : 1];
};

template <bool offset, int32_t bits, int32_t steps, bool by_group, int32_t tile, int32_t planes>
[[gnu::always_inline]] inline void dots(const Group<bits, steps, by_group> &group,
                                        const Token *tokens, int32_t index,
                                        Dots<tile, planes> &sums) {
  constexpr int32_t size = steps * code_step;
  // What a sum starts with is split only where both parts stay apart.
  constexpr bool split = planes > 1 && has_small_codes(bits), whole = planes > 1 && !split;
  const int32_t at = index * planes * size;
#pragma unroll
  for (int32_t i = 0; i < steps; i += 2) {
#pragma unroll
    for (int32_t t = 0; t < tile; ++t) {
      const int8_t *codes = tokens[t].codes + at + i * code_step;
      const int64_t x = *reinterpret_cast<const int64_t *>(codes);
      const auto first = static_cast<int32_t>(x), second = static_cast<int32_t>(x >> 32);
      const int32_t start = offset && !i ? tokens[t].starts[index] : 0;
      HVX_Vector &low = sums.low[t], &own = planes == 1 ? low : sums.high[t];
      if (!i && (!offset || whole))
        own = Q6_Vw_vrmpy_VubRb(group.codes[i], first);
      else
        own = Q6_Vw_vrmpyacc_VwVubRb(i ? own : Q6_V_vsplat_R(split ? start >> 8 : start),
                                     group.codes[i], first);
      own = Q6_Vw_vrmpyacc_VwVubRb(own, group.codes[i + 1], second);
      if constexpr (planes > 1) {
        const int64_t y = *reinterpret_cast<const int64_t *>(codes + size);
        if (!i && !offset)
          low = Q6_Vuw_vrmpy_VubRub(group.codes[i], static_cast<int32_t>(y));
        else
          low = Q6_Vuw_vrmpyacc_VuwVubRub(i ? low : Q6_V_vsplat_R(split ? start & 255 : start),
                                          group.codes[i], static_cast<int32_t>(y));
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
  if constexpr (has_small_codes(bits)) {
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
  template <int32_t tile> [[gnu::always_inline]] void take(const Numbers (&results)[tile]) const {
    if (!kept)
      return write(results);
#pragma unroll
    for (int32_t t = 0; t < tile; ++t)
      kept[t] = results[t];
  }

private:
  template <int32_t tile> [[gnu::noinline]] void write(const Numbers (&results)[tile]) const {
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

/// `beside`: there are minima, and a round of the loop multiplies those, too: with codes of one
/// byte, their sums fit the registers beside the others.
template <int32_t bits, int32_t steps, int32_t tile, int32_t planes, bool by_group, bool offset,
          bool beside>
[[gnu::noinline]] void run_tile(const LinearShape &shape, const Pair &pair, const Token *tokens,
                                const Results &results) {
  using Codes = Group<bits, steps, by_group>;
  const int32_t groups = shape.groups, ratio = shape.ratio;
  HVX_Vector totals[tile], sums[tile];
#pragma unroll
  for (int32_t t = 0; t < tile; ++t)
    totals[t] = sums[t] = Q6_V_vzero();
  auto add_minima = [&](int32_t i) {
    const HVX_Vector minima = pair.mins.pairs[i];
#pragma unroll
    for (int32_t t = 0; t < tile; ++t) {
      const Factors factors = tokens[t].sums[i];
      sums[t] =
          Q6_Vw_vasracc_VwVwR(sums[t], Q6_Vw_vdmpy_VhRh_sat(minima, factors.pair), factors.shift);
    }
  };
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
    if constexpr (beside)
      add_minima(i);
  };
  int32_t i = 0;
  for (; i < groups / 2; ++i) {
    dots<offset>(Codes(pair, 2 * i, ratio), tokens, 2 * i, even);
    dots<offset>(Codes(pair, 2 * i + 1, ratio), tokens, 2 * i + 1, odd);
    add(i);
  }
  if (groups % 2) {
    dots<offset>(Codes(pair, 2 * i, ratio), tokens, 2 * i, even);
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
  if (!beside && !shape.has_mins) {
#pragma unroll
    for (int32_t t = 0; t < tile; ++t)
      sums_of[t] = {words(totals[t]), exponent + tokens[t].exponent};
    return results.take(sums_of);
  }
  if constexpr (!beside)
#pragma unroll 3
    for (i = 0; i < (groups + 1) / 2; ++i)
      add_minima(i);
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

using RunTile = void (*)(const LinearShape &shape, const Pair &pair, const Token *tokens,
                         const Results &results);
/// What computes a tile of a layer whose codes lie so.
template <int32_t bits, int32_t steps, int32_t tile, bool by_group>
RunTile tile_of(const LinearShape &shape) {
  auto with = [&]<int32_t planes, bool offset>() -> RunTile {
    if constexpr (planes == 1 && tile > 1)
      if (shape.has_mins)
        return run_tile<bits, steps, tile, planes, by_group, offset, true>;
    return run_tile<bits, steps, tile, planes, by_group, offset, false>;
  };
  auto of_planes = [&]<int32_t planes>() -> RunTile {
    if constexpr (bits != tabled) // whose numbers all begin below 0
      if (!shape.min_code)
        return with.template operator()<planes, false>();
    return with.template operator()<planes, true>();
  };
  return shape.planes == 2 ? of_planes.template operator()<2>()
                           : of_planes.template operator()<1>();
}

} // namespace ingot::hexagon
