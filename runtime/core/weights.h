// Weights in a file of their own: what it begins with, and the hash that binds a program to it.
//
//   NAME.weights = WeightsHeader, zeros up to `offset`, packed weights
//
// The manifest of a program that is split has the hash of its weights. The header is enough to
// refuse another program's file; the weights themselves are hashed to find damage.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

namespace ingot::runtime {

/// 128 bits. Finds changes and accidents, not forgeries.
struct WeightsHash {
  uint64_t words[2];

  bool operator==(const WeightsHash &other) const {
    return words[0] == other.words[0] && words[1] == other.words[1];
  }
};

/// Goes over bytes in chunks of any multiple of 64 bytes (the last one: any length). Each of eight
/// sums takes every eighth word by operations that can be undone, so a change of one word always
/// changes its sum; a memory's bandwidth of them fits one core.
class WeightsHasher {
public:
  void add(const uint8_t *bytes, uint64_t count) {
    length += count;
    for (; count >= sizeof sums; bytes += sizeof sums, count -= sizeof sums) {
      uint64_t words[8];
      memcpy(words, bytes, sizeof words);
      for (int i = 0; i < 8; ++i)
        sums[i] = turned((sums[i] ^ words[i]) * factor, 29);
    }
    if (!count)
      return;
    uint8_t rest[sizeof sums] = {};
    memcpy(rest, bytes, count);
    add(rest, sizeof rest);
    length -= sizeof rest;
  }
  WeightsHash finish() const {
    WeightsHash hash{{length, ~length}};
    for (int i = 0; i < 8; ++i) {
      hash.words[0] = turned((hash.words[0] ^ sums[i]) * factor, 31);
      hash.words[1] = turned((hash.words[1] ^ turned(sums[i], 23)) * factor, 37);
    }
    for (uint64_t &word : hash.words)
      word = (word ^ word >> 32) * factor, word ^= word >> 29;
    return hash;
  }

private:
  static constexpr uint64_t factor = 0xd6e8feb86659fd93u; // odd, with no pattern in its bits
  static uint64_t turned(uint64_t word, int bits) { return word << bits | word >> (64 - bits); }
  uint64_t sums[8] = {1, 2, 3, 4, 5, 6, 7, 8}, length = 0;
};

constexpr char weights_magic[9] = "INGOTWTS";
constexpr uint32_t weights_version = 1;

struct WeightsHeader {
  char magic[8];
  uint32_t version, reserved;
  uint64_t offset; ///< of the weights in the file: a multiple of every page size of the machine
  uint64_t bytes;
  WeightsHash hash;  ///< of the weights
  WeightsHash check; ///< of the fields before

  WeightsHash checked() const {
    WeightsHasher hasher;
    hasher.add(reinterpret_cast<const uint8_t *>(this), offsetof(WeightsHeader, check));
    return hasher.finish();
  }
};
static_assert(sizeof(WeightsHeader) == 64, "the file's format");

/// 32 hex digits, as the manifest has it. False where the text is none.
inline bool parse_weights_hash(const char *text, WeightsHash *hash) {
  for (uint64_t &word : hash->words) {
    word = 0;
    for (int i = 0; i < 16; ++i, ++text) {
      const bool digit = *text >= '0' && *text <= '9', letter = *text >= 'a' && *text <= 'f';
      if (!digit && !letter)
        return false;
      word = word << 4 | static_cast<uint64_t>(digit ? *text - '0' : *text - 'a' + 10);
    }
  }
  return !*text;
}

} // namespace ingot::runtime

/// A mapped file. It lies in a page of its own.
struct ingot_weights {
  const uint8_t *data;
  const void *file;
  uint64_t file_bytes;
  ingot::runtime::WeightsHash hash;
};
