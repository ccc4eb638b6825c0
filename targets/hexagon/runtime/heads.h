// Heads of rows: angles of their rotation, and their codes of 16 bits on the way into a cache.
#pragma once

#include <stdint.h>

namespace ingot::hexagon {

constexpr int32_t most_head_dim = 512;

/// Where heads lie in rows of floats, and how they rotate.
struct HeadShape {
  int32_t head_dim; ///< a multiple of 4
  int32_t offset;   ///< column of the first head
  int32_t stride;   ///< floats from a row to the next
  int32_t rotates, interleaved;
  int32_t limit; ///< largest code
};

struct AppendShape {
  HeadShape keys, values;
  int32_t kv_heads, positions; ///< of the cache
};

/// Memory of a cache of codes (KernelValue).
struct CacheBuffers {
  int16_t *keys, *values;
  float *key_scales, *value_scales;
};

extern "C" {

/// cos and sin of position * frequency for `pairs` frequencies, which are turns of 2^-64 a
/// position, for `count` tokens.
void ingot_hexagon_angles(const uint64_t *turns, int32_t pairs, float *out, int32_t position,
                          int32_t count);

/// Keys and values of `count` tokens from `first` on, the first of all at `position`.
void ingot_hexagon_append(const AppendShape *shape, const float *keys, const float *values,
                          const float *angles, const CacheBuffers *cache, int32_t position,
                          int32_t first, int32_t count);

} // extern "C"

#ifdef __hexagon__
/// Rows of floats and angles of a token.
struct HeadRow {
  const float *row, *angles;
  int32_t head;
};
constexpr int32_t most_heads = 16; ///< coded together
/// Codes of a head take whole vectors.
constexpr int32_t code_stride(int32_t head_dim) { return (head_dim + 63) / 64 * 64; }
/// Some heads: head_dim codes of each, columns in order, code_stride() apart, and the bits of each
/// scale.
void head_codes(const HeadShape &shape, const HeadRow *heads, int32_t count, int16_t *codes,
                int32_t *scales);
#endif

} // namespace ingot::hexagon
