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
//
// A step of many tokens reads each row again and again: it unpacks the codes of two blocks to bytes
// first, and fixes their scales, into near memory where there is some, for as many blocks as fit;
// what vectors read is there then. Activations are read by scalars, which are slow to get there and
// have a cache, and weights of one token once: both stay where they are.
#include "targets/hexagon/runtime/linear.h"

#include "targets/hexagon/runtime/gate.h"
#include "targets/hexagon/runtime/tiles.h"

namespace ingot::hexagon {

namespace {

/// The blocks of two slices: a pair, or of gates, two.
struct Unit {
  Pair pairs[2];
};

struct Layer {
  const LinearShape &shape;
  const LinearBuffers &buffers;
  const Token *tokens;
  int32_t begin, extent;
  HVX_Vector table; ///< Pair::table
  RunTile run;

  int32_t pairs() const { return (shape.groups + 1) / 2; }
  bool gated() const { return shape.after == after_silu_mul; }
  int32_t scale_vectors() const { return pairs() * (shape.has_mins ? 2 : 1); }
  int32_t code_vectors() const { return shape.columns / code_step; }
  int32_t block_bytes() const { return shape.columns * rows * shape.code_bits / 8; }

  /// Asks for the codes of `units` units from the one of slice `slice` on: memory is far, and
  /// nothing else does.
  void fetch(int32_t slice, int32_t units) const {
    constexpr int32_t line = 128;
    const int32_t per_slice = gated() ? 2 : 1, first = (begin + slice) * per_slice,
                  left = shape.blocks - first, most = units * 2 * per_slice,
                  blocks = left < most ? left : most;
    if (blocks <= 0)
      return;
    const int64_t all = int64_t{blocks} * block_bytes() / line,
                  lines = all < UINT16_MAX ? all : UINT16_MAX;
    Q6_l2fetch_AP(const_cast<uint8_t *>(buffers.codes) +
                      static_cast<uint32_t>(first) * static_cast<uint32_t>(block_bytes()),
                  int64_t{line} << 32 | line << 16 | lines);
  }

