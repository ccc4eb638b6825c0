// The cost model: instructions of the innermost loops that the schedules make (Schedules*.cpp),
// counted by the resource they need, against what the machine does a cycle.
//
// It is made to rank tiles, so what all tiles of a kernel share is counted roughly, and what
// differs with care: how often codes are loaded, what does not fit the registers, tokens computed
// in vain.
#include "targets/cpu/CostModel.h"

#include "targets/cpu/CpuTarget.h"

#include <algorithm>
#include <cmath>

using namespace ingot;

namespace {

/// Instructions and memory accesses of a piece of code.
struct Work {
  double multiplies = 0; ///< dot products, fused multiply-adds
  double others = 0;     ///< other vector arithmetic
  double loads = 0, stores = 0;
  double operands = 0; ///< loads that arithmetic does itself
  double scalars = 0;  ///< loop control, addresses
  double stalls = 0;   ///< cycles that nothing hides

  Work &operator+=(const Work &b) {
    multiplies += b.multiplies, others += b.others;
    loads += b.loads, stores += b.stores, operands += b.operands, scalars += b.scalars;
    stalls += b.stalls;
    return *this;
  }
  friend Work operator*(double times, const Work &w) {
    return {times * w.multiplies, times * w.others,  times * w.loads, times * w.stores,
            times * w.operands,   times * w.scalars, times * w.stalls};
  }
};

/// The scarcest resource decides; the others do not hide behind it completely.
double cycles(const Rates &rates, const Work &w) {
  const double each[] = {w.multiplies / rates.multiplies,
                         (w.multiplies + w.others) / rates.operations, w.loads / rates.loads,
                         w.stores / rates.stores,
                         (w.multiplies + w.others + w.loads + w.stores + w.scalars) / rates.issue};
  double sum = 0;
  for (double one : each)
    sum += one;
  const double most = *std::max_element(std::begin(each), std::end(each));
  return most + rates.unhidden * (sum - most) + w.stalls;
}

const KernelOp *findOp(const KernelSpec &spec, KernelOp::Kind kind) {
  for (const KernelOp &op : spec.ops)
    if (op.kind == kind)
      return &op;
  return nullptr;
}

/// Vector registers of 16 lanes of 32 bits.
double registersOf16(const Machine &machine) { return 512.0 / machine.vector_bits; }

/// The register tile of a linear layer: `tokens` x 16 rows of each of `blocks`.
struct LinearTile {
  DotForm form;
  double tokens, wide; ///< wide: registers of 16 lanes
  double blocks;       ///< of different streams; where weights pass once, one at a time
  double codes;        ///< registers of codes of a step
  double dots;         ///< registers of sums of products, in the loop over steps
  double sums;         ///< registers of sums of floats, beside them
  int32_t steps;       ///< of an activation group
  int32_t elements;    ///< of an activation group
  bool bytes;          ///< products of two signed bytes, lane by lane, into i16
  double halves = 0;   ///< registers of 8 halves of activations, whose lanes products take
  bool straight;       ///< the steps of a group are one straight run of code
  bool few;            ///< weights pass once, group by group, by all tiles of tokens
  bool mins = false, table = false, two_level = false, half_weights = false;
  int32_t code_bits = 8; ///< of weights in memory
  double runs = 1;       ///< of steps whose sums of pairs i16 holds

