// Attention over a cache of 16-bit codes.
#pragma once

#include "targets/hexagon/runtime/heads.h"

namespace ingot::hexagon {

/// Weights of a span of positions are codes of one scale, the largest of which is this.
constexpr int32_t weight_span = 64, weight_limit = 16383;

struct AttentionShape {
  HeadShape query;
  int32_t heads, kv_heads;
  int32_t positions; ///< of the cache
  int32_t out_width; ///< floats from a token to the next
  float scale;       ///< of scores, times log2(e)
};

/// Heads [begin, begin + extent), all that share keys and values, of `tokens` tokens, the first of
/// which is at `position`. `out` starts at head `begin`.
extern "C" void ingot_hexagon_attention(const AttentionShape *shape, const float *query,
                                        const float *angles, const CacheBuffers *cache, float *out,
                                        int32_t begin, int32_t extent, int32_t tokens,
                                        int32_t position);

} // namespace ingot::hexagon
