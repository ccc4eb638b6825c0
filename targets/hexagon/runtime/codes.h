// Codes of weights of two blocks of rows side by side: from their planes (PackedLayout) to bytes.
#pragma once

#include "targets/hexagon/runtime/linear.h"
#include "targets/hexagon/runtime/scales.h"

namespace ingot::hexagon {

constexpr int32_t code_step = 4, step_bytes = rows * code_step;

/// One pair of blocks.
struct Pair {
  const uint8_t *a, *b;    ///< as the matrix has them
  const HVX_Vector *bytes; ///< steps of both, unpacked
  Scales scales, mins;
  HVX_Vector table; ///< where codes have one, in the lower bytes of halves
};

/// Beside the bits of codes in memory, what tells groups from each other: codes of 4 bits that a
/// table has bytes for are stored like others and multiplied like bytes; those that were unpacked
/// are multiplied as what they came from.
constexpr int32_t tabled = 3, unpacked_nibbles = 0, unpacked_bytes = 1;
/// Sums of products with both bytes of wide codes stay apart, and are exact.
constexpr bool has_small_codes(int32_t bits) {
  return bits == 4 || bits == 2 || bits == unpacked_nibbles;
}
/// Bits of the planes of codes.
constexpr int32_t low_plane(int32_t bits) { return bits == 5 || bits == 6 ? 4 : bits; }
constexpr int32_t high_plane(int32_t bits) { return bits - low_plane(bits); }

/// 64 bytes, which lie within a vector, in the lower half of one.
inline HVX_Vector piece(const uint8_t *from) {
  const auto address = reinterpret_cast<uintptr_t>(from);
  return Q6_V_vror_VR(aligned(reinterpret_cast<const void *>(address & ~uintptr_t{127})),
                      static_cast<int32_t>(address));
}

/// The codes of a group of two blocks, step by step. `by_group`: a group of weights is one of
/// activations; else it has `ratio` of them.
template <int32_t bits, int32_t steps, bool by_group> struct Group {
  HVX_Vector codes[steps];

  [[gnu::always_inline]] Group(const Pair &pair, int32_t group, int32_t ratio) {
    const uint8_t *a = pair.a, *b = pair.b;
    if constexpr (bits == unpacked_nibbles || bits == unpacked_bytes) {
#pragma unroll
      for (int32_t step = 0; step < steps; ++step)
        codes[step] = pair.bytes[group * steps + step];
    } else if constexpr (bits == 8) {
      const int32_t at = group * steps * step_bytes;
#pragma unroll
      for (int32_t i = 0; i < steps; i += 2)
        set(codes + i, aligned(a + at + i * step_bytes), aligned(b + at + i * step_bytes));
    } else if constexpr ((bits == 4 || bits == tabled) && by_group) {
      const int32_t at = group * (steps / 2) * step_bytes;
      const HVX_Vector low = Q6_Vb_vsplat_R(15);
#pragma unroll
      for (int32_t i = 0; i < steps / 2; i += 2) {
        set(codes + i, aligned(a + at + i * step_bytes), aligned(b + at + i * step_bytes));
        for (int32_t step = i; step < i + 2; ++step) {
          codes[step + steps / 2] = Q6_Vub_vlsr_VubR(codes[step], 4);
          codes[step] = Q6_V_vand_VV(codes[step], low);
        }
      }
      if constexpr (bits == tabled)
#pragma unroll
        for (int32_t step = 0; step < steps; ++step)
          codes[step] = Q6_Vb_vlut32_VbVbR(codes[step], pair.table, 0);
    } else if constexpr (by_group) {
      const int32_t at = group * bits * steps / 8 * step_bytes;
      plane<low_plane(bits), 0>(a + at, b + at);
      if constexpr (high_plane(bits)) {
        constexpr int32_t behind = low_plane(bits) * steps / 8 * step_bytes;
        plane<high_plane(bits), low_plane(bits)>(a + at + behind, b + at + behind);
      }
    } else {
      const int32_t all = ratio * steps, first = group % ratio * steps,
                    at = group / ratio * bits * all / 8 * step_bytes;
      part<low_plane(bits), 0>(a + at, b + at, all, first);
      if constexpr (high_plane(bits)) {
        const int32_t behind = low_plane(bits) * all / 8 * step_bytes;
        part<high_plane(bits), low_plane(bits)>(a + at + behind, b + at + behind, all, first);
      }
    }
  }

private:
  /// Two steps of both blocks.
  static void set(HVX_Vector *to, HVX_Vector a, HVX_Vector b) {
    const HVX_VectorPair both = Q6_W_vshuff_VVR(b, a, 64);
    to[0] = Q6_V_lo_W(both);
    to[1] = Q6_V_hi_W(both);
  }
  /// Bits of bytes from `from` on, as those of codes from `to` on.
  template <int32_t count, int32_t to> void add(int32_t step, HVX_Vector bytes, int32_t from) {
    const HVX_Vector moved = to == 0 || from > to ? Q6_Vub_vlsr_VubR(bytes, from - to)
                                                  : Q6_Vh_vasl_VhR(bytes, to - from),
                     own = Q6_V_vand_VV(moved, Q6_Vb_vsplat_R(((1 << count) - 1) << to));
    codes[step] = to ? Q6_V_vor_VV(codes[step], own) : own;
  }
  /// A plane of `count` bits of the whole group, which are those from `to` on.
  template <int32_t count, int32_t to> void plane(const uint8_t *a, const uint8_t *b) {
    constexpr int32_t period = count * steps / 8;
    HVX_Vector bytes[period];
    if constexpr (period == 1)
      bytes[0] = Q6_V_lo_W(Q6_W_vshuff_VVR(piece(b), piece(a), 64));
    else
#pragma unroll
      for (int32_t i = 0; i < period; i += 2)
        set(bytes + i, raw(load(a + i * step_bytes)), raw(load(b + i * step_bytes)));
#pragma unroll
    for (int32_t step = 0; step < steps; ++step)
      add<count, to>(step, bytes[step % period], step / period * count);
  }
  /// The same of the steps from `first` on of a group that has `all`.
  template <int32_t count, int32_t to>
  void part(const uint8_t *a, const uint8_t *b, int32_t all, int32_t first) {
    const int32_t period = count * all / 8;
#pragma unroll
    for (int32_t step = 0; step < steps; step += count == 4 ? 2 : 1) {
      const int32_t at = (first + step) % period * step_bytes,
                    from = (first + step) / period * count;
      if constexpr (count == 4) { // whose steps come by twos
        HVX_Vector bytes[2];
        set(bytes, raw(load(a + at)), raw(load(b + at)));
        add<count, to>(step, bytes[0], from);
        add<count, to>(step + 1, bytes[1], from);
      } else {
        add<count, to>(step, Q6_V_lo_W(Q6_W_vshuff_VVR(piece(b + at), piece(a + at), 64)), from);
      }
    }
  }
};

/// All codes of a pair of `groups` groups of activations, as bytes.
template <int32_t bits, int32_t steps, bool by_group>
[[gnu::noinline]] void unpack(const Pair &pair, int32_t groups, int32_t ratio, HVX_Vector *to) {
  for (int32_t i = 0; i < groups; ++i, to += steps) {
    const Group<bits, steps, by_group> group(pair, i, ratio);
#pragma unroll
    for (int32_t step = 0; step < steps; ++step)
      to[step] = group.codes[step];
  }
}

/// Calls `run<bits, steps, by_group>()` with what a layer's codes are.
template <typename Run> inline void for_codes(const LinearShape &shape, Run run) {
  auto of_bits = [&]<int32_t bits, int32_t steps>() {
    shape.ratio == 1 ? run.template operator()<bits, steps, true>()
                     : run.template operator()<bits, steps, false>();
  };
  auto of_steps = [&]<int32_t bits>() {
    shape.group == 32 ? of_bits.template operator()<bits, 8>()
                      : of_bits.template operator()<bits, 4>();
  };
  if (shape.has_table)
    run.template operator()<tabled, 8, true>();
  else if (shape.code_bits == 8) // all groups lie alike
    shape.group == 32 ? run.template operator()<8, 8, true>()
                      : run.template operator()<8, 4, true>();
  else if (shape.code_bits == 4)
    of_steps.template operator()<4>();
  else if (shape.code_bits == 2)
    of_steps.template operator()<2>();
  else if (shape.code_bits == 5) // groups are of 32 at least
    of_bits.template operator()<5, 8>();
  else
    of_steps.template operator()<6>();
}

} // namespace ingot::hexagon
