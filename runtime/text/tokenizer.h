// Byte-level BPE over the tables of the manifest, in place: no heap, no tables built at start.
// Thread rule: functions only read the tables; calls may run side by side with scratch of their own.
#pragma once

#include "runtime/manifest_generated.h"

#include <stddef.h>
#include <stdint.h>

struct ingot_tokenizer {
  const ingot::manifest::Tokenizer *tables;
};

/// Bytes of scratch that encoding `text_bytes` of text needs.
size_t ingot_tokenizer_scratch_bytes(size_t text_bytes);

/// Encodes text (any bytes; ill-formed UTF-8 is kept byte for byte). With `parse_special`, texts such
/// as <|im_end|> become the tokens that they name; user-defined tokens always do. Writes at most
/// `capacity` ids, and returns how many there are (never more than bytes + 1), or -1 where the
/// vocabulary has no token for a byte or `scratch` is too small.
int32_t ingot_tokenizer_encode(const ingot_tokenizer *tokenizer, const char *text, size_t bytes,
                               bool parse_special, void *scratch, size_t scratch_bytes,
                               int32_t *out, int32_t capacity);

/// The bytes that a token stands for; returns their number, -1 for an id that does not exist.
int32_t ingot_tokenizer_piece(const ingot_tokenizer *tokenizer, int32_t id, const char **bytes);
