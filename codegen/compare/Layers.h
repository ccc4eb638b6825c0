// What each launch of a step computes: of a compiled program, which writes it with --layers, or of
// the reference interpreter, which runs the same launches.
#pragma once

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

/// "score": all tokens in one step; "decode": one after the other.
struct LayerRequest {
  std::vector<int32_t> tokens;
  std::string step = "score", isa;
};

/// Runs the program (a file of this machine) with the kernels for `isa`, empty: its best ones.
llvm::Expected<LayerTrace> traceProgram(llvm::StringRef program, const LayerRequest &request);

/// Lowers the model as the program was compiled, whose manifest says how, and interprets the step.
/// Each launch takes what the launches of `follow` before it gave, so that what differs is its own.
llvm::Expected<LayerTrace> traceReference(llvm::StringRef model, const manifest::Manifest &like,
                                          const LayerRequest &request, const LayerTrace &follow);

} // namespace ingot
