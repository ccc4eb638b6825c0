// The command line of a compiled program.
#pragma once

#include "runtime/include/ingot.h"

namespace ingot::runtime {

enum class Mode : uint8_t {
  chat,
  prompt,
  logits,
  tokenize,
  detokenize,
  perplexity,
  bench,
  profile,
  selftest,
  first_token,
  info,
  help,
  version
};

struct Options {
  Mode mode = Mode::chat;
  const char *text = nullptr; ///< of -p, --tokenize, --detokenize, --perplexity, --tokens
  const char *system = nullptr;
  const char *logits = nullptr;
  const char *trace = nullptr;
  const char *layers = nullptr, *step = nullptr;
  const char *digest = nullptr;  ///< of --selftest: what its digest must be
  const char *weights = nullptr; ///< --weights; null: the file beside the program, if it has one
  const char *isa = nullptr;     ///< --isa; null: the best that runs
  bool raw = false, json = false, special = false, lines = false, seeded = false;
  int32_t threads = 0; ///< 0: the physical cores
  int32_t count = -1;  ///< -n; -1: until a stop token or the context is full
  int32_t window = 512, prompt_tokens = 512, gen_tokens = 128, depth = 0, reps = 5, batch = 0;
  ingot_sampling sampling = ingot_default_sampling();
};

/// Fills `options`. On an error returns false with a message and a help line, 0-terminated.
bool parse_options(int argc, char **argv, Options *options, char (&message)[256],
                   char (&help)[256]);

/// Decimal numbers with nothing after them. False when ill-formed or out of range.
bool parse_integer(const char *text, int64_t least, int64_t most, int64_t *value);
bool parse_real(const char *text, double *value);

/// Ids separated by commas or white space, into out[capacity]; counts on past the capacity. Returns
/// the number of ids, or -1 - (offset of what is not one).
int64_t parse_ids(const char *text, size_t bytes, int32_t *out, int64_t capacity);

extern const char *const help_text; // NOLINT: extern is not a definition

} // namespace ingot::runtime
