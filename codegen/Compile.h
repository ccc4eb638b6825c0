// From a model file to a program: the compiler's main line.
#pragma once

#include "codegen/predict/Predict.h"
#include "codegen/tune/Tune.h"
#include "passes/Passes.h"
#include "support/Progress.h"

#include "llvm/Support/Error.h"

#include <optional>
#include <string>

namespace ingot {

enum class Emit { exe, shared, object, llvm, mlir }; // what is linked comes first

struct CompileOptions {
  std::string model, output;
  LoweringOptions lowering;
  int64_t context = 0;             ///< tokens; 0: the model's own, at most default_context
  CodeKind kv_cache = CodeKind::i; ///< elements: i (16 bits), f16 or f32
  Emit emit = Emit::exe;
  bool split = false;                        ///< weights in a file beside the output, see splitFile
  std::string symbol = "ingot_main_program"; ///< what the program is called in a library
  std::string header;                        ///< C header to write; empty: none
  /// Makefile rule to write: what was read. Where there is one, a build tool is at work, for which
  /// nothing that could be taken for the result is left after an error.
  std::string depfile;
  std::string dump_after;     ///< print the IR after this pass (or "import") to standard output
  std::string cache_folder;   ///< of compiled kernels; empty: none
  std::string runtime_folder; ///< what programs are linked with
  TuneOptions tune;
  /// Print what the machine model says of speed and memory, and write nothing.
  std::optional<PredictRequest> predict;
  bool predict_json = false;
  bool verify = false; ///< compare it with the interpreter before publishing it
  int64_t verify_tokens = 64;
  /// How many tokens a program's --selftest replays; -1: what the reference interpreter does in
  /// some seconds, perhaps none.
  int64_t selftest_tokens = -1;
  ProgressForm progress = ProgressForm::bar;

  static constexpr int64_t default_context = 2048;
};

/// The file of weights that belongs to `output`: its name with ".weights" in place of ".o" or
/// ".so", or behind it.
std::string splitFile(llvm::StringRef output);

/// Compiles, or predicts. `output` appears complete, or not at all; what had its name stays (but
/// see depfile).
llvm::Error compileModel(const CompileOptions &options);

} // namespace ingot
