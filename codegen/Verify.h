// Compares a compiled program with the reference interpreter on the same tokens.
#pragma once

#include "dialects/lm/Encoding.h"

#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"

#include <string>

namespace ingot {

/// How two sets of logits differ. KL is KL(reference || program) in nats, over the vocabulary.
struct LogitComparison {
  int64_t tokens = 0;
  double max_error = 0; ///< max |difference|
  double max_logit = 0; ///< max |logit| of the reference
  double mean_kl = 0, p99_kl = 0;
  double top1_agreement = 0; ///< 0 .. 1
  bool finite = true;
};

/// `program` and `reference` are [tokens, vocab], row after row.
LogitComparison compareLogits(const float *program, const float *reference, int64_t tokens,
                              int64_t vocab);

/// What a program may differ by. With integer activations: mean KL. With fp32 ones: the largest
/// error, as a share of the reference's largest logit.
constexpr double kErrorBound = 1e-3;
constexpr double meanKlBound(Activations rounded) {
  return rounded == Activations::int8 ? 0.02 : 1e-4;
}

struct VerifyReport {
  std::string text; ///< what to print, bounds included
  bool passed = false;
};

/// Runs the kernels for `variant` of `program` (the command: a file, or an emulator and a file) and
/// `@forward` of `reference` on `tokens` tokens of a text.
llvm::Expected<VerifyReport> compareWithReference(mlir::ModuleOp reference,
                                                  llvm::ArrayRef<std::string> program,
                                                  llvm::StringRef variant, int64_t tokens,
                                                  Activations activations);

} // namespace ingot