  LinearTile(const Machine &machine, const KernelSpec &spec, const KernelOp &op) {
    const KernelValue &matrix = spec.values[op.operands[1]];
    const bool one = spec.max_tokens == 1;
    tokens = one ? 1 : spec.tile.token_tile;
    wide = registersOf16(machine);
    code_bits = matrix.layout.code_bits;
    two_level = matrix.encoding.twoLevel();
    table = matrix.encoding.table != CodeTable::none;
    mins = !matrix.encoding.isFloat() && !matrix.encoding.symmetric();
    elements = op.act_group ? op.act_group : 32;
    const KernelValue &x = spec.values[op.operands[0]];
    form = dotForm(machine, matrix.encoding, x);
    // Elements of a row that one step takes from a register of 16 rows' codes.
    bytes = form == DotForm::lanes || (form == DotForm::widened_pairs &&
                                       machine.byte_dot == ByteDot::lanes && x.codeBits() == 8);
    const int32_t step = form == DotForm::floats || form == DotForm::halves ? 1
                         : form == DotForm::widened_pairs && !bytes         ? 2
                                                                            : 4;
    steps = std::max(elements / step, 1);
    straight = form == DotForm::quads;
    if (form == DotForm::saturating_pairs)
      runs = std::max(steps / pairSteps(machine, matrix.encoding), 1);
    few = weightsPassOnce(spec, form);
    // Of bytes, one half of a register is multiplied at a time, into a whole one.
    blocks = few ? 1 : spec.tile.streams;
    codes = blocks * wide * (bytes ? 2 : 1);
    half_weights = form == DotForm::halves && matrix.encoding.isFloat();
    if (form == DotForm::halves && machine.half_products)
      codes /= 2, halves = tokens;
    sums = blocks * wide * tokens;
    dots = form == DotForm::floats ? 0 : bytes || runs > 1 ? 2 * sums : sums;
  }

  /// What the loop over steps keeps at once: sums, codes, a broadcast activation, the product where
  /// it is added by an instruction of its own, and one that the compiler needs to move things.
  double registers() const {
    const bool product = form == DotForm::saturating_pairs || form == DotForm::widened_pairs;
    return dots + sums + codes + std::max(halves, 1.0) + product + 1;
  }

  /// One activation group, all steps. `sums_wait`: other tiles come before the next group.
  Work group(const Machine &machine, bool sums_wait) const {
    const double tile = sums, over = std::max(registers() - machine.vector_registers, 0.0);
    Work step, result;
    step.multiplies = bytes ? 2 * tile : tile;
    if (straight && machine.byte_matrices && int32_t(tokens) % 2 == 0)
      step.multiplies /= 2;
    step.others = form == DotForm::widened_pairs && bytes                               ? 2 * tile
                  : form == DotForm::saturating_pairs || form == DotForm::widened_pairs ? tile
                                                                                        : 0;
    step.loads = codes + (halves > 0 ? tokens / 8 : tokens);
    if (half_weights && halves == 0) // widened where they are multiplied
      step.others += codes;
    double kept = 0; // sums that are in memory between groups
    if (over > 0 && straight) {
      // The compiler then orders the code token by token, and codes go through memory.
      step.stores = codes;
      step.loads = tokens;
      step.operands = tokens * codes;
      step.stalls = 0.1 * step.operands; // for what was stored only just now
      kept = std::max(0.0, tile - (machine.vector_registers - dots / tokens - codes - 2));
    } else if (over > 0 && form == DotForm::floats) {
      // Its only sums are those of the loop: the compiler then leaves all of them in memory.
      step.operands += tile;
      step.stores += tile;
      step.stalls = 0.5 * tile; // each waits for the store of the step before
    } else if (over > 0) {
      kept = std::min(over, tile);
      step.loads += over - kept;
      step.stores += over - kept;
    }
    if (sums_wait)
      kept = tile;
    result = steps * step;
    result.scalars = 4 + (straight ? 0 : 3.0 * steps / (form == DotForm::floats ? 1 : 2));
    if (form == DotForm::floats)
      return result;
    // Converted, scaled and added; sums of pairs are widened before.
    const double terms = mins ? 2 : 1;
    result.multiplies += tile * (1 + terms) + (form == DotForm::saturating_pairs ? runs * tile : 0);
    result.others += tile * (form == DotForm::halves             ? 0
                             : form == DotForm::lanes            ? 4
                             : form == DotForm::saturating_pairs ? 1 + runs
                                                                 : 1);
    result.loads += codes * terms + tokens * terms;
    result.operands += kept;
    result.stores += kept;
    return result;
  }

