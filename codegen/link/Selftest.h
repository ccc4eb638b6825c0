// What a compiled program's --selftest replays: a text, and what the reference interpreter says
// comes behind each of its tokens. It is computed when the model is compiled, without the program,
// so that programs for any machine have it, and the same one.
#pragma once

#include "runtime/manifest_generated.h"

#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"

#include <functional>
#include <string>
#include <vector>

namespace ingot {

/// As the manifest has it.
struct SelftestRecord {
  std::string text;
  std::vector<int32_t> tokens;
  std::vector<manifest::Likely> likely;
  std::vector<float> log_sum_exp;
  float largest_logit = 0;
};

constexpr int64_t kMostSelftestTokens = 64;

/// As many tokens as the interpreter evaluates in some 3 seconds, at most 16: for 135M parameters
/// 16 (0.8 s), for 1B 3, from 1.5B on none.
int64_t defaultSelftestTokens(uint64_t parameters);

/// The first `count` tokens of the recorded text, by a manifest's tokenizer; fewer where the text
/// has no more.
std::vector<int32_t> selftestTokens(llvm::StringRef manifest, int64_t count);

/// Runs `@forward` of `reference` on the tokens. `weights_read` is called when weights have been
/// read: their pages of the file may go.
llvm::Expected<SelftestRecord> recordSelftest(mlir::ModuleOp reference, std::vector<int32_t> tokens,
                                              const std::function<void()> &weights_read);

} // namespace ingot
