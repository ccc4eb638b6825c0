// Norms and quantization in HVX: a group of 32 columns is a vector, four groups go together.
#include "targets/hexagon/runtime/rows.h"

#include "targets/hexagon/runtime/vectors.h"

namespace ingot::hexagon {

namespace {

constexpr int32_t together = 4;

/// 1 / sqrt(value) within an ulp or two, by Newton's method; value > 0.
float inverse_root(float value) {
  uint32_t bits;
  __builtin_memcpy(&bits, &value, sizeof bits);
  bits = 0x5f375a86 - (bits >> 1);
  float root;
  __builtin_memcpy(&root, &bits, sizeof root);
  for (int32_t i = 0; i < 4; ++i)
    root = root * (1.5f - 0.5f * value * root * root);
  return root;
}

float power_of_two(int32_t exponent) {
  exponent = exponent < -126 ? -126 : exponent > 127 ? 127 : exponent;
  const uint32_t bits = static_cast<uint32_t>(exponent + 127) << 23;
  float power;
  __builtin_memcpy(&power, &bits, sizeof power);
  return power;
}

Words exponents_of(Numbers a) {
  const Words magnitude = words(Q6_Vw_vabs_Vw(raw(a.mantissa)));
  return where_greater(magnitude, splat(0), a.exponent, splat(-1000));
}

/// 1 / sqrt(mean of squares + eps).
Numbers inverse_rms(const QuantizeShape &shape, const float *x) {
  Words most = splat(-1000);
  int32_t vectors = 0, shift = 0;
  for (int32_t i = 0; i < shape.width; i += 32, ++vectors)
    most = larger(most, exponents_of(from_floats(load_lanes(x + i, shape.width - i))));
  const Words top = largest_lane(most);
  while (vectors >> shift)
    ++shift;
  Words squares = splat(0);
  for (int32_t i = 0; i < shape.width; i += 32) {
    const Numbers some = from_floats(load_lanes(x + i, shape.width - i));
    const Words fixed = shifted_right(some.mantissa, smaller(top - some.exponent, splat(31)));
    squares += (product(fixed, fixed) + (1 << (shift - 1))) >> splat(shift);
  }
  int32_t lanes[32] __attribute__((aligned(128)));
  *reinterpret_cast<Words *>(lanes) = squares;
  int64_t total = 0;
  for (const int32_t lane : lanes)
    total += lane;
  // squares: of 2^(2 top + 31 + shift)
  const int32_t exponent = 2 * first_lane(top) + 31 + shift;
  const float mean = static_cast<float>(total) * power_of_two(exponent) * shape.inverse_width;
  const float inverse = inverse_root(mean + shape.eps);
  uint32_t bits;
  __builtin_memcpy(&bits, &inverse, sizeof bits);
  return from_floats(splat(static_cast<int32_t>(bits)));
}

/// The largest lane of each of four vectors: in lanes 8 i to 8 i + 7 that of vector i.
Words largest_of_four(const Words *from) {
  auto fold = [](Words a, Words b, int32_t bytes) {
    const HVX_VectorPair both = Q6_W_vshuff_VVR(raw(b), raw(a), bytes);
    return larger(words(Q6_V_lo_W(both)), words(Q6_V_hi_W(both)));
  };
  const Words even = fold(from[0], from[2], 64), odd = fold(from[1], from[3], 64);
  Words all = fold(even, odd, 32);
  for (int32_t bytes = 16; bytes >= 4; bytes /= 2)
    all = fold(all, all, bytes);
  return all;
}

/// Lane 8 i in all lanes.
Words spread(Words from, int32_t i) {
  return words(Q6_V_vsplat_R(Q6_R_vextract_VR(raw(from), i * 32)));
}

/// The first `count` of four groups, which are in the first lanes of a vector each.
void quantize_four(const QuantizeShape &shape, const Numbers *values, int32_t count, int8_t *codes,
                   float *scales, int32_t *sums) {
  const int32_t group = shape.group;
  const bool wide = shape.planes == 2;
  Words exponents[together], fixed[together], magnitudes[together];
  for (int32_t i = 0; i < together; ++i)
    exponents[i] = exponents_of(values[i]);
  const Words top = largest_of_four(exponents);
  for (int32_t i = 0; i < together; ++i) {
    fixed[i] =
        shifted_right(values[i].mantissa, smaller(spread(top, i) - values[i].exponent, splat(31)));
    magnitudes[i] = words(Q6_Vw_vabs_Vw(raw(fixed[i])));
  }
  const Words peak = largest_of_four(magnitudes);
  const Words by = words(Q6_Vw_vnormamt_Vw(raw(peak)));
  const Words normal = shifted_left(peak, by) >> 2; // 2^28 <= normal < 2^29, or 0
  // 2^37 / 127, 2^45 / 32767
  const int32_t inverse_limit = wide ? 1073774593 : 1082196484, limit_bits = wide ? 15 : 7;
  const Words scale =
      to_floats({product(normal, splat(inverse_limit)), top - by + (3 - limit_bits)});
  const Words least = splat(0x0da24260); // 1e-30
  const Words kept = where_greater(scale, least, scale, splat(0)),
              inverse = where_greater(scale, least, reciprocal(normal), splat(0));
  HVX_Vector rounded[together];
  // value / normal with 29 bits behind the point, times the limit with what is left of 23
  const int32_t behind = 23 - limit_bits, limit = ((1 << limit_bits) - 1) << (25 - limit_bits);
  for (int32_t i = 0; i < together; ++i) {
    const Words ratio = product(shifted_left(fixed[i], spread(by, i)), spread(inverse, i));
    rounded[i] = raw((product(ratio, splat(limit)) + (1 << (behind - 1))) >> splat(behind));
  }
  const HVX_Vector first = Q6_Vh_vpacke_VwVw(rounded[1], rounded[0]),
                   second = Q6_Vh_vpacke_VwVw(rounded[3], rounded[2]);
  const HVX_Vector low = Q6_Vb_vpacke_VhVh(second, first), ones = Q6_Vb_vsplat_R(1);
  HVX_Vector high = low;
  Words sum = words(Q6_Vw_vrmpy_VbVb(low, ones));
  if (wide) {
    high = Q6_Vb_vpacko_VhVh(second, first);
    sum = (words(Q6_Vw_vrmpy_VbVb(high, ones)) << 8) + words(Q6_Vw_vrmpy_VubVb(low, ones));
  }
  for (int32_t step = 16; step >= 4; step /= 2) {
    const HVX_VectorPair both = Q6_W_vshuff_VVR(raw(sum), raw(sum), step);
    sum = words(Q6_V_lo_W(both)) + words(Q6_V_hi_W(both));
  }
  const bool whole = count == together && group == 32;
  if (whole && wide) {
    const HVX_VectorPair beside = Q6_W_vshuff_VVR(low, high, -32);
    store(codes, words(Q6_V_lo_W(beside)));
    store(codes + 128, words(Q6_V_hi_W(beside)));
  } else if (whole) {
    store(codes, words(low));
  }
  for (int32_t i = 0; i < count; ++i) {
    if (!whole) {
      int8_t *own = codes + i * group * shape.planes;
      store_lanes(own, words(Q6_V_vror_VR(high, i * 32)), group / 4);
      if (wide)
        store_lanes(own + group, words(Q6_V_vror_VR(low, i * 32)), group / 4);
    }
    const int32_t bits = Q6_R_vextract_VR(raw(kept), i * 32);
    __builtin_memcpy(scales + i, &bits, sizeof bits);
    sums[i] = Q6_R_vextract_VR(raw(sum), i * 32);
  }
}

void quantize_row(const QuantizeShape &shape, const float *x, const float *gain, int8_t *codes,
                  float *scales, int32_t *sums) {
  const int32_t width = shape.width, group = shape.group;
  const Numbers inverse = gain ? inverse_rms(shape, x) : Numbers{splat(0), splat(0)};
  for (int32_t column = 0; column < width; column += together * group) {
    Numbers values[together];
    int32_t count = 0;
    for (int32_t i = 0; i < together; ++i) {
      const int32_t at = column + i * group;
      values[i] = {splat(0), splat(0)};
      if (at >= width)
        continue;
      ++count;
      values[i] = from_floats(load_lanes(x + at, group));
      if (gain)
        values[i] = product(product(values[i], inverse), from_floats(load_lanes(gain + at, group)));
    }
    quantize_four(shape, values, count, codes + column * shape.planes, scales + column / group,
                  sums + column / group);
  }
}

} // namespace

extern "C" void ingot_hexagon_quantize(const QuantizeShape *shape, const float *x,
                                       const float *gain, int8_t *codes, float *scales,
                                       int32_t *sums, int32_t first, int32_t count) {
  const int32_t groups = shape->width / shape->group;
  for (int32_t i = 0; i < count; ++i)
    quantize_row(*shape, x + (first + i) * shape->stride, gain,
                 codes + i * shape->width * shape->planes, scales + i * groups, sums + i * groups);
}

} // namespace ingot::hexagon
