// Linear layers of integer codes. What the compiler says of one (targets/hexagon/Kernels.cpp).
#pragma once

#include <stdint.h>

namespace ingot::hexagon {

constexpr int32_t token_tile = 4; ///< tokens whose sums are in registers

/// Blocks of 16 rows in codes as PackedLayout has them; activations in codes by groups
/// (QuantizeShape).
struct LinearShape {
  int32_t columns;
  int32_t blocks;    ///< of the matrix
  int32_t group;     ///< of activations: 16 or 32
  int32_t groups;    ///< of those in a row
  int32_t ratio;     ///< groups of activations in a group of weights
  int32_t planes;    ///< bytes of an activation's code
  int32_t code_bits; ///< 2, 4, 5, 6 or 8 in memory
  int32_t min_code;
  int32_t most; ///< magnitude of a code, min_code added
  int32_t has_mins;
  int32_t scale_bytes; ///< f32 4, f16 2, exponents 1 (e8m0)
  /// Of scales of two levels, which are bytes: groups of weights that share a half, and how many
  /// halves a row has. 0: there are none.
  int32_t super_groups, supers;
  int32_t one_token;
  int32_t panel_units; ///< most pairs of slices that are unpacked into near memory at once
  /// Whole tiles, whose codes the second-level cache keeps beside what else is there: without near
  /// memory, and with it.
  int32_t near_tokens[2];
  int32_t after;     ///< LinearAfter
  int32_t out_width; ///< floats from a token to the next
  /// Of codes that a table has the numbers for: 16 bytes, min_code less. Activations then have
  /// groups of 32, as weights do.
  int32_t has_table, table[4];
};

enum LinearAfter : int32_t {
  after_nothing,
  after_add,      ///< rows are added
  after_silu_mul, ///< blocks of gates and of what they are for alternate
};

/// Codes, scales and sums of activations; codes, scales and, where there are any, minima of the
/// matrix, and halves of super-blocks behind them; rows to be added. `out` starts at slice `begin`.
struct LinearBuffers {
  const int8_t *x;
  const float *x_scales;
  const int32_t *x_sums;
  const uint8_t *codes;
  const void *scales, *mins, *supers;
  const float *added;
  float *out;
  /// Memory that vectors come from faster than from caches, of whole vectors; null: none.
  void *near;
  uint32_t near_bytes;
};

extern "C" void ingot_hexagon_linear(const LinearShape *shape, const LinearBuffers *buffers,
                                     int32_t begin, int32_t extent, int32_t tokens);

} // namespace ingot::hexagon
