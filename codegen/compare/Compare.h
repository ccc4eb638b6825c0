// Where two traces of the same launches differ: the first launch beyond a bound, and the error by
// layer.
#pragma once

#include "codegen/compare/Layers.h"

#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"

#include <optional>

namespace ingot {

/// How a result of A is away from B's.
struct ValueDifference {
  int64_t launch = 0, layer = 0;
  std::string kernel;
  double relative = 0;         ///< root of (sum of squared differences / sum of B's squares)
  double largest = 0;          ///< difference
  int64_t row = 0, column = 0; ///< where it is
  int64_t not_finite = 0;      ///< of A's values
};

/// Where the largest logits are those of other tokens.
struct TokenDifference {
  int64_t row = 0;                   ///< of the logits
  int64_t a = 0, b = 0;              ///< tokens
  double margin_a = 0, margin_b = 0; ///< by which each prefers its own to the other's
};

struct Comparison {
  std::string a, b;
  double bound = 0;
  std::vector<ValueDifference> values;
  std::vector<TokenDifference> tokens;
  std::optional<size_t> first; ///< of the values: beyond the bound, or not finite
};

/// The error says where the two run other launches.
llvm::Expected<Comparison> compareLayers(const LayerTrace &a, const LayerTrace &b, double bound);

void printComparison(const Comparison &comparison, llvm::raw_ostream &out);
llvm::json::Object comparisonJson(const Comparison &comparison);

} // namespace ingot