  /// Of a code that waits for tokens.
  double unpackedBytes() const {
    return form == DotForm::floats || (form == DotForm::halves && halves == 0 && !half_weights) ? 4
           : form == DotForm::halves || (form == DotForm::widened_pairs && !bytes)              ? 2
                                                                                                : 1;
  }

  /// Codes and scales of a group of one block of rows, unpacked to memory.
  Work unpack() const {
    const double vectors = elements * wide / 4; // of 16 x 4 codes of a byte
    Work result;
    if (half_weights)
      return result;
    if (form == DotForm::floats) {
      result.others = elements * wide * 3;
      result.multiplies = elements * wide;
      result.stores = elements * wide;
    } else if (code_bits < 8) {
      // Of each plane: a mask, mostly a shift; then they are put together.
      result.others = vectors * (3 * double(planesOf(code_bits).size()) - 1.5);
      result.stores = vectors;
      if (table) // and looked up, perhaps in order to be widened
        result.others += vectors;
      if (table && form == DotForm::widened_pairs && !bytes)
        result.others += 2 * vectors, result.stores += vectors;
    } else if (form == DotForm::widened_pairs) {
      result.others = vectors * (bytes ? 1 : 2);
      result.stores = vectors * (bytes ? 1 : 2);
    }
    if (form == DotForm::halves) { // widened, made floats
      result.others += elements * wide * (halves > 0 ? 1 : 2);
      result.stores = elements * unpackedBytes() * wide / 4;
    }
    const double numbers = wide * (mins ? 2 : 1); // scales, mins
    result.loads = vectors * std::min(code_bits, 8) / 8 + numbers * (two_level ? 2 : 1);
    result.others += numbers * (two_level ? 3 : 1);
    result.multiplies += two_level ? numbers : 0;
    result.stores += numbers;
    return result;
  }
};

/// Weights come from memory as several sequential reads side by side (codes, scales, minima, at
/// each place of a slice). A single one stops at each page until its fetches ahead start anew; too
/// many push each other out. Measured on Zen 3: 12 % less at 3 reads than at 6 to 8, 15 % less
/// at 12.
double weightsGbps(const Machine &machine, const KernelSpec &spec, const KernelValue &matrix) {
  constexpr double loss = 0.03; // for a read more or less
  const int32_t reads =
      bufferCount(matrix, spec.kv) * (spec.max_tokens == 1 ? spec.tile.streams : 1);
  const double off = std::abs(reads - machine.rates.memory_streams);
  return machine.rates.memory_gbps * std::max(1 - loss * off, 0.2);
}

double linearNanoseconds(const Machine &machine, const KernelSpec &spec, const KernelOp &op,
                         int64_t tokens) {
  const LinearTile tile(machine, spec, op);
  const KernelValue &matrix = spec.values[op.operands[1]];
  const double groups = double(matrix.width) / tile.elements;
  double blocks = std::ceil(double(matrix.height) / matrix.layout.rows);
  // What each of two threads computes of them, rounded up to whole places of its slice.
  const double slice = double((kernelInterface(spec).slices + 1) / 2);
  blocks *= std::ceil(slice / spec.tile.streams) * spec.tile.streams / slice;
  const double tiles =
      std::ceil(double(tile.few ? int64_t(spec.max_tokens) : tokens) / tile.tokens);
  double block = tiles * groups *
                 cycles(machine.rates, tile.group(machine, tile.few && tiles > 1)) / tile.blocks;
  // Floats are decoded for each tile anew, group by group.
  const double unpacked_times = tile.form == DotForm::floats ? tiles : 1;
  block += unpacked_times * groups * cycles(machine.rates, tile.unpack());
  // Codes of a block that the first-level cache does not hold with the activations of a tile.
  const double unpacked = tile.blocks * double(matrix.width) * 16 * tile.unpackedBytes();
  const double spill = tile.few || tile.form == DotForm::floats
                           ? 0
                           : std::max(0.0, unpacked - 0.75 * double(machine.l1_bytes));
  block += tiles * spill / 64 / tile.blocks; // a line a cycle from the second level
  // The end of the loop over groups is mispredicted, results are stored, the next tile begins.
  block += (tile.few ? 1 : tiles / tile.blocks) * 40;
  const double compute = blocks * block / machine.rates.gigahertz;
  const double memory =
      double(kernelCost(spec, tokens, 0).weight_bytes) / weightsGbps(machine, spec, matrix);
  return std::max(compute, memory) + machine.rates.unhidden * std::min(compute, memory);
}

/// Attention of many tokens: a tile of them shares every load of keys and values.
double attentionNanoseconds(const Machine &machine, const KernelSpec &spec, const KernelOp &op,
                            int64_t tokens, int64_t position) {
  const bool integers = spec.kv == CodeKind::i, one = spec.max_tokens == 1;
  // Without sums of pairs every element is multiplied and added, with them every pair.
  const double sums_of_pair = machine.word_pairs ? 1 : 2;
  const double wide = registersOf16(machine), registers = machine.vector_registers;
  const double tile = one ? std::max(op.heads / std::max(op.kv_heads, 1), 1) : spec.tile.token_tile;
  const double columns = op.head_dim / 16.0;

  // Scores of 16 keys: a pair of columns at a time, or one.
  Work pair;
  const double product = integers ? 1 : 0;
  pair.multiplies = wide * tile * (integers ? sums_of_pair : 1);
  pair.others = !integers            ? wide // the key is converted
                : machine.word_pairs ? wide * tile
                                     : 0;
  pair.loads = wide + tile;
  pair.scalars = 2;
  const double over = std::max(0.0, wide * tile + wide + 2 + product - registers);
  pair.loads += over;
  pair.stores += over;
  Work keys = (integers ? op.head_dim / 2.0 : op.head_dim) * pair;
  // Scaled, masked, maximum, exponential, sum.
  Work softmax;
  softmax.multiplies = wide * tile * 8;
  softmax.others = wide * tile * (integers ? 20 : 14);
  softmax.loads = wide * tile * (integers ? 6 : 4);
  softmax.stores = wide * tile * (integers ? 3 : 2);
  keys += softmax;

  // Values of 16 keys: columns side by side as far as registers go.
  double together = columns;
  if (integers) {
    together = 1;
    while (together * 2 <= columns && 2 * together * wide * tile <= registers * 3 / 4)
      together *= 2;
  }
  Work value;
  value.multiplies = wide * together * tile * (integers ? sums_of_pair : 1);
  value.others = !integers ? wide * together : machine.word_pairs ? wide * together * tile : 0;
  value.loads = wide * together + tile;
  value.scalars = 2;
  const double value_over =
      std::max(0.0, wide * together * tile + wide * together + 2 + product - registers);
  value.loads += value_over;
  value.stores += value_over;
  keys += ((integers ? 8 : 16) * columns / together) * value;

  // Scores and weights that the first-level cache does not hold, written and read some times.
  const double kept = tile * double(position + tokens) * 8;
  double block = cycles(machine.rates, keys);
  if (kept > 0.75 * double(machine.l1_bytes))
    block += 4 * tile * 16 * 8 / 64.0;

  // A tile of tokens attends to the keys of its last.
  const double tiles = one ? 1 : std::ceil(double(tokens) / tile);
  double blocks = 0;
  for (double i = 0; i < tiles; ++i)
    blocks += std::ceil((double(position) + std::min((i + 1) * tile, double(tokens))) / 16);
  const double heads = one ? op.heads / tile : op.heads;
  const double compute =
      heads * (blocks * block + tiles * (100 + 20 * tile)) / machine.rates.gigahertz;
  const double memory =
      double(kernelCost(spec, tokens, position).cache_bytes) / machine.rates.memory_gbps;
  return std::max(compute, memory);
}

} // namespace

