#include "codegen/compare/Compare.h"

#include "support/Error.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Format.h"

#include <algorithm>
#include <cmath>

namespace ingot {
namespace {

namespace json = llvm::json;

/// What it computes, for steps of any width: "linear_960x576_u4g32_t192" without "_t192".
llvm::StringRef baseName(llvm::StringRef kernel) {
  const size_t at = kernel.rfind("_t");
  return at != llvm::StringRef::npos && !kernel.substr(at + 2).empty() &&
                 llvm::all_of(kernel.substr(at + 2), [](char c) { return llvm::isDigit(c); })
             ? kernel.take_front(at)
             : kernel;
}

ValueDifference difference(const LayerValue &a, const LayerValue &b) {
  ValueDifference result;
  result.launch = b.launch;
  result.layer = b.layer;
  result.kernel = b.kernel;
  double squares = 0, all = 0;
  for (size_t i = 0; i < b.data.size(); ++i) {
    if (!std::isfinite(a.data[i])) {
      if (!result.not_finite++) {
        result.row = int64_t(i) / b.columns;
        result.column = int64_t(i) % b.columns;
      }
      continue;
    }
    const double delta = double(a.data[i]) - double(b.data[i]);
    squares += delta * delta;
    all += double(b.data[i]) * double(b.data[i]);
    if (std::fabs(delta) > result.largest && !result.not_finite) {
      result.largest = std::fabs(delta);
      result.row = int64_t(i) / b.columns;
      result.column = int64_t(i) % b.columns;
    }
  }
  result.relative = squares > 0 ? std::sqrt(squares / std::max(all, 1e-300)) : 0;
  return result;
}

/// Of values that are logits.
std::vector<TokenDifference> tokenDifferences(const LayerValue &a, const LayerValue &b) {
  std::vector<TokenDifference> result;
  for (size_t at = 0; at < b.data.size(); at += size_t(b.columns)) {
    const float *of_a = a.data.data() + at, *of_b = b.data.data() + at;
    const int64_t first_a = std::max_element(of_a, of_a + b.columns) - of_a,
                  first_b = std::max_element(of_b, of_b + b.columns) - of_b;
    if (first_a != first_b)
      result.push_back({int64_t(at) / b.columns, first_a, first_b,
                        double(of_a[first_a]) - double(of_a[first_b]),
                        double(of_b[first_b]) - double(of_b[first_a])});
  }
  return result;
}

std::string layerName(int64_t layer) {
  return layer == -1 ? "embedding" : layer < 0 ? "output" : std::to_string(layer);
}

std::string describe(const ValueDifference &value) {
  std::string text;
  llvm::raw_string_ostream out(text);
  out << value.kernel
      << llvm::format(": relative error %.3g, largest %.3g", value.relative, value.largest)
      << " at token " << value.row << ", column " << value.column;
  if (value.not_finite)
    out << ", " << value.not_finite << " values are not finite";
  return text;
}

} // namespace

llvm::Expected<Comparison> compareLayers(const LayerTrace &a, const LayerTrace &b, double bound) {
  Comparison result{a.name, b.name, bound, {}, {}, std::nullopt};
  for (size_t i = 0; i < std::max(a.values.size(), b.values.size()); ++i) {
    auto name = [&](const LayerTrace &trace) {
      return i < trace.values.size() ? baseName(trace.values[i].kernel).str() + " in layer " +
                                           layerName(trace.values[i].layer)
                                     : "nothing";
    };
    if (name(a) != name(b) || a.values[i].data.size() != b.values[i].data.size())
      return inputError("", "",
                        "the two do not run the same launches: " + name(a) + " and " + name(b),
                        "compile both with the same options but for --target");
    result.values.push_back(difference(a.values[i], b.values[i]));
    const ValueDifference &value = result.values.back();
    if (!result.first && (value.not_finite || value.relative > bound))
      result.first = i;
  }
  if (!b.values.empty()) // every step ends with logits
    result.tokens = tokenDifferences(a.values.back(), b.values.back());
  return result;
}

void printComparison(const Comparison &comparison, llvm::raw_ostream &out) {
  out << "A: " << comparison.a << "\nB: " << comparison.b
      << "\n\nlayer      largest relative error, in\n";
  for (size_t i = 0; i < comparison.values.size();) {
    const int64_t layer = comparison.values[i].layer;
    const ValueDifference *worst = nullptr;
    bool beyond = false;
    for (; i < comparison.values.size() && comparison.values[i].layer == layer; ++i) {
      const ValueDifference &value = comparison.values[i];
      if (!worst || value.not_finite || (!worst->not_finite && value.relative > worst->relative))
        worst = &value;
      beyond |= value.not_finite || value.relative > comparison.bound;
    }
    out << llvm::left_justify(layerName(layer), 11) << llvm::format("%-10.3g", worst->relative)
        << worst->kernel << (beyond ? "  <-- beyond the bound" : "") << "\n";
  }
  out << "\n";
  for (const TokenDifference &token : comparison.tokens)
    out << "behind token " << token.row << ", A prefers " << token.a << " to " << token.b << " by "
        << llvm::format("%.3g, B %lld to %lld by %.3g\n", token.margin_a, (long long)token.b,
                        (long long)token.a, token.margin_b);
  if (!comparison.first) {
    out << "no value differs by more than " << llvm::format("%g", comparison.bound) << "\n";
    return;
  }
  const size_t first = *comparison.first;
  out << "first beyond " << llvm::format("%g", comparison.bound) << ": layer "
      << layerName(comparison.values[first].layer) << ", launch " << comparison.values[first].launch
      << ", " << describe(comparison.values[first]) << "\n";
  if (first)
    out << "before it: layer " << layerName(comparison.values[first - 1].layer) << ", launch "
        << comparison.values[first - 1].launch << ", " << describe(comparison.values[first - 1])
        << "\n";
}

json::Object comparisonJson(const Comparison &comparison) {
  json::Array values;
  for (const ValueDifference &value : comparison.values)
    values.push_back(json::Object{{"launch", value.launch},
                                  {"layer", layerName(value.layer)},
                                  {"kernel", value.kernel},
                                  {"relative_error", value.relative},
                                  {"largest_error", value.largest},
                                  {"token", value.row},
                                  {"column", value.column},
                                  {"not_finite", value.not_finite}});
  json::Array tokens;
  for (const TokenDifference &token : comparison.tokens)
    tokens.push_back(json::Object{{"token", token.row},
                                  {"a", token.a},
                                  {"b", token.b},
                                  {"margin_a", token.margin_a},
                                  {"margin_b", token.margin_b}});
  return json::Object{
      {"a", comparison.a},
      {"b", comparison.b},
      {"bound", comparison.bound},
      {"first", comparison.first ? json::Value(int64_t(*comparison.first)) : json::Value(nullptr)},
      {"values", std::move(values)},
      {"tokens", std::move(tokens)}};
}

} // namespace ingot
