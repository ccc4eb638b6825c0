#include "support/Hash.h"

#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/Support/xxhash.h"

namespace ingot {

std::string hashBytes(llvm::ArrayRef<uint8_t> bytes) {
  const llvm::XXH128_hash_t hash = llvm::xxh3_128bits(bytes);
  std::string text;
  llvm::raw_string_ostream(text) << llvm::format_hex_no_prefix(hash.high64, 16)
                                 << llvm::format_hex_no_prefix(hash.low64, 16);
  return text;
}

} // namespace ingot
