#include "dialects/lm/TableRounding.h"

#include "dialects/lm/StoredFloat.h"

#include "llvm/ADT/STLExtras.h"

#include <algorithm>
#include <cmath>

namespace ingot {

/// A group rounded to the numbers of a table times a scale.
struct TableRounding::Rounded {
  float scale = 0;
  float error = 0;                 ///< of all squares
  float products = 0, squares = 0; ///< of numbers by elements, of numbers
  std::array<float, table_group> numbers{};
};

TableRounding::TableRounding(const Encoding &encoding)
    : encoding(encoding), power(encoding.scale.type == CodeKind::e8m0) {
  const llvm::ArrayRef<int8_t> values = encoding.values();
  numbers.assign(values.begin(), values.end());
  llvm::sort(numbers);
  numbers.erase(llvm::unique(numbers), numbers.end());
  for (size_t rank = 0; rank + 1 < numbers.size(); ++rank) {
    middles.push_back((numbers[rank] + numbers[rank + 1]) / 2);
    gaps.push_back(numbers[rank + 1] - numbers[rank]);
  }
}

void TableRounding::round(const float *x, uint8_t *out, uint8_t *stored) const {
  // The largest number times the scale must not become infinite.
  const float limit = power ? 0x1p125f : 65504.0f * float(encoding.maxCode());
  std::array<float, table_group> finite{};
  float peak = 0;
  for (int i = 0; i < table_group; ++i) {
    finite[i] = std::isfinite(x[i]) ? std::clamp(x[i], -limit, limit) : 0;
    if (std::fabs(finite[i]) > std::fabs(peak))
      peak = finite[i];
  }
  // Then their squares are floats.
  const float unit = peak != 0 ? std::ldexp(1.0f, std::clamp(std::ilogb(peak), -126, 126)) : 1,
              by_unit = 1 / unit;
  Rounded best = with(finite, 0, by_unit);
  auto take = [&](const Rounded &other) {
    if (other.error < best.error)
      best = other;
  };
  constexpr int steps = 4; // up and down
  const float step = power ? 0.6f / steps : 0.1f / steps;
  for (const float outer : {numbers.front(), numbers.back()})
    for (int i = -steps; peak != 0 && i <= steps; ++i) {
      const float wanted = peak / outer * (1 + float(i) * step);
      if (power && wanted < 0)
        continue; // its table is symmetric
      const Rounded first = with(finite, wanted, by_unit);
      take(first);
      if (!power && first.squares > 0)
        take(with(finite, first.products / first.squares * unit, by_unit));
    }
  storeFloat(encoding.scale.type, out, best.scale);
  for (int i = 0; i < table_group; ++i)
    stored[i] = encoding.storedCode(int(best.numbers[i]));
}

TableRounding::Rounded TableRounding::with(const std::array<float, table_group> &x, float wanted,
                                           float by_unit) const {
  Rounded rounded;
  uint8_t bytes[4];
  rounded.scale = storeFloat(encoding.scale.type, bytes, wanted);
  const float inverse = rounded.scale != 0 ? std::clamp(1 / rounded.scale, -0x1p127f, 0x1p127f) : 0;
  std::array<float, table_group> scaled{};
  for (int i = 0; i < table_group; ++i)
    scaled[i] = x[i] * inverse;
  rounded.numbers.fill(numbers.front());
  for (auto [middle, gap] : llvm::zip(middles, gaps))
    for (int i = 0; i < table_group; ++i)
      rounded.numbers[i] += scaled[i] > middle ? gap : 0;
  constexpr int lanes = 8; // of sums side by side
  std::array<float, lanes> error{}, products{}, squares{};
  for (int i = 0; i < table_group; i += lanes)
    for (int lane = 0; lane < lanes; ++lane) {
      const float number = rounded.numbers[i + lane], own = x[i + lane] * by_unit,
                  off = own - number * (rounded.scale * by_unit);
      error[lane] += off * off;
      products[lane] += number * own;
      squares[lane] += number * number;
    }
  for (int lane = 0; lane < lanes; ++lane) {
    rounded.error += error[lane];
    rounded.products += products[lane];
    rounded.squares += squares[lane];
  }
  return rounded;
}

} // namespace ingot