std::vector<Tile> cpu::tileCandidates(const Machine &machine, const KernelSpec &spec) {
  const KernelOp *linear = findOp(spec, KernelOp::Kind::linear),
                 *attention = findOp(spec, KernelOp::Kind::attention);
  std::vector<Tile> tiles;
  if (!linear && (!attention || spec.max_tokens == 1))
    return {Tile()};
  if (spec.max_tokens == 1) {
    const int64_t slices = kernelInterface(spec).slices;
    for (int32_t streams = 1; streams <= 4 && streams * 4 <= slices; ++streams) {
      Tile &tile = tiles.emplace_back();
      tile.streams = streams;
    }
    return tiles.empty() ? std::vector<Tile>{Tile()} : tiles;
  }
  const int64_t padded = paddedTokens(spec.max_tokens);
  // Where one register holds 16 rows, several blocks share the activations that a step loads.
  const bool side_by_side = linear && spec.max_tokens > kTokenPadding &&
                            registersOf16(machine) == 1 &&
                            spec.values[linear->operands[0]].kind != KernelValue::Kind::rows;
  for (int32_t tokens = 1; tokens <= std::min(kTokenPadding, spec.max_tokens); ++tokens) {
    // A tile that reaches beyond the last token stays within the padding of the buffers.
    const bool whole = kTokenPadding % tokens == 0;
    const bool fits = (spec.max_tokens + tokens - 1) / tokens * tokens <= padded;
    Tile tile;
    tile.token_tile = tokens;
    if (attention) {
      // Its tokens are divided among threads by kTokenPadding. Scores and weights of a tile live
      // on the stack: at most 1 MiB of it.
      tile.key_tile = 16;
      if (whole && (tokens == 1 || int64_t(tokens) * spec.context * 2 * 4 <= 1 << 20))
        tiles.push_back(tile);
    } else if (whole || (spec.max_tokens < kTokenPadding && fits)) {
      tiles.push_back(tile);
      for (int32_t streams = 2; side_by_side && streams <= 3; ++streams) {
        tile.streams = streams;
        tiles.push_back(tile);
      }
    }
  }
  return tiles;
}

