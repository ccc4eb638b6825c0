// Attention over the cache, and the way of keys and values into it.
#include "codegen/spirv/Builder.h"
#include "runtime/core/device.h"

namespace ingot::spirv {
namespace {

constexpr double lowest = -3e38; ///< below any score; its weight is 0

/// Where context allows more, sums over so many keys are made apart and merged in order, by one
/// workgroup or by several: bits are the same.
constexpr int64_t part_keys = 256;

const KernelOp *attentionOf(const KernelSpec &spec) {
  for (const KernelOp &op : spec.ops)
    if (op.kind == KernelOp::Kind::attention)
      return &op;
  return nullptr;
}

/// Of a single token, workgroups take a part of the keys each.
bool splitsKeys(const KernelSpec &spec) {
  return spec.max_tokens == 1 && cachePositions(spec.context) > part_keys;
}

/// Words of a part: its sums of values, largest score and total.
int64_t partWords(const KernelOp &op) { return op.head_dim + 2; }
int64_t parts(const KernelSpec &spec) {
  return (cachePositions(spec.context) + part_keys - 1) / part_keys;
}

} // namespace

/// For each head how many of its parts are done, then for each head and part that.
int64_t scratchBytes(const KernelSpec &spec) {
  const KernelOp *op = attentionOf(spec);
  return op && splitsKeys(spec) ? op->heads * (1 + parts(spec) * partWords(*op)) * 4 : 0;
}

Builder::Partial Builder::partial(size_t count) {
  Partial made{code.local(code.f(lowest)), code.local(code.f(0)), {}};
  for (size_t i = 0; i < count; ++i)
    made.values.push_back(code.local(code.f(0)));
  return made;
}

void Builder::clear(const Partial &part) {
  part.largest.set(code.f(lowest));
  part.total.set(code.f(0));
  for (const Local &value : part.values)
    value.set(code.f(0));
}

void Builder::merge(const Partial &whole, Num largest, Num total,
                    const std::function<Num(size_t)> &valueOf) {
  Num peak = code.fmax(whole.largest.get(), largest);
  Num before = code.exponential(code.fsub(whole.largest.get(), peak));
  Num here = code.exponential(code.fsub(largest, peak));
  whole.largest.set(peak);
  whole.total.set(code.fma(whole.total.get(), before, code.fmul(total, here)));
  for (size_t i = 0; i < whole.values.size(); ++i)
    whole.values[i].set(code.fma(whole.values[i].get(), before, code.fmul(valueOf(i), here)));
}

/// softmax(scale * q . K) V over positions 0 .. position + t: a workgroup a head of a token, one
/// key an invocation, as many keys at a time as there are invocations. The largest score so far and
/// the sums that depend on it are corrected when a larger one comes (Milakov & Gimelshein 2018).
///
/// Of a single token, each part of the keys has a workgroup, which leaves its sums in scratch; the
/// last one to do so merges all (Dao et al. 2023, "Flash-Decoding").
llvm::Error Builder::attention(const KernelOp &op) {
  const Rows q = values[op.operands[0]].rows;
  const int32_t cache = op.operands[1], head_dim = op.head_dim, half = head_dim / 2;
  if (!q.at || op.kv_heads <= 0 || op.heads % op.kv_heads)
    return fail("attention takes rows and a cache");
  const int64_t context = cachePositions(spec.context), at_once = code.threads;
  const bool codes = spec.kv == CodeKind::i, halves = spec.kv == CodeKind::f16;
  const int32_t keys = binding(cache), stored = binding(cache, 1), key_scales = binding(cache, 2),
                value_scales = binding(cache, 3);
  grid.y = op.heads;
  Num head = code.groupY(), kv_head = code.div(head, op.heads / op.kv_heads);
  Num end = code.add(positionOf(token), code.i(1));

  // Of the values at hand: the weights of their scores, with their scales where they are codes.
  Shared query = code.shared(head_dim, true), factors = code.shared(at_once, true);
  Num first_column = code.mul(head, code.i(head_dim));
  code.share(head_dim, [&](Num d) {
    query.set(d, code.fmul(q.at(code.add(first_column, d), token), code.f(op.scale)));
  });
  code.barrier();
  Num keys_start = cacheStart(cache, 0, token), values_start = cacheStart(cache, 1, token);
  Num scale_row = code.mul(kv_head, code.i(context));

  /// Words of keys: [position % 16][element or pair][position / 16][head], two halves a word.
  auto score = [&](Num position) -> Num {
    Num block = code.add(code.mul(kv_head, code.i(context / 16)), code.div(position, 16));
    Num lane = code.mod(position, 16);
    const int64_t elements = codes ? half : head_dim;
    Local sum = code.local(code.f(0));
    code.loop(code.i(0), code.i(elements), 1, [&](Num e) {
      Num at = code.add(code.mul(code.add(code.mul(block, code.i(elements)), e), code.i(16)), lane);
      if (codes) {
        Num word = code.load(keys, code.add(keys_start, at)), d = code.mul(e, code.i(2));
        Num partial = code.fma(code.toFloat(code.signedHalf(word, 0)), query.get(d), sum.get());
        sum.set(code.fma(code.toFloat(code.signedHalf(word, 1)), query.get(code.add(d, code.i(1))),
                         partial));
        return;
      }
      Num key = halves ? code.halfToFloat(code.load(keys, code.add(keys_start, code.div(at, 2))),
                                          code.mod(at, 2))
                       : code.loadFloat(keys, code.add(keys_start, at));
      sum.set(code.fma(key, query.get(e), sum.get()));
    });
    if (!codes)
      return sum.get();
    Num scale = code.loadFloat(
        key_scales, code.add(cacheStart(cache, 2, token), code.add(scale_row, position)));
    return code.fmul(sum.get(), scale);
  };

  const int32_t each = static_cast<int32_t>((head_dim + at_once - 1) / at_once);
  std::vector<Num> own;
  for (int32_t i = 0; i < each; ++i)
    own.push_back(code.umin(code.add(code.thread(), code.i(i * at_once)), code.i(head_dim - 1)));
  const Partial part = partial(each);
  auto sumKeys = [&](Num from, Num stop) {
    code.loop(from, stop, at_once, [&](Num first) {
      Num position = code.add(first, code.thread()), valid = code.below(position, stop);
      position = code.umin(position, code.sub(stop, code.i(1)));
      Num own_score = code.select(valid, score(position), code.f(lowest));
      Num peak = overThreads(own_score, [&](Num a, Num b) { return code.fmax(a, b); });
      peak = code.fmax(part.largest.get(), peak);
      Num correction = code.exponential(code.fsub(part.largest.get(), peak));
      part.largest.set(peak);
      Num weight = code.select(valid, code.exponential(code.fsub(own_score, peak)), code.f(0));
      Num factor = weight;
      if (codes)
        factor = code.fmul(weight,
                           code.loadFloat(value_scales, code.add(cacheStart(cache, 3, token),
                                                                 code.add(scale_row, position))));
      factors.set(code.thread(), factor); // seen behind the barrier of the sum
      Num sum_of = overThreads(weight, [&](Num a, Num b) { return code.fadd(a, b); });
      part.total.set(code.fma(part.total.get(), correction, sum_of));
      for (const Local &value : part.values)
        value.set(code.fmul(value.get(), correction));
      // Values of codes lie in pairs of positions; what is behind the end weighs nothing.
      auto addValue = [&](int32_t i, Num k, Num value) {
        const Local &sum = part.values[i];
        sum.set(code.fma(factors.get(k), value, sum.get()));
      };
      Num count = code.umin(code.sub(stop, first), code.i(at_once));
      code.loop(code.i(0), count, codes ? 2 : 1, [&](Num k) {
        Num at = code.add(first, k);
        for (int32_t i = 0; i < each; ++i) {
          if (codes) {
            Num pair = code.add(code.mul(kv_head, code.i(context / 2)), code.div(at, 2));
            Num word = code.load(
                stored, code.add(values_start, code.add(code.mul(pair, code.i(head_dim)), own[i])));
            addValue(i, k, code.toFloat(code.signedHalf(word, 0)));
            addValue(i, code.add(k, code.i(1)), code.toFloat(code.signedHalf(word, 1)));
            continue;
          }
          Num place = code.add(
              code.mul(code.add(code.mul(kv_head, code.i(context)), at), code.i(head_dim)), own[i]);
          addValue(i, k,
                   halves ? code.halfToFloat(
                                code.load(stored, code.add(values_start, code.div(place, 2))),
                                code.mod(place, 2))
                          : code.loadFloat(stored, code.add(values_start, place)));
        }
      });
    });
  };
  const int32_t output = spec.outputs.front();
  const int64_t stride = (spec.values[output].width + 15) / 16 * 16;
  /// store(element, i) for those of this invocation.
  auto forOwn = [&](const std::function<void(Num, int32_t)> &store) {
    for (int32_t i = 0; i < each; ++i)
      if ((i + 1) * at_once <= head_dim)
        store(own[i], i);
      else
        code.when(code.below(code.thread(), code.i(head_dim - i * at_once)),
                  [&] { store(own[i], i); });
  };
  auto storeResult = [&](const Partial &whole) {
    Num inverse = code.fdiv(code.f(1), whole.total.get());
    forOwn([&](Num element, int32_t i) {
      Num column = code.add(first_column, element);
      code.storeFloat(binding(output), code.add(code.mul(token, code.i(stride)), column),
                      code.fmul(whole.values[i].get(), inverse));
    });
  };
  if (!splitsKeys(spec)) {
    if (context <= part_keys) {
      sumKeys(code.i(0), end);
      storeResult(part);
      return llvm::Error::success();
    }
    const Partial whole = partial(each);
    code.loop(code.i(0), end, part_keys, [&](Num first) {
      clear(part);
      sumKeys(first, code.umin(code.add(first, code.i(part_keys)), end));
      merge(whole, part.largest.get(), part.total.get(),
            [&](size_t i) { return part.values[i].get(); });
    });
    storeResult(whole);
    return llvm::Error::success();
  }

  const auto scratch = static_cast<int32_t>(interface.arguments.size());
  const int64_t part_words = partWords(op);
  code.sharedByAll(scratch);
  grid.keys_each = part_keys;
  Num index = code.groupZ(), first = code.mul(index, code.i(part_keys));
  Num count = code.div(code.add(end, code.i(part_keys - 1)), part_keys);
  Num here = code.mul(token, code.i(scratch_bytes / 4)), done = code.add(here, head);
  auto placeOf = [&](Num one) {
    Num place = code.add(code.mul(head, code.i(parts(spec))), one);
    return code.add(code.add(here, code.i(op.heads)), code.mul(place, code.i(part_words)));
  };
  Shared before = code.shared(1, false); // how many parts of the head were done before this one
  auto first_does = [&](const std::function<void()> &what) {
    code.when(code.equal(code.thread(), code.i(0)), what);
  };
  // Shorter sequences of a step have fewer parts than the longest.
  code.when(code.below(first, end), [&] {
    sumKeys(first, code.umin(code.add(first, code.i(part_keys)), end));
    Local last = code.local(code.i(1));
    code.when(code.below(code.i(1), count), [&] {
      Num place = placeOf(index);
      forOwn([&](Num element, int32_t i) {
        code.storeFloat(scratch, code.add(place, element), part.values[i].get());
      });
      first_does([&] {
        code.storeFloat(scratch, code.add(place, code.i(head_dim)), part.largest.get());
        code.storeFloat(scratch, code.add(place, code.i(head_dim + 1)), part.total.get());
      });
      code.barrierOfAll();
      first_does([&] { before.set(code.i(0), code.fetchAdd(scratch, done, code.i(1))); });
      code.barrierOfAll();
      Num is_last = code.equal(code.add(before.get(code.i(0)), code.i(1)), count);
      last.set(code.select(is_last, code.i(1), code.i(0)));
      code.when(is_last, [&] {
        first_does([&] { code.store(scratch, done, code.i(0)); });
        clear(part);
        code.loop(code.i(0), count, 1, [&](Num one) {
          Num from = placeOf(one);
          merge(part, code.loadFloat(scratch, code.add(from, code.i(head_dim))),
                code.loadFloat(scratch, code.add(from, code.i(head_dim + 1))),
                [&](size_t i) { return code.loadFloat(scratch, code.add(from, own[i])); });
        });
      });
    });
    code.when(code.equal(last.get(), code.i(1)), [&] { storeResult(part); });
  });
  return llvm::Error::success();
}

/// Keys and values of position p = position + t to their places (KernelValue). A workgroup a head
/// and a pair of positions, because some words hold both; it leaves alone what the step has not.
llvm::Error Builder::append(const KernelOp &op) {
  const Rows rows[] = {values[op.operands[0]].rows, values[op.operands[1]].rows};
  if (!rows[0].at || !rows[1].at)
    return fail("append takes rows");
  const int32_t cache = op.operands[2], head_dim = op.head_dim, half = head_dim / 2;
  const int64_t context = cachePositions(spec.context);
  grid.y = op.kv_heads;
  Num head = code.groupY(), first_column = code.mul(head, code.i(head_dim));
  Num position = code.parameter(code.i(INGOT_PARAMETER_POSITION));
  Num count = code.parameter(code.i(INGOT_PARAMETER_TOKENS));
  if (spec.max_tokens == 1)
    position = per_sequence ? positionOf(token) : position, count = code.i(1);
  Num pair = code.div(position, 2);
  if (spec.max_tokens > 1)
    pair = code.add(pair, code.groupX());
  Num at[2], here[2], from[2];
  for (int which = 0; which < 2; ++which) {
    at[which] = code.add(code.mul(pair, code.i(2)), code.i(which));
    Num t = code.sub(at[which], position);
    here[which] = code.below(t, count);
    t = code.select(here[which], t, code.i(0));
    from[which] = per_sequence ? token : t;
  }
  auto element = [&](int part, int which, Num d) {
    return rows[part].at(code.add(first_column, d), from[which]);
  };
  auto start = [&](int part) { return cacheStart(cache, part, token); };
  // The new halves of a word where they are of this step, the old ones elsewhere.
  auto storeHalves = [&](int32_t to, Num word, Num halves) {
    Num old = code.load(to, word);
    Num mask = code.bitOr(code.select(here[0], code.i(0xffff), code.i(0)),
                          code.select(here[1], code.i(0xffff0000), code.i(0)));
    Num kept = code.bitAnd(old, code.sub(code.sub(code.i(0), code.i(1)), mask));
    code.store(to, word, code.bitOr(code.bitAnd(halves, mask), kept));
  };
  // Of a word or an element of a position: [position % 16][element][position / 16][head].
  auto keyPlace = [&](Num p, int64_t elements, Num e) {
    Num block = code.add(code.mul(head, code.i(context / 16)), code.div(p, 16));
    return code.add(code.mul(code.add(code.mul(block, code.i(elements)), e), code.i(16)),
                    code.mod(p, 16));
  };

  if (spec.kv != CodeKind::i) {
    const bool halves = spec.kv == CodeKind::f16;
    code.share(head_dim, [&](Num d) {
      if (halves) {
        Num place = code.div(keyPlace(at[0], head_dim, d), 2);
        storeHalves(binding(cache), code.add(start(0), place),
                    code.packHalves(element(0, 0, d), element(0, 1, d)));
        return;
      }
      for (int which = 0; which < 2; ++which)
        code.when(here[which], [&] {
          code.storeFloat(binding(cache), code.add(start(0), keyPlace(at[which], head_dim, d)),
                          element(0, which, d));
        });
    });
    for (int which = 0; which < 2; ++which)
      code.when(here[which], [&] {
        Num row = code.mul(code.add(code.mul(head, code.i(context)), at[which]), code.i(head_dim));
        code.share(halves ? half : head_dim, [&](Num e) {
          if (!halves)
            return code.storeFloat(binding(cache, 1), code.add(start(1), code.add(row, e)),
                                   element(1, which, e));
          Num d = code.mul(e, code.i(2));
          code.store(
              binding(cache, 1), code.add(start(1), code.add(code.div(row, 2), e)),
              code.packHalves(element(1, which, d), element(1, which, code.add(d, code.i(1)))));
        });
      });
    return llvm::Error::success();
  }

  const int32_t limits[] = {keyCodeLimit(head_dim), kValueCodeLimit};
  Num scale[2][2], inverse[2][2];
  for (int part = 0; part < 2; ++part)
    for (int which = 0; which < 2; ++which) {
      Local peak = code.local(code.f(0));
      code.share(head_dim, [&](Num d) {
        peak.set(code.fmax(peak.get(), code.fabs(element(part, which, d))));
      });
      Num all = overThreads(peak.get(), [&](Num a, Num b) { return code.fmax(a, b); });
      Num found = code.fmul(all, code.f(1.0 / limits[part]));
      Num usable = code.fabove(found, code.f(1e-30));
      scale[part][which] = code.select(usable, found, code.f(0));
      inverse[part][which] = code.select(usable, code.fdiv(code.f(1), found), code.f(0));
    }
  auto number = [&](int part, int which, Num d) {
    Num rounded = code.roundEven(code.fmul(element(part, which, d), inverse[part][which]));
    return code.toInt(code.clamp(rounded, limits[part]));
  };
  auto packed = [&](Num low, Num high) {
    return code.bitOr(code.bitAnd(low, code.i(0xffff)), code.shiftLeft(high, code.i(16)));
  };
  for (int which = 0; which < 2; ++which)
    code.when(here[which], [&] {
      code.share(half, [&](Num e) {
        Num d = code.mul(e, code.i(2));
        code.store(binding(cache), code.add(start(0), keyPlace(at[which], half, e)),
                   packed(number(0, which, d), number(0, which, code.add(d, code.i(1)))));
      });
      code.when(code.equal(code.thread(), code.i(0)), [&] {
        Num row = code.add(code.mul(head, code.i(context)), at[which]);
        code.storeFloat(binding(cache, 2), code.add(start(2), row), scale[0][which]);
        code.storeFloat(binding(cache, 3), code.add(start(3), row), scale[1][which]);
      });
    });
  code.share(head_dim, [&](Num d) {
    Num row = code.add(code.mul(head, code.i(context / 2)), pair);
    storeHalves(binding(cache, 1), code.add(start(1), code.add(code.mul(row, code.i(head_dim)), d)),
                packed(number(1, 0, d), number(1, 1, d)));
  });
  return llvm::Error::success();
}

} // namespace ingot::spirv
