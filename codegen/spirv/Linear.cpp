// Linear layers: a workgroup computes blocks of 16 rows, for one token or a few at once. Invocation
// (row, split) sums every splits-th part of a row; the parts are added pair by pair.
#include "codegen/spirv/Builder.h"

namespace ingot::spirv {
namespace {

/// Tokens of a workgroup: a divisor of kTokenPadding.
int32_t tokensAtOnce(int32_t max_tokens) {
  return max_tokens == 1 ? 1 : max_tokens == 2 ? 2 : max_tokens <= 4 ? 4 : 8;
}

/// How a layer of `units` (blocks of rows of the result) is divided: workgroups of `groups` units,
/// of which an invocation computes `at_once` together, so that activations are read once for all.
struct Division {
  int64_t groups = 1, at_once = 1;
};

Division divide(int64_t units, int32_t parts, int32_t tokens) {
  constexpr int64_t enough_groups = 16, most = 16, most_blocks = 4;
  auto largest = [&](int64_t of, int64_t limit, int64_t enough) {
    int64_t divisor = 1;
    for (int64_t each = 2; each <= limit; ++each)
      if (of % each == 0 && of / each >= enough)
        divisor = each;
    return divisor;
  };
  Division division;
  division.at_once = largest(units, most_blocks / parts, tokens == 1 ? enough_groups : 1);
  // What comes before the blocks of a single token (quantizing its row) is done once for several;
  // enough workgroups stay for a large device.
  const int64_t turns =
      tokens == 1 ? largest(units / division.at_once, most, 12 * enough_groups) : 1;
  division.groups = division.at_once * turns;
  return division;
}

} // namespace

llvm::Error Builder::linear(const KernelOp &op) {
  const Matrix matrix(code, spec.values[op.operands[1]], binding(op.operands[1]));
  const Encoding &encoding = matrix.value.encoding;
  const Rows x = values[op.operands[0]].rows;
  const Quant quant = values[op.operands[0]].quant;
  if (matrix.value.layout.rows != block_rows)
    return fail("blocks of " + llvm::Twine(matrix.value.layout.rows) + " rows");
  if (quant.codes ? encoding.isFloat() : !x.at)
    return fail("a float matrix needs float activations");
  if (quant.codes && matrix.group % quant.group)
    return fail("weight groups of " + llvm::Twine(matrix.group) +
                " are not whole activation groups of " + llvm::Twine(quant.group));
  if (code.features.product >= 0)
    return linearByProducts(op, matrix);

  const int32_t parts = partsOfUnit();
  const int32_t tokens = tokensAtOnce(spec.max_tokens);
  const int64_t units = interface.slices;
  const Division division = divide(units, parts, tokens);
  const auto at_once = static_cast<int32_t>(division.at_once), blocks_at_once = at_once * parts;
  grid.y = units / division.groups;
  grid.tokens_each = spec.max_tokens == 1 ? 0 : tokens;
  Num first_token = spec.max_tokens == 1 ? code.i(0) : code.mul(code.groupX(), code.i(tokens));
  auto tokenAt = [&](int32_t j) { return j ? code.add(first_token, code.i(j)) : first_token; };
  // Those who share a row are neighbours where these read each other's sums; else neighbours have
  // the words of as many rows, which lie side by side.
  const bool shuffle = code.features.shuffle;
  static_assert(neighbours % splits == 0);
  Num row = shuffle ? code.div(code.thread(), splits) : code.mod(code.thread(), block_rows),
      split = shuffle ? code.mod(code.thread(), splits) : code.div(code.thread(), block_rows);
  Shared partial;
  if (!shuffle)
    partial = code.shared(int64_t(blocks_at_once) * tokens * code.threads, true);

  code.loop(code.i(0), code.i(division.groups), at_once, [&](Num index) {
    Num unit = division.groups == 1
                   ? code.groupY()
                   : code.add(code.mul(code.groupY(), code.i(division.groups)), index);
    std::vector<Num> blocks;
    std::vector<Local> sums; // [block][token]
    Num first_block = parts == 1 ? unit : code.mul(unit, code.i(parts));
    for (int32_t block = 0; block < blocks_at_once; ++block) {
      blocks.push_back(block ? code.add(first_block, code.i(block)) : first_block);
      for (int32_t j = 0; j < tokens; ++j)
        sums.push_back(code.local(code.f(0)));
    }
    if (quant.codes)
      sumCodes(matrix, quant, row, split, blocks, tokens, tokenAt, sums);
    else
      sumFloats(matrix, x, row, split, blocks, tokens, tokenAt, sums);
    // Stores row n of token j of the own-th unit at hand, of which `of(part)` is the whole sum.
    auto store = [&](Num n, Num element, const std::function<Num(Num, Num, int32_t)> &of) {
      Num j = element, own = code.i(0);
      if (at_once > 1)
        own = code.div(j, tokens), j = code.mod(j, tokens);
      std::array<Num, 2> whole;
      for (int32_t part = 0; part < parts; ++part)
        whole[part] = of(own, j, part);
      storeSums(op, code.add(code.mul(code.add(unit, own), code.i(block_rows)), n),
                code.add(first_token, j), whole);
    };
    const int32_t elements = at_once * tokens;
    if (shuffle) {
      std::vector<Num> whole;
      for (const Local &sum : sums) {
        Num all = sum.get();
        for (int32_t mask = 1; mask < splits; mask *= 2)
          all = code.fadd(all, code.shuffle(all, mask));
        whole.push_back(all);
      }
      // All of them have all sums; each stores every splits-th.
      for (int32_t first = 0; first < elements; first += splits) {
        const int32_t count = std::min(splits, elements - first);
        auto storeOwn = [&] {
          store(row, code.add(split, code.i(first)), [&](Num, Num, int32_t part) {
            Num chosen;
            for (int32_t i = count; i--;) {
              const int32_t element = first + i, own = element / tokens, j = element % tokens;
              Num one = whole[(own * parts + part) * tokens + j];
              chosen = chosen ? code.select(code.equal(split, code.i(i)), one, chosen) : one;
            }
            return chosen;
          });
        };
        if (count == splits)
          storeOwn();
        else
          code.when(code.below(split, code.i(count)), storeOwn);
      }
      return;
    }
    // [unit][part][token][split][row]
    for (size_t i = 0; i < sums.size(); ++i)
      partial.set(code.add(code.thread(), code.i(int64_t(i) * code.threads)), sums[i].get());
    code.barrier();
    code.share(int64_t(elements) * block_rows, [&](Num element) {
      Num n = code.mod(element, block_rows);
      store(n, code.div(element, block_rows), [&](Num own, Num j, int32_t part) {
        Num sums_of = code.add(code.mul(own, code.i(parts)), code.i(part));
        Num place = code.add(code.mul(sums_of, code.i(tokens)), j);
        Num at = code.add(code.mul(place, code.i(code.threads)), n);
        std::array<Num, splits> all;
        for (int32_t s = 0; s < splits; ++s)
          all[s] = partial.get(code.add(at, code.i(s * block_rows)));
        for (int32_t apart = 1; apart < splits; apart *= 2)
          for (int32_t s = 0; s < splits; s += 2 * apart)
            all[s] = code.fadd(all[s], all[s + apart]);
        return all[0];
      });
    });
    code.barrier();
  });
  return llvm::Error::success();
}

int32_t Builder::partsOfUnit() const {
  return llvm::any_of(spec.ops,
                      [](const KernelOp &op) { return op.kind == KernelOp::Kind::silu_mul; })
             ? 2
             : 1;
}

void Builder::storeSums(const KernelOp &op, Num column, Num t, const std::array<Num, 2> &sums) {
  const int64_t height = spec.values[op.operands[1]].height;
  // What follows the layer in this kernel asks for the element at hand.
  values[op.result].rows = {height, [&](Num, Num) { return sums[0]; }};
  for (const KernelOp &next : spec.ops) {
    if (next.kind == KernelOp::Kind::silu_mul)
      values[next.result].rows = {height / 2,
                                  [&](Num, Num) { return code.gated(sums[0], sums[1]); }};
    else if (next.kind == KernelOp::Kind::add)
      values[next.result].rows = {spec.values[next.result].width,
                                  [this, a = values[next.operands[0]].rows,
                                   b = values[next.operands[1]].rows](Num c, Num of) {
                                    return code.fadd(a.at(c, of), b.at(c, of));
                                  }};
  }
  const int32_t output = spec.outputs.front();
  const int64_t stride = (spec.values[output].width + 15) / 16 * 16;
  code.storeFloat(binding(output), code.add(code.mul(t, code.i(stride)), column),
                  values[output].rows.at(column, t));
}

Builder::GroupTerms Builder::groupTerms(const Encoding &encoding, Num scale, Num sum,
                                        int32_t less) {
  GroupTerms terms{scale, Num(), Num()};
  // Codes that meet halves are made signed before.
  if (const int32_t offset = code.isFloat(sum) ? 0 : encoding.minCode() + less)
    terms.offset = code.mul(sum, code.i(offset));
  if (!encoding.symmetric())
    terms.weighted = code.fmul(scale, code.isFloat(sum) ? sum : code.toFloat(sum));
  return terms;
}

Num Builder::addGroup(Num sum, Num dot, Num scale, Num min, const GroupTerms &terms) {
  if (terms.offset)
    dot = code.add(dot, terms.offset);
  if (!code.isFloat(dot))
    dot = code.toFloat(dot);
  Num total = code.fma(dot, code.fmul(scale, terms.scale), sum);
  return terms.weighted ? code.fma(min, terms.weighted, total) : total;
}

void Builder::alongRow(const Matrix &matrix, const std::vector<Num> &blocks, Num row, Num first,
                       int64_t count, int64_t step,
                       const std::function<void(Num, llvm::ArrayRef<Matrix::Multipliers>)> &body) {
  std::vector<Matrix::Multipliers> known(blocks.size());
  if (!matrix.value.encoding.twoLevel())
    return code.loop(first, code.i(count), step, [&](Num at) { body(at, known); });
  const int64_t super_blocks = matrix.value.width / Encoding::kSuperBlock,
                each = count / super_blocks;
  assert(each % step == 0);
  code.loop(code.i(0), code.i(super_blocks), 1, [&](Num super_block) {
    for (auto [block, of_block] : llvm::zip(blocks, known))
      of_block = matrix.multipliers(block, row, super_block);
    Num begin = code.mul(super_block, code.i(each));
    code.loop(first, code.i(each), step, [&](Num at) { body(code.add(begin, at), known); });
  });
}

/// Sums of products of codes, group by group of the activations.
void Builder::sumCodes(const Matrix &matrix, const Quant &x, Num row, Num split,
                       const std::vector<Num> &blocks, int32_t tokens, const TokenAt &tokenAt,
                       std::vector<Local> &sums) {
  const Encoding &encoding = matrix.value.encoding;
  const int64_t groups = matrix.value.width / x.group;
  const int64_t words = x.group / 4, ratio = matrix.group / x.group; // words of activations
  alongRow(matrix, blocks, row, split, groups, splits, [&](Num g, auto known) {
    Num first = code.mul(g, code.i(x.halves ? 2 * words : words)),
        weight_group = code.div(g, ratio);
    std::vector<Local> dots;
    for (size_t i = 0; i < sums.size(); ++i)
      dots.push_back(code.local(x.halves ? code.f(0) : code.i(0)));
    // Words `codes` of all blocks meet word `word` of the activations, of halves the one behind,
    // too.
    auto addProducts = [&](const std::vector<Num> &codes, Num word) {
      if (x.halves)
        word = code.mul(word, code.i(2));
      for (int32_t j = 0; x.halves && j < tokens; ++j)
        for (int k = 0; k < 4; ++k) {
          Num at = code.add(first, k < 2 ? word : code.add(word, code.i(1)));
          Num activation = code.halfToFloat(x.codes(at, tokenAt(j)), k % 2);
          for (size_t block = 0; block < blocks.size(); ++block) {
            Num weight = code.unsignedByte(codes[block], k);
            if (const int offset = encoding.minCode())
              weight = code.add(weight, code.i(offset));
            const Local &dot = dots[block * tokens + j];
            dot.set(code.fma(code.toFloat(weight), activation, dot.get()));
          }
        }
      if (x.halves)
        return;
      for (int32_t j = 0; j < tokens; ++j) {
        Num activations = x.codes(code.add(first, word), tokenAt(j));
        for (size_t block = 0; block < blocks.size(); ++block)
          dots[block * tokens + j].add(code.dot(activations, codes[block]));
      }
    };
    // A few tokens more than one have the time to read words again that hold more than two steps.
    const bool by_turns = ratio == 1 && (tokens == 1 || matrix.steps_of_turn <= 2);
    const int64_t times = by_turns ? matrix.turns : words;
    auto multiply = [&](Num at) {
      std::vector<std::vector<Num>> codes(by_turns ? matrix.steps_of_turn : 1); // [step][block]
      for (Num block : blocks) {
        std::vector<Num> own;
        if (by_turns)
          own = matrix.turn(block, row, weight_group, at);
        else
          own = {matrix.codes(block, row, weight_group, matrix.stepOf(g, words, at))};
        for (auto [all, one] : llvm::zip(codes, own))
          all.push_back(matrix.numbers(one));
      }
      for (auto [i, of_step] : llvm::enumerate(codes))
        addProducts(of_step, i ? code.add(at, code.i(int64_t(i) * times)) : at);
    };
    if (tokens == 1 && times <= 8)
      for (int64_t at = 0; at < times; ++at)
        multiply(code.i(at));
    else
      code.loop(code.i(0), code.i(times), 1, multiply);
    std::vector<Num> scales, mins;
    for (auto [block, of_block] : llvm::zip(blocks, known)) {
      scales.push_back(matrix.scale(block, row, weight_group, of_block));
      mins.push_back(encoding.symmetric() ? Num() : matrix.min(block, row, weight_group, of_block));
    }
    for (int32_t j = 0; j < tokens; ++j) {
      const GroupTerms terms = groupTerms(encoding, x.scale(g, tokenAt(j)), x.sum(g, tokenAt(j)));
      for (size_t block = 0; block < blocks.size(); ++block) {
        const size_t i = block * tokens + j;
        sums[i].set(addGroup(sums[i].get(), dots[i].get(), scales[block], mins[block], terms));
      }
    }
  });
}

/// Sums of decoded weights times floats.
void Builder::sumFloats(const Matrix &matrix, const Rows &x, Num row, Num split,
                        const std::vector<Num> &blocks, int32_t tokens, const TokenAt &tokenAt,
                        std::vector<Local> &sums) {
  const Encoding &encoding = matrix.value.encoding;
  auto addProducts = [&](size_t part, Num weight, Num k) {
    for (int32_t j = 0; j < tokens; ++j) {
      Local &sum = sums[part * tokens + j];
      sum.set(code.fma(weight, x.at(k, tokenAt(j)), sum.get()));
    }
  };
  if (encoding.isFloat()) {
    code.loop(split, code.i(matrix.value.width), splits, [&](Num k) {
      for (size_t part = 0; part < blocks.size(); ++part)
        addProducts(part, matrix.element(blocks[part], row, k), k);
    });
    return;
  }
  // Where codes take up to 4 bits, steps are visited in pairs that are half a group apart.
  const int32_t pair = matrix.value.layout.code_bits > 4 ? 1 : 2;
  const int64_t visits = matrix.steps / pair; // of a group
  auto visit = [&](Num group, Num step, llvm::ArrayRef<Num> scales, llvm::ArrayRef<Num> mins) {
    Num first = code.add(code.mul(group, code.i(matrix.group)), code.mul(step, code.i(4)));
    for (size_t part = 0; part < blocks.size(); ++part) {
      std::vector<Num> codes;
      if (matrix.steps_of_turn == pair)
        codes = matrix.turn(blocks[part], row, group, step);
      else
        for (int32_t half = 0; half < pair; ++half)
          codes.push_back(
              matrix.codes(blocks[part], row, group, half ? code.add(step, code.i(visits)) : step));
      for (int32_t half = 0; half < pair; ++half)
        for (int byte = 0; byte < 4; ++byte)
          addProducts(part,
                      matrix.decode(code.unsignedByte(codes[half], byte), scales[part], mins[part]),
                      code.add(first, code.i(byte + half * matrix.group / 2)));
    }
  };
  auto visitGroup = [&](Num group, llvm::ArrayRef<Matrix::Multipliers> known,
                        const std::vector<Num> &steps) {
    std::vector<Num> scales, mins;
    for (auto [block, of_block] : llvm::zip(blocks, known)) {
      scales.push_back(matrix.scale(block, row, group, of_block));
      mins.push_back(encoding.symmetric() ? Num() : matrix.min(block, row, group, of_block));
    }
    for (Num step : steps)
      visit(group, step, scales, mins);
  };
  // Scales of a group are read once where all of its splits have the same part of it.
  if (visits % splits == 0 && visits <= 4 * splits)
    alongRow(matrix, blocks, row, code.i(0), matrix.groups, 1, [&](Num group, auto known) {
      std::vector<Num> steps{split};
      for (int64_t step = splits; step < visits; step += splits)
        steps.push_back(code.add(split, code.i(step)));
      visitGroup(group, known, steps);
    });
  else
    alongRow(matrix, blocks, row, split, matrix.groups * visits, splits, [&](Num at, auto known) {
      visitGroup(code.div(at, visits), known, {code.mod(at, visits)});
    });
}

} // namespace ingot::spirv
