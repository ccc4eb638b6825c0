// How a compiled program is run on this machine: as it is, or by its target's emulator.
#pragma once

#include "targets/Target.h"

namespace ingot {

/// The words before a program's path: none where programs for `target` run here. The error, which
/// begins with `option`, says that nothing here runs them and where one could `verb` them instead.
llvm::Expected<std::vector<std::string>> runnerOf(const Target &target, llvm::StringRef option,
                                                  llvm::StringRef verb);

} // namespace ingot
