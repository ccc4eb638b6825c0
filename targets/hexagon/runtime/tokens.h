// Activations of a linear layer's tokens, ready to be multiplied with scales in fixed point.
#pragma once

#include "targets/hexagon/runtime/linear.h"
#include "targets/hexagon/runtime/vectors.h"

namespace ingot::hexagon {

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

/// What tokens are kept in: vectors are written whole, so there is more of it than is read.
struct TokenMemory {
  Token *tokens;    ///< [count]
  Factors *factors; ///< [count * 2 * pairs + 16]
  int32_t *starts;  ///< [count * groups + 32]
  Words *vectors;   ///< [(groups + 31) / 32]
};

void make_tokens(const LinearShape &shape, const LinearBuffers &buffers, int32_t count,
                 const TokenMemory &memory);

} // namespace ingot::hexagon
