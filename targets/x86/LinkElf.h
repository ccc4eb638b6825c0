// The link recipe of x86-64 Linux: one static ELF.
#pragma once

#include "targets/Target.h"

namespace ingot::x86 {

/// The front of the weights' file: ELF header and padding up to the page on which weights start.
/// In memory they lie as far behind a huge page as in the file.
constexpr uint64_t weights_reserve = 4096;

/// Errors: what the linker said, or what the system said of `inputs.weights`.
llvm::Error linkElf(const LinkInputs &inputs);

/// A shared object of `objects`, for dlopen.
llvm::Error linkShared(const std::vector<std::string> &objects, const std::string &output);

} // namespace ingot::x86
