// Norms and quantization in HVX: a group of columns is a vector. What there is one of for each
// group (its largest number, scale, sum of codes) is computed for 32 groups at once, a lane for
// each.
#include "targets/hexagon/runtime/rows.h"

#include "targets/hexagon/runtime/vectors.h"

namespace ingot::hexagon {

namespace {

constexpr int32_t lanes = 32, together = 4;

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

/// 1 / sqrt(mean of squares + eps).
Numbers inverse_rms(const QuantizeShape &shape, const float *x) {
  Words most = splat(0);
  int32_t vectors = 0, shift = 1;
  for (int32_t i = 0; i < shape.width; i += lanes, ++vectors)
    most = larger(most, load_lanes(x + i, shape.width - i) & INT32_MAX);
  const int32_t top = first_lane(largest_lane(most)) >> 23;
  while (vectors >> shift)
    ++shift;
  Words squares = splat(0);
  for (int32_t i = 0; i < shape.width; i += lanes) {
    const Words some = fixed_magnitudes(load_lanes(x + i, shape.width - i), splat(top));
    squares += (product(some, some) + (1 << (shift - 1))) >> splat(shift);
  }
  const int64_t total = (int64_t{first_lane(sum_of_lanes(squares >> 16))} << 16) +
                        first_lane(sum_of_lanes(squares & 0xffff));
  const int32_t exponent = 2 * (top - 127 - 30) + 31 + shift; // of a square
  const float mean = static_cast<float>(total) * power_of_two(exponent) * shape.inverse_width;
  const float inverse = inverse_root(mean + shape.eps);
  uint32_t bits;
  __builtin_memcpy(&bits, &inverse, sizeof bits);
  return from_floats(splat(static_cast<int32_t>(bits)));
}

/// Two vectors' lanes folded by `combine`, halves, quarters ... of both in turn.
template <typename Combine> Words fold(Words a, Words b, int32_t bytes, Combine combine) {
  const HVX_VectorPair both = Q6_W_vshuff_VVR(raw(b), raw(a), bytes);
  return combine(words(Q6_V_lo_W(both)), words(Q6_V_hi_W(both)));
}

/// Up to 32 groups of a row: codes, scales times `times`, sums.
struct Batch {
  const QuantizeShape &shape;
  const float *x;
  int32_t count;

  Words group(int32_t i) const {
    return i < count ? load_lanes(x + i * shape.group, shape.group) : splat(0);
  }

