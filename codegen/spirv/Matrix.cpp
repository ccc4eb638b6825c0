// Where a packed matrix has its codes, scales and minima, and what they stand for.
#include "codegen/spirv/Builder.h"

namespace ingot::spirv {

Matrix::Matrix(Code &code, const KernelValue &value, int32_t binding)
    : value(value), code(code), binding(binding) {
  group = value.encoding.isFloat() ? 1 : value.encoding.groupElements(value.width);
  groups = value.width / group;
  if (value.encoding.isFloat())
    return;
  steps = group / value.layout.k_inner;
  int32_t shift = 0;
  for (const int32_t bits : planesOf(value.layout.code_bits)) {
    const int64_t words = steps * bits / 8;
    planes.push_back({bits, shift, group_words, words});
    group_words += words;
    shift += bits;
  }
  turns = planes.back().words;
  steps_of_turn = steps / turns;
  const llvm::ArrayRef<int8_t> values = value.encoding.values();
  if (values.empty())
    return;
  table = code.shared(static_cast<int64_t>(values.size()), false);
  code.share(static_cast<int64_t>(values.size()), [&](Num index) {
    Num chosen;
    for (size_t place = 0; place < values.size(); ++place) {
      Num above = code.i(values[place] - value.encoding.minCode());
      chosen =
          place ? code.select(code.equal(index, code.i(int64_t(place))), above, chosen) : above;
    }
    table.set(index, chosen);
  });
  code.barrier();
}

Num Matrix::numbers(Num word) const {
  if (value.encoding.table == CodeTable::none)
    return word;
  Num all;
  for (int byte = 0; byte < 4; ++byte) {
    Num one = code.shiftLeft(table.get(code.unsignedByte(word, byte)), code.i(8 * byte));
    all = byte ? code.bitOr(all, one) : one;
  }
  return all;
}

Num Matrix::word(Num block, Num row, Num in_group, Num index) const {
  Num at = code.add(code.mul(block, code.i(groups)), in_group);
  at = code.add(code.mul(at, code.i(group_words)), index);
  return code.load(binding, code.add(code.mul(at, code.i(value.layout.rows)), row));
}

/// Bits `down` and so many above them of each byte, where the plane's are in a code.
Num Matrix::field(Num word, const Plane &plane, Num down) const {
  if (plane.bits == 8)
    return word;
  if (down)
    word = code.shiftRight(word, down);
  word = code.bitAnd(word, code.i(0x01010101 * ((1 << plane.bits) - 1)));
  return plane.shift ? code.shiftLeft(word, code.i(plane.shift)) : word;
}

Num Matrix::codes(Num block, Num row, Num in_group, Num step) const {
  Num all;
  for (const Plane &plane : planes) {
    Num index = plane.words == steps ? step : code.mod(step, plane.words), down;
    if (plane.first)
      index = code.add(index, code.i(plane.first));
    if (plane.words != steps)
      down = code.mul(code.div(step, plane.words), code.i(plane.bits));
    Num own = field(word(block, row, in_group, index), plane, down);
    all = all ? code.bitOr(all, own) : own;
  }
  return all;
}

Num Matrix::stepOf(Num activation_group, int64_t words, Num word) const {
  const int64_t ratio = steps / words;
  if (ratio == 1)
    return word;
  return code.add(code.mul(code.mod(activation_group, ratio), code.i(words)), word);
}

std::vector<Num> Matrix::turn(Num block, Num row, Num in_group, Num index) const {
  std::vector<Num> all(steps_of_turn);
  for (const Plane &plane : planes) {
    const int64_t count = plane.words / turns;
    std::vector<Num> words;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t ahead = plane.first + i * turns;
      words.push_back(word(block, row, in_group, ahead ? code.add(index, code.i(ahead)) : index));
    }
    for (int64_t i = 0; i < steps_of_turn; ++i) {
      const int64_t down = i / count * plane.bits;
      Num own = field(words[i % count], plane, down ? code.i(down) : Num());
      all[i] = all[i] ? code.bitOr(all[i], own) : own;
    }
  }
  return all;
}

Num Matrix::byte(int32_t from, Num index) const {
  Num shift = code.shiftLeft(code.mod(index, 4), code.i(3));
  return code.bitAnd(code.shiftRight(code.load(from, code.div(index, 4)), shift), code.i(255));
}

Num Matrix::number(int32_t from, CodeKind type, Num index) const {
  if (type == CodeKind::f32)
    return code.loadFloat(from, index);
  if (type == CodeKind::e8m0) {
    Num exponent = byte(from, index);
    return code.asFloat(code.select(code.below(exponent, code.i(2)),
                                    code.shiftLeft(code.add(exponent, code.i(1)), code.i(21)),
                                    code.shiftLeft(code.sub(exponent, code.i(1)), code.i(23))));
  }
  Num word = code.load(from, code.div(index, 2)), part = code.mod(index, 2);
  if (type == CodeKind::f16)
    return code.halfToFloat(word, part);
  Num high = code.bitAnd(word, code.i(0xffff0000));
  return code.asFloat(
      code.select(code.equal(part, code.i(1)), high, code.shiftLeft(word, code.i(16))));
}

Matrix::Multipliers Matrix::multipliers(Num block, Num row, Num super_block) const {
  const int32_t numbers = value.encoding.symmetric() ? 1 : 2, rows = value.layout.rows;
  Num at = code.add(code.mul(block, code.i(value.width / Encoding::kSuperBlock)), super_block);
  at = code.add(code.mul(at, code.i(int64_t(numbers) * rows)), row);
  auto read = [&](Num index) {
    return number(binding + 1 + numbers, value.layout.scale_type, index);
  };
  return {read(at), numbers == 1 ? Num() : read(code.add(at, code.i(rows)))};
}

Num Matrix::scaleOrMin(bool min, Num block, Num row, Num in_group, Num known) const {
  const Encoding &encoding = value.encoding;
  Num at = code.add(code.mul(block, code.i(groups)), in_group);
  at = code.add(code.mul(at, code.i(value.layout.rows)), row);
  const int32_t from = binding + (min ? 2 : 1);
  if (!encoding.twoLevel())
    return number(from, value.layout.scale_type, at);
  if (!known) {
    const Multipliers own =
        multipliers(block, row, code.div(in_group, Encoding::kSuperBlock / group));
    known = min ? own.min : own.scale;
  }
  Num stored = byte(from, at);
  if ((min ? encoding.min : encoding.scale).sub_signed)
    stored = code.signedByte(stored, 0);
  return code.fmul(code.toFloat(stored), known);
}

Num Matrix::scale(Num block, Num row, Num in_group, const Multipliers &known) const {
  return scaleOrMin(false, block, row, in_group, known.scale);
}

Num Matrix::min(Num block, Num row, Num in_group, const Multipliers &known) const {
  return scaleOrMin(true, block, row, in_group, known.min);
}

Num Matrix::element(Num block, Num row, Num k) const {
  Num at = code.add(code.mul(block, code.i(value.width)), k);
  return number(binding, value.encoding.code,
                code.add(code.mul(at, code.i(value.layout.rows)), row));
}

Num Matrix::decode(Num number, Num scale, Num min) const {
  if (value.encoding.table != CodeTable::none)
    number = table.get(number);
  if (const int offset = value.encoding.minCode())
    number = code.add(number, code.i(offset));
  Num product = code.fmul(code.toFloat(number), scale);
  return min ? code.fadd(product, min) : product;
}

} // namespace ingot::spirv
