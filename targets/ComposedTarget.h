// A target made of several of one family: a program for it carries the kernels of each.
#pragma once

#include "targets/Target.h"

namespace ingot {

/// `parts`: best first, at least one. The error names what about them cannot be shared.
llvm::Expected<std::unique_ptr<Target>> composeTargets(llvm::StringRef name,
                                                       std::vector<std::unique_ptr<Target>> parts);

} // namespace ingot
