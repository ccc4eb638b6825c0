#include "support/Hash.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/Parallel.h"
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

PieceHash::PieceHash(llvm::ArrayRef<uint8_t> bytes)
    : bytes(bytes), hashes((bytes.size() + piece_bytes - 1) / piece_bytes), known(hashes.size()) {}

void PieceHash::add(llvm::ArrayRef<uint8_t> range, llvm::function_ref<void()> read) {
  constexpr size_t pieces_at_once = 8;
  if (range.empty())
    return;
  const uint64_t begin = range.data() - bytes.data();
  const size_t end = (begin + range.size() - 1) / piece_bytes + 1;
  for (size_t first = begin / piece_bytes; first < end; first += pieces_at_once) {
    llvm::parallelFor(first, std::min(end, first + pieces_at_once), [&](size_t piece) {
      if (known[piece])
        return;
      const llvm::XXH128_hash_t hash =
          llvm::xxh3_128bits(bytes.drop_front(piece * piece_bytes).take_front(piece_bytes));
      llvm::support::endian::write64be(hashes[piece].data(), hash.high64);
      llvm::support::endian::write64be(hashes[piece].data() + 8, hash.low64);
      known[piece] = true;
    });
    read();
  }
}

std::string PieceHash::finish(llvm::function_ref<void()> read) {
  add(bytes, read);
  return hashBytes({hashes.data()->data(), hashes.size() * 16});
}

} // namespace ingot