  void run(const Numbers *times, int8_t *codes, float *scales, int32_t *sums) const {
    Words peaks[lanes];
    for (int32_t i = 0; i < lanes; ++i)
      peaks[i] = group(i) & INT32_MAX; // floats are in order as integers are
    for (int32_t step = lanes / 2; step; step /= 2)
      for (int32_t i = 0; i < step; ++i)
        peaks[i] = fold(peaks[i], peaks[i + step], step * 4, larger);
    const bool wide = shape.planes == 2;
    const Numbers peak = from_floats(peaks[0]);
    const Words normal = peak.mantissa >> 1;                      // 2^28 <= normal < 2^29, or 0
    const int32_t inverse_limit = wide ? 1073774594 : 1082196484; // 2^45 / 32767, 2^37 / 127
    Numbers exact{product(normal, splat(inverse_limit)), peak.exponent + (wide ? -13 : -5)};
    if (times)
      exact = product(normalized(exact), *times);
    const Words scale = to_floats(exact), least = splat(0x0da24260); // 1e-30
    const Words kept = where_greater(scale, least, scale, splat(0));
    // 2^58 / normal times the limit, a number below 1; 14 bits of a code are then behind the point.
    const Words ratio = product(reciprocal(normal), splat(INT32_MAX - (wide ? 0xffff : 0xffffff)));
    const Words factor = where_greater(scale, least, wide ? ratio : ratio >> 8, splat(0));
    int32_t factors[lanes] __attribute__((aligned(128))), tops[lanes] __attribute__((aligned(128)));
    store(factors, factor);
    store(tops, peaks[0] >> 23);
    store_lanes(scales, kept, count);

    for (int32_t first = 0; first < count; first += together) {
      Words products[together];
#pragma unroll
      for (int32_t i = 0; i < together; ++i) {
        products[i] =
            product(fixed(group(first + i), splat(tops[first + i])), splat(factors[first + i]));
      }
      const HVX_Vector low_groups = Q6_Vh_vdeal_Vh(
                           Q6_Vh_vasr_VwVwR_rnd_sat(raw(products[1]), raw(products[0]), 14)),
                       high_groups = Q6_Vh_vdeal_Vh(
                           Q6_Vh_vasr_VwVwR_rnd_sat(raw(products[3]), raw(products[2]), 14));
      write(first, high_groups, low_groups, codes + first * shape.group * shape.planes,
            sums + first);
    }
  }

private:
  /// Codes of four groups, two in each vector of halves.
  void write(int32_t first, HVX_Vector second, HVX_Vector halves, int8_t *codes,
             int32_t *sums) const {
    const bool wide = shape.planes == 2;
    const HVX_Vector low = Q6_Vb_vpacke_VhVh(second, halves), ones = Q6_Vb_vsplat_R(1);
    HVX_Vector high = low;
    Words sum = words(Q6_Vw_vrmpy_VbVb(low, ones));
    if (wide) {
      high = Q6_Vb_vpacko_VhVh(second, halves);
      sum = (words(Q6_Vw_vrmpy_VbVb(high, ones)) << 8) + words(Q6_Vw_vrmpy_VubVb(low, ones));
    }
    for (int32_t step = 16; step >= 4; step /= 2)
      sum = fold(sum, sum, step, [](Words a, Words b) { return a + b; });
    if (count - first >= together && shape.group == lanes) {
      const HVX_VectorPair beside = Q6_W_vshuff_VVR(low, high, -lanes);
      if (wide) {
        store(codes, words(Q6_V_lo_W(beside)));
        store(codes + 128, words(Q6_V_hi_W(beside)));
      } else {
        store(codes, words(low));
      }
    } else {
      for (int32_t i = 0; i < together && first + i < count; ++i) {
        int8_t *own = codes + i * shape.group * shape.planes;
        store_lanes(own, words(Q6_V_vror_VR(high, i * lanes)), shape.group / 4);
        if (wide)
          store_lanes(own + shape.group, words(Q6_V_vror_VR(low, i * lanes)), shape.group / 4);
      }
    }
    int32_t of_lanes[lanes] __attribute__((aligned(128)));
    store(of_lanes, sum);
    for (int32_t i = 0; i < together && first + i < count; ++i)
      sums[i] = of_lanes[i * (lanes / together)];
  }
};

/// `scratch`: a row.
void quantize_row(const QuantizeShape &shape, const float *x, const float *gain, float *scratch,
                  int8_t *codes, float *scales, int32_t *sums) {
  const int32_t groups = shape.width / shape.group;
  Numbers inverse;
  if (gain) {
    inverse = inverse_rms(shape, x);
    for (int32_t i = 0; i < shape.width; i += lanes) {
      const int32_t some = shape.width - i;
      store(scratch + i, to_floats(product(from_floats(load_lanes(x + i, some)),
                                           from_floats(load_lanes(gain + i, some)))));
    }
    x = scratch;
  }
  for (int32_t at = 0; at < groups; at += lanes)
    Batch{shape, x + at * shape.group, groups - at < lanes ? groups - at : lanes}.run(
        gain ? &inverse : nullptr, codes + at * shape.group * shape.planes, scales + at, sums + at);
}

} // namespace

extern "C" void ingot_hexagon_quantize(const QuantizeShape *shape, const float *x,
                                       const float *gain, int8_t *codes, float *scales,
                                       int32_t *sums, int32_t first, int32_t count) {
  const int32_t groups = shape->width / shape->group;
  auto *scratch = static_cast<float *>(
      __builtin_alloca_with_align(gain ? (shape->width + lanes) * 4 : 4, 8 * sizeof(HVX_Vector)));
  for (int32_t i = 0; i < count; ++i)
    quantize_row(*shape, x + (first + i) * shape->stride, gain, scratch,
                 codes + i * shape->width * shape->planes, scales + i * groups, sums + i * groups);
}

} // namespace ingot::hexagon
