// PieceHash: the same hash in any order of reading, another one for any other bytes.
#include "support/Hash.h"

#include "llvm/ADT/StringExtras.h"
#include <gtest/gtest.h>

using namespace ingot;

namespace {

constexpr size_t piece = PieceHash::piece_bytes;

std::vector<uint8_t> someBytes(size_t count) {
  std::vector<uint8_t> bytes(count);
  uint32_t state = 1;
  for (uint8_t &byte : bytes)
    byte = static_cast<uint8_t>((state = state * 1664525 + 1013904223) >> 24);
  return bytes;
}

std::string hashOf(const std::vector<uint8_t> &bytes) {
  return PieceHash(bytes).finish([] {});
}

TEST(PieceHash, DoesNotDependOnTheOrderOfReading) {
  const std::vector<uint8_t> bytes = someBytes(3 * piece + 5);
  const llvm::ArrayRef<uint8_t> all(bytes);
  PieceHash hash(all);
  int calls = 0;
  auto read = [&] { ++calls; };
  hash.add(all.slice(2 * piece + 7, piece), read); // into the fourth piece
  hash.add(all.slice(5, 1), read);
  hash.add(all.slice(5, 1), read);
  hash.add(all.slice(5, 0), read);
  EXPECT_EQ(calls, 3);
  EXPECT_EQ(hash.finish(read), hashOf(bytes));
}

TEST(PieceHash, IsTheHashOfHashes) {
  const std::vector<uint8_t> bytes = someBytes(piece + 1);
  const llvm::ArrayRef<uint8_t> all(bytes);
  std::string hashes; // hex digits of both pieces, as bytes
  for (llvm::StringRef digits :
       {hashBytes(all.take_front(piece)), hashBytes(all.drop_front(piece))})
    hashes += llvm::fromHex(digits);
  EXPECT_EQ(hashOf(bytes), hashBytes(hashes));
}

TEST(PieceHash, ChangesWithEveryByte) {
  std::vector<uint8_t> bytes = someBytes(2 * piece + 3);
  const std::string before = hashOf(bytes);
  EXPECT_EQ(before.size(), 32u);
  for (size_t place : {size_t(0), piece - 1, piece, 2 * piece, 2 * piece + 2}) {
    bytes[place] ^= 1;
    EXPECT_NE(hashOf(bytes), before) << place;
    bytes[place] ^= 1;
  }
  bytes.pop_back();
  EXPECT_NE(hashOf(bytes), before);
  EXPECT_EQ(hashOf({}), hashBytes(llvm::StringRef()));
}

} // namespace
