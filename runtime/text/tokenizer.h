// Byte-level BPE over the tables of the manifest, in place: no heap, no tables built at start.
// Thread rule: functions only read the tables; calls may run side by side with scratch of their
// own.
#pragma once

#include "runtime/manifest_generated.h"

#include <stddef.h>
#include <stdint.h>

struct ingot_tokenizer {
  const ingot::manifest::Tokenizer *tables;
};

/// The first slot of Tokenizer::merge_keys to look for `key` in; the next ones follow it. `mask` is
/// the number of slots less 1. (Fibonacci hashing: Knuth, The Art of Computer Programming 3,
/// section 6.4.)
inline uint64_t ingot_tokenizer_merge_slot(uint64_t key, uint64_t mask) {
  return ((key * 0x9E3779B97F4A7C15ull) >> 32) & mask;
}

/// Bytes of scratch that encoding `text_bytes` of text needs.
size_t ingot_tokenizer_scratch_bytes(size_t text_bytes);

/// Encodes text (any bytes; ill-formed UTF-8 is kept byte for byte). With `parse_special`, texts
/// such as <|im_end|> become the tokens that they name; user-defined tokens always do. Writes at
/// most `capacity` ids, and returns how many there are (never more than bytes + 1), or -1 where
/// `scratch` (aligned for int32_t) is too small. Bytes that the vocabulary has no token for are
/// left out, as llama.cpp does: SmolLM2's has 235 of the 256, and lacks some control characters and
/// the first bytes of the planes 4 to 11.
int32_t ingot_tokenizer_encode(const ingot_tokenizer *tokenizer, const char *text, size_t bytes,
                               bool parse_special, void *scratch, size_t scratch_bytes,
                               int32_t *out, int32_t capacity);

/// The bytes that a token stands for; returns their number, -1 for an id that does not exist.
int32_t ingot_tokenizer_piece(const ingot_tokenizer *tokenizer, int32_t id, const char **bytes);
