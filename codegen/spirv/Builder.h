// The state of one kernel while its shader is written.
#pragma once

#include "codegen/spirv/Kernel.h"

#include <array>

namespace ingot::spirv {

constexpr int32_t threads_of_a_group = 64;

/// Rows of a block of a matrix, and how many parts a row's sum is made of: every splits-th group of
/// codes, or element; the parts are added pair by pair.
constexpr int32_t block_rows = 16, splits = threads_of_a_group / block_rows;

/// Rows of floats, computed where they are asked for.
struct Rows {
  int64_t width = 0;
  std::function<Num(Num column, Num token)> at;
};

/// Quantized rows: words of 4 codes, or of 2 that are halves; scales (f32) and sums of codes (i32,
/// of halves f32) of groups.
struct Quant {
  int32_t group = 32;
  bool halves = false;
  std::function<Num(Num word, Num token)> codes;
  std::function<Num(Num group, Num token)> scale, sum;
};

struct Value {
  Rows rows;
  Quant quant;
};

/// A packed matrix (PackedLayout), by words: a step of a group is a word of 4 codes, a byte each,
/// whose bits are in as many words as codes have planes.
class Matrix {
public:
  Matrix(Code &code, const KernelValue &value, int32_t first_binding);

  const KernelValue &value;
  int64_t group, groups; ///< elements of a weight group, groups of a row
  int64_t steps = 0;     ///< of a group
  /// Words of a group that lie in the same place of each of their planes make a turn: of the steps
  /// index, index + turns, index + 2 * turns ... Each word is of one turn only.
  int64_t turns = 1, steps_of_turn = 1;

  /// A step's codes as they are stored.
  Num codes(Num block, Num row, Num in_group, Num step) const;
  /// The step of a group that meets word `word` of `words` of a group of activations.
  Num stepOf(Num activation_group, int64_t words, Num word) const;
  /// The codes of turn `index`, step by step.
  std::vector<Num> turn(Num block, Num row, Num in_group, Num index) const;
  /// What stands for words of 4 codes: themselves, or bytes of the table.
  Num numbers(Num word) const;
  /// What scales and mins of a super-block are multiplied with where they have two levels.
  struct Multipliers {
    Num scale, min;
  };
  Multipliers multipliers(Num block, Num row, Num super_block) const;
  /// Those of the group's super-block are read where they are not given.
  Num scale(Num block, Num row, Num in_group, const Multipliers &known = {}) const;
  Num min(Num block, Num row, Num in_group, const Multipliers &known = {}) const;
  /// Of float matrices: element k.
  Num element(Num block, Num row, Num k) const;
  /// code * scale + min
  Num decode(Num code, Num scale, Num min) const;

private:
  struct Plane {
    int32_t bits, shift;  ///< of a code: how many, and above which others
    int64_t first, words; ///< of a group's words: those of the plane
  };
  Num word(Num block, Num row, Num in_group, Num index) const;
  Num field(Num word, const Plane &plane, Num down) const;
  Num number(int32_t binding, CodeKind type, Num index) const;
  Num byte(int32_t binding, Num index) const;
  Num scaleOrMin(bool min, Num block, Num row, Num in_group, Num known) const;
  Code &code;
  int32_t binding;
  std::vector<Plane> planes; ///< lowest bits first
  int64_t group_words = 0;   ///< of a row in a group
  Shared table;              ///< where there is one: how far each of its numbers is above the least
};

class Builder {
public:
  Builder(mlir::MLIRContext &context, const KernelSpec &spec, bool per_sequence,
          const Features &features);
  llvm::Expected<DeviceKernel> build();

private:
  llvm::Error fail(const llvm::Twine &message);

  // Rows.cpp
  void declareInput(int32_t index);
  llvm::Error rowsOp(const KernelOp &op);
  void embedding(const KernelOp &op);
  void rmsNorm(const KernelOp &op);
  void rope(const KernelOp &op);
  void ropeAngles(const KernelOp &op);
  llvm::Error quantize(const KernelOp &op);
  void roundToHalves(const KernelOp &op);
  void scaleGroups(int64_t width, int in_word, int64_t words,
                   const std::function<Num(Num, int)> &element, const Shared &codes,
                   const Shared &scales, const std::function<Num(Num)> &scale);
  void storeRows(int32_t output);
  void storeQuant(int32_t output);
  /// `combine` over what each invocation has: the same for all. In a loop, the caller has a barrier
  /// of its own between one time and the next.
  Num overThreads(Num own, const std::function<Num(Num, Num)> &combine);
  // Linear.cpp
  using TokenAt = std::function<Num(int32_t)>;
  llvm::Error linear(const KernelOp &op);
  /// Blocks of rows that become one of the result: where gated, of gates and of ups.
  int32_t partsOfUnit() const;
  /// Stores what the kernel makes of the sums of a row, part by part of the unit.
  void storeSums(const KernelOp &op, Num column, Num of_token, const std::array<Num, 2> &sums);
  /// What a token's group of codes adds beside products: to their sum, and with minima.
  struct GroupTerms {
    Num scale, offset, weighted; ///< null: nothing
  };
  /// Of codes that were stored `less` below what they are.
  GroupTerms groupTerms(const Encoding &encoding, Num scale, Num sum, int32_t less = 0);
  /// `sum` and the group's products, `dot` (i32, of halves f32).
  Num addGroup(Num sum, Num dot, Num scale, Num min, const GroupTerms &terms);
  /// `body` for every `step`-th of `count` places along row `row` of `blocks`, from `first` on.
  /// Where scales have two levels, what those of a super-block are multiplied with is read once for
  /// each block.
  void alongRow(const Matrix &matrix, const std::vector<Num> &blocks, Num row, Num first,
                int64_t count, int64_t step,
                const std::function<void(Num, llvm::ArrayRef<Matrix::Multipliers>)> &body);
  /// Add to sums[part][token] what rows `row` of `blocks` give; every splits-th part of the sum.
  void sumCodes(const Matrix &matrix, const Quant &x, Num row, Num split,
                const std::vector<Num> &blocks, int32_t tokens, const TokenAt &tokenAt,
                std::vector<Local> &sums);
  void sumFloats(const Matrix &matrix, const Rows &x, Num row, Num split,
                 const std::vector<Num> &blocks, int32_t tokens, const TokenAt &tokenAt,
                 std::vector<Local> &sums);
  // Products.cpp
  llvm::Error linearByProducts(const KernelOp &op, const Matrix &matrix);
  // Attention.cpp
  /// What a part of the keys gives: the largest score, and sums that depend on it.
  struct Partial {
    Local largest, total;
    std::vector<Local> values; ///< of this invocation's elements: thread, thread + threads ...
  };
  llvm::Error attention(const KernelOp &op);
  Partial partial(size_t values);
  void clear(const Partial &part);
  /// Adds a part behind those that `whole` has.
  void merge(const Partial &whole, Num largest, Num total,
             const std::function<Num(size_t)> &valueOf);
  llvm::Error append(const KernelOp &op);
  Num positionOf(Num token);
  /// Word of the cache's `part` where the sequence of `token` begins.
  Num cacheStart(int32_t value, int32_t part, Num token);

  int32_t binding(int32_t value, int32_t part = 0) const;

  const KernelSpec &spec;
  const bool per_sequence;
  const KernelInterface interface;
  const int64_t scratch_bytes; ///< for each token
  Code code;
  std::vector<Value> values;
  Grid grid;
  Num token; ///< of this workgroup
};

} // namespace ingot::spirv
