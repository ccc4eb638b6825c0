// The smallest model in which two sides still differ: operations are left out as long as the
// difference stays, and both sides are compiled and run anew each time.
#pragma once

#include "codegen/Compile.h"
#include "codegen/compare/Compare.h"

#include <optional>

namespace ingot {

/// One side: how its program is compiled and run.
struct ReduceSide {
  CompileOptions compile;          ///< but for `model` and `output`
  std::vector<std::string> runner; ///< the words before the program's path (codegen/Runner.h)
  std::string isa;
};

struct ReduceRequest {
  std::string model;   ///< GGUF file, or a module file
  std::string output;  ///< module file to write
  LayerRequest layers; ///< tokens and step
  double bound = 0;
  ReduceSide a;
  std::optional<ReduceSide> b; ///< nothing: the reference, which follows A
};

struct Reduction {
  int64_t operations = 0, operations_before = 0; ///< of @forward
  std::vector<int32_t> tokens;
  Comparison comparison; ///< of what is left
  int64_t runs = 0;
};

/// The error says when nothing differs in programs that are compiled anew.
llvm::Expected<Reduction> reduceDifference(const ReduceRequest &request);

} // namespace ingot
