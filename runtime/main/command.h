// What the modes of the command-line program share: the session, two writers, error reports.
#pragma once

#include "runtime/core/session.h"
#include "runtime/main/options.h"
#include "runtime/main/writer.h"

namespace ingot::runtime {

struct Command {
  const ingot_program *program;
  const Options *options;
  char **arguments; ///< of main
  ingot_session *session = nullptr;
  ingot_weights *weights = nullptr;
  Writer out, errors;
};

/// Exit codes.
constexpr int exit_ok = 0, exit_input = 1, exit_usage = 2, exit_interrupt = 130;

/// Prints "error: WHAT: DETAIL" and "help: HELP" (WHAT and HELP may be null). Returns exit_input.
int fail(Command &command, const char *what, const char *detail, const char *help = nullptr);
int fail(Command &command, const char *what, ingot_status status);

/// Starts the session (max_text_bytes: the longest text to tokenize). Returns an exit code.
int open_session(Command &command, uint64_t max_text_bytes);

/// Says why none of the program's kernels, or not those of --isa, run. Returns exit_input.
int refuse_processor(Command &command);
/// "x86-64-v4-vnni (avx512-vnni), x86-64-v3 (avx2)"
void list_variants(Writer &out, const manifest::Build &build);

/// The bytes named by an option's value: the value itself, standard input for "-", or with
/// `at_file` the file after '@'. Returns an exit code.
int read_input(Command &command, const char *value, bool at_file, const char **text,
               uint64_t *bytes);

/// Ids of a whole text of any length into memory mapped for the purpose, without special tokens.
int tokenize_all(Command &command, const char *text, uint64_t bytes, int32_t **tokens,
                 int64_t *count);

/// The modes. Each returns an exit code.
int run_chat(Command &command);
int run_prompt(Command &command);
int run_logits(Command &command);
/// Of --layers: a part of run_logits.
int write_layers(Command &command, const int32_t *ids, int32_t count);
int run_tokenize(Command &command);
int run_detokenize(Command &command);
int run_perplexity(Command &command);
int run_bench(Command &command);
int run_profile(Command &command);
int run_first_token(Command &command);
int run_selftest(Command &command);
int run_info(Command &command);

/// The header of a .npy file (format 1.0) of float32 [rows, columns], C order, into out[128].
/// Returns its length, a multiple of 64.
size_t npy_header(int64_t rows, int64_t columns, char (&out)[128]);

/// -ln softmax(logits)[token] in double: what the perplexity is the mean of.
double negative_log_likelihood(const float *logits, int32_t vocab_size, int32_t token);

} // namespace ingot::runtime
