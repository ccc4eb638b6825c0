#include "codegen/Verify.h"

#include "dialects/lm/interpreter/Interpreter.h"
#include "support/Error.h"
#include "support/Npy.h"

#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Program.h"

#include <cmath>

namespace ingot {
namespace {

// Prose, numbers, code and another language, so that the tokens are of many kinds.
constexpr const char *sample =
    "The river rises in the hills north of the town and flows for 64 miles before it meets the "
    "sea. "
    "In 1897 a mill was built on its western bank; by 1911 it gave work to three hundred people. "
    "for (int i = 0; i < 10; i++) { total += values[i] * 2; }  Der Zug kommt um acht Uhr an. "
    "Question: what is the boiling point of water at sea level? Answer: 100 degrees Celsius. ";

double logSumExp(const float *x, int64_t n) {
  const double peak = *std::max_element(x, x + n);
  double sum = 0;
  for (int64_t i = 0; i < n; ++i)
    sum += std::exp(x[i] - peak);
  return peak + std::log(sum);
}

/// Runs the program; the error carries what it wrote to standard error.
llvm::Expected<std::string> runProgram(llvm::ArrayRef<std::string> program,
                                       std::vector<std::string> arguments) {
  llvm::SmallString<128> out, err;
  if (llvm::sys::fs::createTemporaryFile("ingot-verify", "out", out) ||
      llvm::sys::fs::createTemporaryFile("ingot-verify", "err", err))
    return inputError("", "--verify", "cannot make temporary files");
  llvm::FileRemover remove_out(out), remove_err(err);
  std::vector<llvm::StringRef> argv(program.begin(), program.end());
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  std::optional<llvm::StringRef> redirects[] = {llvm::StringRef(""), out.str(), err.str()};
  std::string message;
  const int code =
      llvm::sys::ExecuteAndWait(program.front(), argv, std::nullopt, redirects, 0, 0, &message);
  auto text = [](llvm::StringRef path) {
    auto buffer = llvm::MemoryBuffer::getFile(path);
    return buffer ? (*buffer)->getBuffer().str() : std::string();
  };
  if (code)
    return inputError("", "--verify",
                      "the compiled program failed (" + llvm::Twine(code) + "): " + message +
                          text(err));
  return text(out);
}

llvm::Expected<std::vector<int32_t>> sampleTokens(llvm::ArrayRef<std::string> program,
                                                  int64_t count) {
  auto ids = runProgram(program, {"--tokenize", sample});
  if (!ids)
    return ids.takeError();
  auto tokens = parseTokens(*ids);
  if (!tokens)
    return tokens.takeError();
  const size_t once = tokens->size();
  while (static_cast<int64_t>(tokens->size()) < count)
    tokens->push_back((*tokens)[tokens->size() % once]);
  tokens->resize(count);
  return tokens;
}

} // namespace

LogitComparison compareLogits(const float *program, const float *reference, int64_t tokens,
                              int64_t vocab) {
  LogitComparison result;
  result.tokens = tokens;
  std::vector<double> divergences;
  int64_t agreed = 0;
  for (int64_t t = 0; t < tokens; ++t) {
    const float *p = program + t * vocab, *r = reference + t * vocab;
    const double log_p = logSumExp(p, vocab), log_r = logSumExp(r, vocab);
    double divergence = 0;
    for (int64_t i = 0; i < vocab; ++i) {
      result.max_error = std::max<double>(result.max_error, std::fabs(p[i] - r[i]));
      result.max_logit = std::max<double>(result.max_logit, std::fabs(r[i]));
      divergence += std::exp(r[i] - log_r) * ((r[i] - log_r) - (p[i] - log_p));
      result.finite &= std::isfinite(p[i]);
    }
    divergences.push_back(divergence);
    agreed += std::max_element(p, p + vocab) - p == std::max_element(r, r + vocab) - r;
  }
  llvm::sort(divergences);
  for (double d : divergences)
    result.mean_kl += d / double(tokens);
  result.p99_kl = divergences[std::min<size_t>(divergences.size() - 1, tokens * 99 / 100)];
  result.top1_agreement = double(agreed) / double(tokens);
  return result;
}

llvm::Expected<VerifyReport> compareWithReference(mlir::ModuleOp reference,
                                                  llvm::ArrayRef<std::string> program,
                                                  llvm::StringRef variant, int64_t count,
                                                  Activations activations) {
  auto tokens = sampleTokens(program, count);
  if (!tokens)
    return tokens.takeError();
  llvm::SmallString<128> list, logits;
  if (llvm::sys::fs::createTemporaryFile("ingot-verify", "txt", list) ||
      llvm::sys::fs::createTemporaryFile("ingot-verify", "npy", logits))
    return inputError("", "--verify", "cannot make temporary files");
  llvm::FileRemover remove_list(list), remove_logits(logits);
  {
    std::error_code error;
    llvm::raw_fd_ostream stream(list, error);
    llvm::interleaveComma(*tokens, stream);
  }
  auto ran = runProgram(program, {"--isa", variant.str(), "--tokens", "@" + list.str().str(),
                                  "--logits", logits.str().str()});
  if (!ran)
    return ran.takeError();
  auto ours = readNpy(logits);
  if (!ours)
    return ours.takeError();
  lm::Interpreter interpreter(reference);
  auto expected = interpreter.run("forward", *tokens, 0);
  if (!expected)
    return expected.takeError();
  if (ours->rows != expected->tokens || ours->columns != expected->columns)
    return inputError("", "--verify", "the program gives logits of another shape");

  const LogitComparison c =
      compareLogits(ours->data.data(), expected->data.data(), ours->rows, ours->columns);
  VerifyReport report;
  const bool rounded = activations != Activations::f32;
  report.passed = c.finite && (rounded ? c.mean_kl <= meanKlBound(activations)
                                       : c.max_error <= kErrorBound * c.max_logit);
  llvm::raw_string_ostream(report.text)
      << llvm::format("verified on %d tokens: max error %.3g (of max |logit| %.3g), mean KL %.3g, "
                      "99th percentile %.3g, top-1 agreement %.1f %%; bound: ",
                      int(c.tokens), c.max_error, c.max_logit, c.mean_kl, c.p99_kl,
                      100 * c.top1_agreement)
      << llvm::format(rounded ? "mean KL <= %g" : "max error <= %g of max |logit|",
                      rounded ? meanKlBound(activations) : kErrorBound)
      << (report.passed ? "" : " -- FAILED");
  return report;
}

} // namespace ingot