int32_t cpu::registersInLoop(const Machine &machine, const KernelSpec &spec) {
  if (const KernelOp *linear = findOp(spec, KernelOp::Kind::linear)) {
    const LinearTile tile(machine, spec, *linear);
    const bool waits = tile.dots > 0 && !tile.straight; // sums of groups, in memory
    return int32_t(std::ceil(tile.registers() - (waits ? tile.sums : 0)));
  }
  if (findOp(spec, KernelOp::Kind::attention) && spec.max_tokens > 1)
    return int32_t(registersOf16(machine) * (spec.tile.token_tile + 1)) +
           (spec.kv == CodeKind::i ? 3 : 2);
  return 0;
}

double cpu::estimate(const Machine &machine, const KernelSpec &spec, int64_t tokens,
                     int64_t position) {
  double nanoseconds = 0;
  for (const KernelOp &op : spec.ops)
    if (op.kind == KernelOp::Kind::linear)
      nanoseconds += linearNanoseconds(machine, spec, op, tokens);
    else if (op.kind == KernelOp::Kind::attention)
      nanoseconds += attentionNanoseconds(machine, spec, op, tokens, position);
  // What works on rows alone streams through them; it has one tile. A byte takes several
  // instructions: of the largest magnitude, of rounding.
  const KernelCost cost = kernelCost(spec, tokens, position);
  const double bytes_a_cycle = nanoseconds > 0 ? 16 : 4;
  return nanoseconds + double(cost.activation_bytes) / bytes_a_cycle / machine.rates.gigahertz + 20;
}
