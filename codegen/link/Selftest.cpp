#include "codegen/link/Selftest.h"

#include "dialects/lm/Lm.h"
#include "dialects/lm/interpreter/Interpreter.h"
#include "runtime/text/tokenizer.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace ingot {
namespace {

// Words, numbers and other signs, so that its tokens are of many kinds.
constexpr llvm::StringLiteral text =
    "The capital of France is Paris. In 1897 a mill was built on its western bank; by 1911 it gave "
    "work to 300 people, who wrote: \"total += values[i] * 2;\" and went home at 8 o'clock.";

constexpr int64_t ranks = 16; // most likely tokens that are kept
constexpr int64_t most_tokens = 16;
constexpr double token_parameters = 3e9; // tokens * parameters

} // namespace

int64_t defaultSelftestTokens(uint64_t parameters) {
  const double fit = token_parameters / double(std::max<uint64_t>(parameters, 1));
  return fit < 2 ? 0 : std::min<int64_t>(most_tokens, int64_t(fit));
}

std::vector<int32_t> selftestTokens(llvm::StringRef manifest, int64_t count) {
  const ingot_tokenizer tokenizer{manifest::GetManifest(manifest.data())->tokenizer()};
  std::vector<int32_t> scratch(ingot_tokenizer_scratch_bytes(text.size()) / sizeof(int32_t) + 1);
  std::vector<int32_t> tokens(text.size() + 1);
  const int32_t made = ingot_tokenizer_encode(
      &tokenizer, text.data(), text.size(), /*parse_special=*/false, scratch.data(),
      scratch.size() * sizeof(int32_t), tokens.data(), static_cast<int32_t>(tokens.size()));
  tokens.resize(std::clamp<int64_t>(count, 0, std::max(made, 0)));
  return tokens;
}

llvm::Expected<SelftestRecord> recordSelftest(mlir::ModuleOp reference, std::vector<int32_t> tokens,
                                              const std::function<void()> &weights_read) {
  lm::Interpreter interpreter(reference);
  interpreter.observe([&](mlir::Operation &op, auto) {
    if (isa<lm::EmbeddingOp, lm::LinearOp, lm::LogitsOp>(op))
      weights_read();
  });
  auto rows = interpreter.run("forward", tokens, 0);
  if (!rows)
    return rows.takeError();
  SelftestRecord record;
  record.text = text.str();
  record.tokens = std::move(tokens);
  const int64_t kept = std::min(ranks, rows->columns);
  std::vector<int32_t> order(rows->columns);
  for (int64_t t = 0; t < rows->tokens; ++t) {
    const float *logits = rows->row(t);
    std::iota(order.begin(), order.end(), 0);
    std::partial_sort(order.begin(), order.begin() + kept, order.end(), [&](int32_t a, int32_t b) {
      return logits[a] > logits[b] || (logits[a] == logits[b] && a < b);
    });
    for (int64_t rank = 0; rank < kept; ++rank)
      record.likely.emplace_back(order[rank], logits[order[rank]]);
    const double largest = logits[order[0]];
    double sum = 0;
    for (int64_t i = 0; i < rows->columns; ++i) {
      sum += std::exp(logits[i] - largest);
      record.largest_logit = std::max(record.largest_logit, std::fabs(logits[i]));
    }
    record.log_sum_exp.push_back(float(largest + std::log(sum)));
  }
  return record;
}

} // namespace ingot
