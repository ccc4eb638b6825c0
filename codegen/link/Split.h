// Packed weights that stay in a file of their own (runtime/core/weights.h).
#pragma once

#include "llvm/Support/Error.h"

#include <string>

namespace ingot {

/// Completes a file of packed weights, which begin behind `reserve` free bytes. Gives their hash,
/// 32 hex digits.
llvm::Expected<std::string> sealWeights(const std::string &path, uint64_t reserve, uint64_t bytes);

} // namespace ingot
