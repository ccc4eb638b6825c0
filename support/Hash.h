// Content hashes: of model files (manifest) and of kernels (cache).
#pragma once

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"

#include <string>

namespace ingot {

/// XXH3-128 as 32 hex digits. Finds changes and accidents, not forgeries.
std::string hashBytes(llvm::ArrayRef<uint8_t> bytes);
inline std::string hashBytes(llvm::StringRef bytes) {
  return hashBytes(llvm::ArrayRef(reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size()));
}

} // namespace ingot
