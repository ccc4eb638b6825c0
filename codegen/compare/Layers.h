// What each launch of a step computes: of a compiled program, which writes it with --layers, or of
// the reference interpreter, which runs the same launches.
#pragma once

#include "codegen/Compile.h"
#include "runtime/manifest_generated.h"

#include "llvm/Support/Error.h"

#include <string>
#include <vector>

namespace ingot {

/// A result that is rows of floats. Behind several evaluations of one token, row after row.
struct LayerValue {
  int64_t launch = 0; ///< index into the launches and barriers of the step
  int64_t layer = 0;  ///< manifest Launch.layer
  std::string kernel;
  int64_t columns = 0;
  std::vector<float> data; ///< [rows][columns]
};

struct LayerTrace {
  std::string name; ///< of what computed it
  std::vector<LayerValue> values;
};

/// A step of the program. "score", "prefill": all tokens at once; "decode": one after the other;
/// "decode8": of 8 sequences, of which sequence j begins with token j of the list and ends with the
/// j first ones.
struct LayerRequest {
  std::vector<int32_t> tokens;
  std::string step = "score", isa;
};

/// How the program was compiled, as far as its manifest says.
CompileOptions compileOptionsOf(const manifest::Manifest &manifest);

/// Runs the program (a path) with the kernels for `isa`, empty: its best ones. `runner`: the words
/// before it (codegen/Runner.h).
llvm::Expected<LayerTrace> traceProgram(llvm::ArrayRef<std::string> runner, llvm::StringRef program,
                                        const LayerRequest &request);

/// Lowers the model as a program of those options, and interprets the step. Each launch takes what
/// the launches of `follow` before it gave, so that what differs is its own.
llvm::Expected<LayerTrace> traceReference(llvm::StringRef model, const CompileOptions &like,
                                          const LayerRequest &request, const LayerTrace &follow);

} // namespace ingot
