// What --tune measured: lines for people, JSON for programs.
#pragma once

#include "codegen/tune/Measure.h"

#include "llvm/Support/JSON.h"

namespace ingot {

class TuneReport {
public:
  TuneReport(const Machine &machine, std::string cpu);
  /// Returns a line that says what was found.
  std::string add(llvm::StringRef name, llvm::StringRef key, int64_t launches,
                  const KernelTimes &times);
  /// A kernel that was measured in an earlier run.
  void addKnown(llvm::StringRef name, llvm::StringRef key, int64_t launches, const Tile &tile);
  /// All launches of all kernels measured in this run: the model's choice beside the fastest.
  std::string total() const;
  llvm::Error write(const std::string &path) const;

private:
  llvm::json::Object root;
  llvm::json::Array kernels;
  size_t measured = 0;
  double model_nanoseconds = 0, best_nanoseconds = 0, worst_ratio = 1;
};

} // namespace ingot
