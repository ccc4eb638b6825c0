// Content hashes: of model files (manifest) and of kernels (cache).
#pragma once

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/StringRef.h"

#include <array>
#include <string>
#include <vector>

namespace ingot {

/// XXH3-128 as 32 hex digits. Finds changes and accidents, not forgeries.
std::string hashBytes(llvm::ArrayRef<uint8_t> bytes);
inline std::string hashBytes(llvm::StringRef bytes) {
  return hashBytes(llvm::ArrayRef(reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size()));
}

/// The hash of a large file, of which each byte is read once, whenever it is needed for something
/// else: hashBytes of the XXH3-128s of its pieces of `piece_bytes` (each as 16 bytes, big-endian).
class PieceHash {
public:
  static constexpr uint64_t piece_bytes = 4 << 20;

  explicit PieceHash(llvm::ArrayRef<uint8_t> bytes);
  /// Hashes the pieces that `range`, a part of the bytes, touches, unless that is done. Calls
  /// `read` now and then, and at the end: what was read so far is not needed again.
  void add(llvm::ArrayRef<uint8_t> range, llvm::function_ref<void()> read);
  /// Adds what is missing.
  std::string finish(llvm::function_ref<void()> read);

private:
  llvm::ArrayRef<uint8_t> bytes;
  std::vector<std::array<uint8_t, 16>> hashes;
  std::vector<char> known;
};

} // namespace ingot
