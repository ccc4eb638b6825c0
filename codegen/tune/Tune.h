// --tune: tiles that are measured on this machine instead of taken from the machine model.
#pragma once

#include "codegen/cache/KernelCache.h"
#include "support/Files.h"
#include "support/Progress.h"
#include "targets/Target.h"

#include "mlir/IR/BuiltinOps.h"

namespace ingot {

struct TuneOptions {
  bool measure = false; ///< --tune; without it the file's tiles are used as they are
  double seconds = 60;  ///< for all kernels; those left keep the model's choice
  std::string file;     ///< of measured tiles (TileFile.h); empty: none is read or written
  std::string report;   ///< JSON of what was measured; empty: none

  /// The file that --tune keeps its results in when none is named; empty without a cache.
  static std::string defaultFile(llvm::StringRef cache_folder, const Target &target);
};

/// Gives the kernels of a lowered module their measured tiles. After each kernel that it measures
/// it writes the file, so that a run that ends early is continued by the next one.
llvm::Error tuneKernels(mlir::ModuleOp module, const Target &target, const TuneOptions &options,
                        const KernelCache &cache, const ScratchFolder &scratch, Progress &progress);

} // namespace ingot
