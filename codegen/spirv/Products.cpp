// Linear layers of codes for many tokens by products of matrices that subgroups make together.
//
// A workgroup computes two blocks of rows for up to 32 tokens. Group by group, the codes of both
// are laid out as bytes in shared memory and multiplied; each invocation then scales and adds up
// what is of its row, in the order of the other forms (Linear.cpp): of bytes, sums of products are
// integers, so that the bits are the same. Of halves, products with codes are exact, and their sums
// go in an order that only the driver knows.
#include "codegen/spirv/Builder.h"

namespace ingot::spirv {
namespace {

constexpr int32_t blocks_at_once = 2, rows_at_once = blocks_at_once * block_rows;

/// Up to so many tokens, other forms read the weights once, too, and take the time of that.
constexpr int32_t few_tokens = 8;

int32_t tokensAtOnce(int32_t max_tokens) { return max_tokens <= 16 ? 16 : 32; }

const KernelOp *layerOf(const KernelSpec &spec) {
  for (const KernelOp &op : spec.ops)
    if (op.kind == KernelOp::Kind::linear)
      return &op;
  return nullptr;
}

} // namespace

std::vector<Features> formsOf(const KernelSpec &spec) {
  using Kind = KernelOp::Kind;
  auto any = [&](auto is) { return llvm::any_of(spec.ops, is); };
  auto holdsCodes = [&](int32_t value) {
    return spec.values[value].kind == KernelValue::Kind::quant &&
           spec.values[value].encoding.code != CodeKind::f16;
  };
  const bool codes = any([&](const KernelOp &op) {
    return (op.kind == Kind::linear && holdsCodes(op.operands[0])) ||
           (op.kind == Kind::quantize && holdsCodes(op.result));
  });
  const bool sums = any([&](const KernelOp &op) {
    return op.kind == Kind::linear || op.kind == Kind::rms_norm || op.kind == Kind::attention ||
           (op.kind == Kind::append && spec.kv == CodeKind::i);
  });
  std::vector<Features> forms;
  const KernelOp *layer = layerOf(spec);
  if (layer && spec.max_tokens > few_tokens &&
      llvm::is_contained(spec.inputs, layer->operands[0]) &&
      spec.values[layer->operands[0]].kind == KernelValue::Kind::quant)
    for (int i = 0; i < int(std::size(product_shapes)); ++i)
      if (layer->act_group % product_shapes[i].depth == 0 &&
          product_shapes[i].halves() ==
              (spec.values[layer->operands[0]].encoding.code == CodeKind::f16))
        forms.push_back({.product = i});
  for (bool dot : {true, false})
    for (bool shuffle : {true, false})
      if ((codes || !dot) && (sums || !shuffle))
        forms.push_back({dot, shuffle});
  return forms;
}

llvm::Error Builder::linearByProducts(const KernelOp &op, const Matrix &matrix) {
  const Encoding &encoding = matrix.value.encoding;
  const Quant x = values[op.operands[0]].quant;
  const ProductShape &shape = product_shapes[code.features.product];
  const int64_t groups = matrix.value.width / x.group, ratio = matrix.group / x.group,
                units = interface.slices;
  const int32_t parts = partsOfUnit(), units_at_once = blocks_at_once / parts,
                tokens = tokensAtOnce(spec.max_tokens), words = x.group / 4;
  grid.y = (units + units_at_once - 1) / units_at_once;
  grid.tokens_each = tokens;
  // What is behind the last row or token is computed like that and not stored.
  Num first_token = code.mul(code.groupX(), code.i(tokens));
  Num count = code.parameter(code.i(INGOT_PARAMETER_TOKENS)), last = code.sub(count, code.i(1));
  Num first_block = code.mul(code.groupY(), code.i(blocks_at_once));
  Num last_block = code.i(units * parts - 1);
  auto tokenAt = [&](Num t) { return code.umin(code.add(first_token, t), last); };

  // Rows begin on 16 bytes, and eight of them one behind the other in as many banks of memory.
  const int32_t activation_words = x.halves ? 2 * words : words, stride = activation_words + 4;
  Shared weights = code.shared(int64_t(rows_at_once) * stride, false),
         activations = code.shared(int64_t(tokens) * stride, false),
         dots = code.shared(int64_t(rows_at_once) * tokens, x.halves), // [token][row]
      scales = code.shared(tokens, true), offsets = code.shared(tokens, false),
         weighted = code.shared(tokens, true);
  // Codes that take 8 bits are made signed: 128 less. As halves, codes are what they are.
  const bool high_codes = encoding.maxCode() - encoding.minCode() > 127 && !x.halves;
  const int32_t less = high_codes ? 128 : 0;

  auto layOut = [&](Num g) {
    const bool by_turns = ratio == 1 && matrix.steps_of_turn <= 2;
    const auto times = static_cast<int32_t>(by_turns ? matrix.turns : words);
    code.share(int64_t(rows_at_once) * times, [&](Num index) {
      Num row = code.mod(index, block_rows), rest = code.div(index, block_rows);
      Num at = code.mod(rest, times), block = code.div(rest, times), group = code.div(g, ratio);
      Num of = code.umin(code.add(first_block, block), last_block);
      std::vector<Num> steps;
      if (by_turns)
        steps = matrix.turn(of, row, group, at);
      else
        steps = {matrix.codes(of, row, group, matrix.stepOf(g, words, at))};
      Num begin = code.mul(code.add(code.mul(block, code.i(block_rows)), row), code.i(stride));
      auto put = [&](Num word, Num codes) {
        if (high_codes)
          codes = code.bitXor(codes, code.i(0x80808080));
        if (!x.halves)
          return weights.set(code.add(begin, word), codes);
        Num numbers[4];
        for (int k = 0; k < 4; ++k)
          numbers[k] =
              code.toFloat(code.add(code.unsignedByte(codes, k), code.i(encoding.minCode())));
        word = code.add(begin, code.mul(word, code.i(2)));
        weights.set(word, code.packHalves(numbers[0], numbers[1]));
        weights.set(code.add(word, code.i(1)), code.packHalves(numbers[2], numbers[3]));
      };
      for (auto [i, codes] : llvm::enumerate(steps))
        put(i ? code.add(at, code.i(int64_t(i) * times)) : at, matrix.numbers(codes));
    });
    code.share(int64_t(tokens) * activation_words, [&](Num index) {
      Num word = code.mod(index, activation_words), t = code.div(index, activation_words);
      activations.set(code.add(code.mul(t, code.i(stride)), word),
                      x.codes(code.add(code.mul(g, code.i(activation_words)), word), tokenAt(t)));
    });
  };
  auto multiply = [&](Num g) {
    const int32_t down = rows_at_once / shape.rows, across = tokens / shape.columns;
    code.loop(code.subgroup(), code.i(int64_t(down) * across), code.subgroups(), [&](Num tile) {
      Num row = code.mul(code.mod(tile, down), code.i(shape.rows));
      Num t = code.mul(code.div(tile, down), code.i(shape.columns));
      code.multiply({weights, code.mul(row, code.i(stride)), stride},
                    {activations, code.mul(t, code.i(stride)), stride},
                    {dots, code.add(code.mul(t, code.i(rows_at_once)), row), rows_at_once},
                    x.group / shape.depth);
    });
    code.share(tokens, [&](Num t) {
      const GroupTerms terms =
          groupTerms(encoding, x.scale(g, tokenAt(t)), x.sum(g, tokenAt(t)), less);
      scales.set(t, terms.scale);
      if (terms.offset)
        offsets.set(t, terms.offset);
      if (terms.weighted)
        weighted.set(t, terms.weighted);
    });
  };

  // An invocation has one row of a unit, of each of its parts, and every so many-th token.
  const int32_t rows = rows_at_once / parts, apart = code.threads / rows, own = tokens / apart;
  Num row = code.mod(code.thread(), rows), first = code.div(code.thread(), rows);
  Num block = code.add(first_block, parts == 1 ? code.div(row, block_rows) : code.i(0));
  Num in_block = code.mod(row, block_rows);
  std::vector<Num> blocks;
  for (int32_t part = 0; part < parts; ++part)
    blocks.push_back(code.umin(part ? code.add(block, code.i(part)) : block, last_block));
  std::vector<Local> sums, pair, all; // [token][part]
  for (std::vector<Local> *one : {&sums, &pair, &all})
    for (int32_t i = 0; i < own * parts; ++i)
      one->push_back(code.local(code.f(0)));
  auto addUp = [&](Num g, llvm::ArrayRef<Matrix::Multipliers> known) {
    Num weight_group = code.div(g, ratio);
    std::array<Num, 2> scale, min;
    for (int32_t part = 0; part < parts; ++part) {
      scale[part] = matrix.scale(blocks[part], in_block, weight_group, known[part]);
      if (!encoding.symmetric())
        min[part] = matrix.min(blocks[part], in_block, weight_group, known[part]);
    }
    for (int32_t i = 0; i < own; ++i) {
      Num t = code.add(first, code.i(i * apart));
      const GroupTerms terms{scales.get(t),
                             !x.halves && encoding.minCode() + less ? offsets.get(t) : Num(),
                             encoding.symmetric() ? Num() : weighted.get(t)};
      for (int32_t part = 0; part < parts; ++part) {
        Num at = code.add(code.mul(t, code.i(rows_at_once)), row);
        Num dot = dots.get(part ? code.add(at, code.i(part * block_rows)) : at);
        const Local &sum = sums[i * parts + part];
        sum.set(addGroup(sum.get(), dot, scale[part], min[part], terms));
      }
    }
  };
  code.loop(code.i(0), code.i(splits), 1, [&](Num split) {
    for (const Local &sum : sums)
      sum.set(code.f(0));
    alongRow(matrix, blocks, in_block, split, groups, splits, [&](Num g, auto known) {
      layOut(g);
      code.barrier();
      multiply(g);
      code.barrier();
      addUp(g, known);
    });
    // (0 + 1) + (2 + 3)
    static_assert(splits == 4);
    Num odd = code.equal(code.mod(split, 2), code.i(1)), begins = code.below(split, code.i(2));
    for (size_t i = 0; i < sums.size(); ++i) {
      Num two = code.fadd(pair[i].get(), sums[i].get());
      Num so_far = code.select(begins, two, code.fadd(all[i].get(), two));
      all[i].set(code.select(odd, so_far, all[i].get()));
      pair[i].set(sums[i].get());
    }
  });
  Num unit = code.add(code.mul(code.groupY(), code.i(units_at_once)),
                      parts == 1 ? code.div(row, block_rows) : code.i(0));
  Num column = code.add(code.mul(unit, code.i(block_rows)), in_block);
  for (int32_t i = 0; i < own; ++i) {
    Num t = code.add(first_token, code.add(first, code.i(i * apart)));
    code.when(code.both(code.below(unit, code.i(units)), code.below(t, count)), [&] {
      std::array<Num, 2> whole;
      for (int32_t part = 0; part < parts; ++part)
        whole[part] = all[i * parts + part].get();
      storeSums(op, column, t, whole);
    });
  }
  return llvm::Error::success();
}

} // namespace ingot::spirv