  /// `scales`: room for those of a pair.
  Pair pair(int32_t a, int32_t b, HVX_Vector *scales) const {
    auto codes = [&](int32_t block) {
      return buffers.codes + static_cast<uint32_t>(block) * static_cast<uint32_t>(block_bytes());
    };
    Pair made{codes(a), codes(b), nullptr, {}, {}, table};
    made.scales = scales_of(buffers.scales, 0, a, b, scales);
    if (shape.has_mins)
      made.mins = scales_of(buffers.mins, 1, a, b, scales + pairs());
    return made;
  }
  /// `number`: 0 scales, 1 minima. (A division is a hundred packets.)
  Scales scales_of(const void *from, int32_t number, int32_t a, int32_t b, HVX_Vector *to) const {
    const int32_t groups = shape.groups, ratio = shape.ratio,
                  weight_groups = ratio == 1 ? groups : groups / ratio;
    auto place = [](const void *start, int32_t block, int32_t bytes) {
      return static_cast<const uint8_t *>(start) +
             static_cast<uint32_t>(block) * static_cast<uint32_t>(bytes);
    };
    const int32_t bytes = weight_groups * rows * shape.scale_bytes;
    Scales made;
    if (shape.super_groups) {
      const int32_t numbers = shape.has_mins ? 2 : 1, half_bytes = rows * 2,
                    super_bytes = shape.supers * numbers * half_bytes;
      made = fix_two_levels(place(from, a, bytes), place(from, b, bytes),
                            place(buffers.supers, a, super_bytes) + number * half_bytes,
                            place(buffers.supers, b, super_bytes) + number * half_bytes,
                            numbers * half_bytes, weight_groups, shape.super_groups, to);
    } else {
      made = fix_scales(place(from, a, bytes), place(from, b, bytes), weight_groups,
                        shape.scale_bytes, to);
    }
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
  /// Of two slices, or where there is no other, one twice. `scales`: room for those of its pairs.
  void make(Unit &unit, int32_t slice, HVX_Vector *scales) const {
    const int32_t a = begin + slice, b = slice + 1 < extent ? a + 1 : a;
    if (gated()) {
      unit.pairs[0] = pair(2 * a, 2 * a + 1, scales);
      unit.pairs[1] = pair(2 * b, 2 * b + 1, scales + scale_vectors());
    } else {
      unit.pairs[0] = pair(a, b, scales);
    }
  }

  /// A tile's rows of a unit, from token `t` on.
  template <int32_t tile> void rows_of(const Unit &unit, int32_t slice, int32_t t) const {
    const int32_t lanes = slice + 1 < extent ? 2 * rows : rows;
    auto out = [&](int32_t token) { return buffers.out + slice * rows + token * shape.out_width; };
    if (!gated())
      return run(shape, unit.pairs[0], tokens + t,
                 {nullptr, out(t),
                  shape.after == after_add
                      ? buffers.added + (begin + slice) * rows + t * shape.out_width
                      : nullptr,
                  shape.out_width, lanes});
    // Values of a tile wait for each other's products where they are not side by side.
    Numbers of_first[tile], of_second[tile];
    run(shape, unit.pairs[0], tokens + t, {of_first, nullptr, nullptr, 0, 0});
    run(shape, unit.pairs[1], tokens + t, {of_second, nullptr, nullptr, 0, 0});
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
      store_lanes(out(t + i), values[i], lanes);
  }

  void one_token() const {
    Unit unit;
    auto *scales = static_cast<HVX_Vector *>(__builtin_alloca_with_align(
        2 * scale_vectors() * sizeof(HVX_Vector), 8 * sizeof(HVX_Vector)));
    for (int32_t slice = 0; slice < extent; slice += 2) {
      make(unit, slice, scales);
      fetch(slice + 2, 1);
      rows_of<1>(unit, slice, 0);
    }
  }

  /// `panel`: room for `most` units.
  void many_tokens(int32_t count, int32_t near_tokens, HVX_Vector *panel, int32_t most) const {
    auto *units = static_cast<Unit *>(
        __builtin_alloca_with_align(most * sizeof(Unit), 8 * sizeof(HVX_Vector)));
    const int32_t pair_count = gated() ? 2 : 1;
    for (int32_t first = 0; first < count; first += near_tokens) {
      const int32_t last = count - first < near_tokens ? count : first + near_tokens;
      for (int32_t slice = 0; slice < extent; slice += 2 * most) {
        const int32_t left = (extent - slice + 1) / 2, taken = left < most ? left : most;
        HVX_Vector *at = panel;
        for (int32_t i = 0; i < taken; ++i) {
          make(units[i], slice + 2 * i, at);
          at += pair_count * scale_vectors();
          for (int32_t j = 0; j < pair_count; ++j, at += code_vectors()) {
            for_codes(shape, [&]<int32_t bits, int32_t steps, bool by_group>() {
              unpack<bits, steps, by_group>(units[i].pairs[j], shape.groups, shape.ratio, at);
            });
            units[i].pairs[j].bytes = at;
          }
        }
        fetch(slice + 2 * taken, taken);
        for (int32_t t = first; t < last; t += token_tile)
          for (int32_t i = 0; i < taken; ++i)
            rows_of<token_tile>(units[i], slice + 2 * i, t);
      }
    }
  }
};

/// One token reads codes as they are stored, a tile of them, what was unpacked.
RunTile run_of(const LinearShape &shape) {
  if (shape.one_token) {
    RunTile run = nullptr;
    for_codes(shape, [&]<int32_t bits, int32_t steps, bool by_group>() {
      run = tile_of<bits, steps, 1, by_group>(shape);
    });
    return run;
  }
  const bool small = shape.code_bits <= 4 && !shape.has_table;
  if (shape.group == 32)
    return small ? tile_of<unpacked_nibbles, 8, token_tile, true>(shape)
                 : tile_of<unpacked_bytes, 8, token_tile, true>(shape);
  return small ? tile_of<unpacked_nibbles, 4, token_tile, true>(shape)
               : tile_of<unpacked_bytes, 4, token_tile, true>(shape);
}

} // namespace

extern "C" void ingot_hexagon_linear(const LinearShape *shape, const LinearBuffers *buffers,
                                     int32_t begin, int32_t extent, int32_t tokens) {
  const int32_t groups = shape->groups, pairs = (groups + 1) / 2;
  const int32_t count = shape->one_token ? 1 : rounded_up(tokens, token_tile);
  // On the stack of a step, which has room for it.
  constexpr uint32_t vector_bits = 8 * sizeof(HVX_Vector);
  const TokenMemory memory{
      static_cast<Token *>(__builtin_alloca(count * sizeof(Token))),
      static_cast<Factors *>(__builtin_alloca((count * 2 * pairs + 16) * sizeof(Factors))),
      static_cast<int32_t *>(__builtin_alloca((count * groups + 32) * sizeof(int32_t))),
      static_cast<Words *>(
          __builtin_alloca_with_align((groups + 31) / 32 * sizeof(Words), vector_bits))};
  make_tokens(*shape, *buffers, count, memory);
  alignas(128) uint8_t table[128] = {};
  if (shape->has_table)
    for (int32_t i = 0; i < 16; ++i)
      table[2 * i] = reinterpret_cast<const uint8_t *>(shape->table)[i];
  const Layer layer{*shape, *buffers, memory.tokens, begin, extent, aligned(table), run_of(*shape)};
  if (shape->one_token)
    return layer.one_token();
  const int32_t unit_vectors =
      (layer.gated() ? 2 : 1) * (layer.code_vectors() + layer.scale_vectors());
  const auto room = static_cast<int32_t>(buffers->near_bytes / sizeof(HVX_Vector)) / unit_vectors;
  if (room)
    return layer.many_tokens(count, shape->near_tokens[1], static_cast<HVX_Vector *>(buffers->near),
                             room < shape->panel_units ? room : shape->panel_units);
  layer.many_tokens(count, shape->near_tokens[0],
                    static_cast<HVX_Vector *>(__builtin_alloca_with_align(
                        unit_vectors * sizeof(HVX_Vector), vector_bits)),
                    1);
}

} // namespace ingot::hexagon
