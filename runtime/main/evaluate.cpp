// Modes that evaluate given tokens or texts: --tokens, --tokenize, --detokenize, --perplexity.
#include "runtime/main/output_file.h"

#include "runtime/platform/host.h"

#include <math.h>
#include <string.h>

namespace ingot::runtime {
namespace {

constexpr const char *more_context = "compile with a larger --context";

ingot_session *evaluating = nullptr;

void interrupt_evaluation() { ingot_interrupt(evaluating); }

/// Reads ids from an option's value ("1,2,3" or, with at_file, a file's name).
int read_ids(Command &command, const char *value, bool at_file, int32_t **ids, int64_t *count) {
  const char *text = "";
  uint64_t bytes = 0;
  if (int code = read_input(command, value, at_file, &text, &bytes))
    return code;
  const int64_t capacity = static_cast<int64_t>(bytes / 2 + 1); // an id and a separator
  *ids = static_cast<int32_t *>(
      platform::map_memory(static_cast<uint64_t>(capacity) * sizeof(int32_t)));
  if (!*ids)
    return fail(command, "token ids", INGOT_NO_MEMORY);
  *count = parse_ids(text, bytes, *ids, capacity);
  char where[64];
  Writer detail(where, sizeof where - 1);
  if (*count < 0) {
    detail.text("not a token id at byte ").number(-1 - *count);
    where[detail.used] = 0;
    return fail(command, at_file ? value : "token ids", where,
                "ids are whole numbers separated by commas or white space");
  }
  const int32_t vocab_size = command.program->vocab_size;
  for (int64_t i = 0; i < *count; ++i) {
    if ((*ids)[i] < vocab_size)
      continue;
    detail.text("id ")
        .number((*ids)[i])
        .text(" is not below the vocabulary's size, ")
        .number(vocab_size);
    where[detail.used] = 0;
    return fail(command, at_file ? value : "token ids", where);
  }
  return exit_ok;
}

/// What the logits of a chunk are written to.
struct Sink {
  int file;
  int32_t vocab_size;
  int error;
};

int32_t write_rows(void *user, int32_t, int32_t rows, const float *logits, int32_t stride) {
  auto *sink = static_cast<Sink *>(user);
  const int32_t pieces = stride == sink->vocab_size ? 1 : rows; // one write where rows are dense
  const auto floats = static_cast<size_t>(sink->vocab_size) * static_cast<size_t>(rows / pieces);
  for (int32_t i = 0; i < pieces && !sink->error; ++i)
    sink->error = platform::write_all(sink->file, logits + static_cast<int64_t>(i) * stride,
                                      floats * sizeof(float));
  return sink->error != 0;
}

void print_ids(Writer &out, const int32_t *ids, int64_t count, bool json) {
  if (json)
    out.text("[");
  for (int64_t i = 0; i < count; ++i) {
    if (i)
      out.text(",");
    out.number(ids[i]);
  }
  out.text(json ? "]\n" : "\n");
}

/// Shares the rows of one chunk among the pool's threads.
struct Scoring {
  ingot_step_context step; ///< first: a step function gets a pointer to it
  const float *logits;
  int32_t stride, vocab_size, rows;
  const int32_t *expected; ///< [rows] the token after each row's
  double *losses;          ///< [rows]
};

void score_rows(const ingot_step_context *context, int32_t thread, int32_t threads) {
  auto *work = reinterpret_cast<const Scoring *>(context);
  for (int32_t row = thread; row < work->rows; row += threads)
    work->losses[row] =
        negative_log_likelihood(work->logits + static_cast<int64_t>(row) * work->stride,
                                work->vocab_size, work->expected[row]);
}

struct Perplexity {
  Command *command;
  const int32_t *expected; ///< of the first row of this call of ingot_eval_all
  int32_t wanted;          ///< rows of it that predict a token of the window
  double *losses;
  double total = 0;
  int64_t count = 0;
};

int32_t score_chunk(void *user, int32_t first, int32_t rows, const float *logits, int32_t stride) {
  auto *state = static_cast<Perplexity *>(user);
  if (rows > state->wanted - first)
    rows = state->wanted - first;
  if (rows <= 0)
    return 0;
  Scoring work{{},           logits,
               stride,       state->command->program->vocab_size,
               rows,         state->expected + first,
               state->losses};
  state->command->session->pool.run(score_rows, &work.step);
  for (int32_t row = 0; row < rows; ++row)
    state->total += state->losses[row];
  state->count += rows;
  return 0;
}

} // namespace

size_t npy_header(int64_t rows, int64_t columns, char (&out)[128]) {
  Writer header(out, sizeof out);
  header.bytes("\x93NUMPY\x01\x00", 8)
      .bytes("  ", 2) // the length comes last
      .text("{'descr': '<f4', 'fortran_order': False, 'shape': (")
      .number(rows)
      .text(", ")
      .number(columns)
      .text("), }");
  while ((header.used + 1) % 64)
    header.text(" ");
  header.text("\n");
  out[8] = static_cast<char>(header.used - 10);
  out[9] = 0;
  return header.used;
}

double negative_log_likelihood(const float *logits, int32_t vocab_size, int32_t token) {
  float largest = logits[0];
  for (int32_t i = 1; i < vocab_size; ++i)
    largest = logits[i] > largest ? logits[i] : largest;
  double sums[8] = {}; // as many independent sums as vector code wants
  const int32_t whole = vocab_size & ~7;
  for (int32_t i = 0; i < whole; i += 8)
    for (int32_t j = 0; j < 8; ++j)
      sums[j] += exp_of_negative(static_cast<double>(logits[i + j]) - static_cast<double>(largest));
  for (int32_t i = whole; i < vocab_size; ++i)
    sums[0] += exp_of_negative(static_cast<double>(logits[i]) - static_cast<double>(largest));
  double sum = 0;
  for (double part : sums)
    sum += part;
  return log(sum) - (static_cast<double>(logits[token]) - static_cast<double>(largest));
}

int tokenize_all(Command &command, const char *text, uint64_t bytes, int32_t **tokens,
                 int64_t *count) {
  if (bytes > INT32_MAX)
    return fail(command, "text", "longer than 2 GiB");
  const uint64_t scratch_bytes = ingot_tokenizer_scratch_bytes(bytes);
  const auto capacity = static_cast<int32_t>(bytes < INT32_MAX - 8 ? bytes + 8 : INT32_MAX);
  const uint64_t ids = static_cast<uint64_t>(capacity) * sizeof(int32_t);
  void *scratch = platform::map_memory(scratch_bytes);
  *tokens = static_cast<int32_t *>(platform::map_memory(ids));
  if (!scratch || !*tokens)
    return fail(command, "text", INGOT_NO_MEMORY);
  const int32_t made =
      ingot_tokenizer_encode(&command.session->tokenizer, text, bytes, command.options->special,
                             scratch, scratch_bytes, *tokens, capacity);
  platform::unmap_memory(scratch, scratch_bytes);
  *count = made;
  return made < 0 ? fail(command, "text", INGOT_TEXT_TOO_LONG) : exit_ok;
}

int run_logits(Command &command) {
  const Options &options = *command.options;
  const bool at_file = options.text[0] == '@';
  if (int code = open_session(command, 0))
    return code;
  ingot_session *session = command.session;
  int32_t *ids = nullptr;
  int64_t count = 0;
  if (int code =
          read_ids(command, at_file ? options.text + 1 : options.text, at_file, &ids, &count))
    return code;
  if (!count)
    return fail(command, "--tokens", "there are no token ids");
  if (count > ingot_context_length(session)) {
    char text[96];
    Writer detail(text, sizeof text - 1);
    detail.grouped(static_cast<uint64_t>(count))
        .text(" tokens do not fit the context of ")
        .grouped(static_cast<uint64_t>(ingot_context_length(session)));
    text[detail.used] = 0;
    return fail(command, "--tokens", text, more_context);
  }

  if (options.layers)
    return write_layers(command, ids, static_cast<int32_t>(count));
  OutputFile file;
  if (int code = file.open(command, "--logits", options.logits))
    return code;
  Sink sink{file.file, command.program->vocab_size, 0};
  evaluating = session;
  platform::on_interrupt(interrupt_evaluation); // so that the temporary file goes away
  char header[128];
  sink.error = platform::write_all(sink.file, header,
                                   npy_header(count, command.program->vocab_size, header));
  ingot_status status = INGOT_OK;
  if (!sink.error)
    status = ingot_eval_all(session, ids, static_cast<int32_t>(count), write_rows, &sink);
  if (int code = file.close(command, sink.error, status != INGOT_OK))
    return code;
  if (status == INGOT_INTERRUPTED)
    return exit_interrupt;
  return status ? fail(command, "--tokens", status) : exit_ok;
}

int run_tokenize(Command &command) {
  const Options &options = *command.options;
  const char *text = "";
  uint64_t bytes = 0;
  if (int code = read_input(command, options.text, false, &text, &bytes))
    return code;
  if (int code = open_session(command, 0))
    return code;
  if (!options.lines) {
    int32_t *tokens = nullptr;
    int64_t count = 0;
    if (int code = tokenize_all(command, text, bytes, &tokens, &count))
      return code;
    print_ids(command.out, tokens, count, options.json);
    return exit_ok;
  }
  // Every line in the same memory; its newline is not a part of it.
  const uint64_t scratch_bytes = ingot_tokenizer_scratch_bytes(bytes);
  const auto capacity = static_cast<int32_t>(bytes + 8); // at most 256 MiB of input
  void *scratch = platform::map_memory(scratch_bytes);
  auto *tokens = static_cast<int32_t *>(
      platform::map_memory(static_cast<uint64_t>(capacity) * sizeof(int32_t)));
  if (!scratch || !tokens)
    return fail(command, "text", INGOT_NO_MEMORY);
  for (uint64_t begin = 0; begin < bytes;) {
    const auto *newline = static_cast<const char *>(memchr(text + begin, '\n', bytes - begin));
    const uint64_t end = newline ? static_cast<uint64_t>(newline - text) : bytes;
    const int32_t count =
        ingot_tokenizer_encode(&command.session->tokenizer, text + begin, end - begin,
                               options.special, scratch, scratch_bytes, tokens, capacity);
    if (count < 0)
      return fail(command, "text", INGOT_TEXT_TOO_LONG);
    print_ids(command.out, tokens, count, options.json);
    begin = end + 1;
  }
  return exit_ok;
}

int run_detokenize(Command &command) {
  if (int code = open_session(command, 0))
    return code;
  int32_t *ids = nullptr;
  int64_t count = 0;
  if (int code = read_ids(command, command.options->text, false, &ids, &count))
    return code;
  for (int64_t i = 0; i < count; ++i) {
    const char *piece;
    const int32_t length = ingot_token_bytes(command.session, ids[i], &piece);
    if (length > 0)
      command.out.bytes(piece, static_cast<size_t>(length));
  }
  return exit_ok;
}

int run_perplexity(Command &command) {
  const Options &options = *command.options;
  if (int code = open_session(command, 0))
    return code;
  ingot_session *session = command.session;
  const int32_t window = options.window;
  if (window > ingot_context_length(session))
    return fail(command, "--window", "longer than the context", more_context);
  const char *text = "";
  uint64_t bytes = 0;
  if (int code = read_input(command, options.text, strcmp(options.text, "-") != 0, &text, &bytes))
    return code;
  int32_t *tokens = nullptr;
  int64_t count = 0;
  if (int code = tokenize_all(command, text, bytes, &tokens, &count))
    return code;
  const int64_t windows = count / window;
  if (!windows)
    return fail(command, options.text, "too short for one window",
                "--window N makes windows smaller");

  Perplexity state;
  state.command = &command;
  state.losses = static_cast<double *>(
      platform::map_memory(static_cast<uint64_t>(command.program->score_tokens) * sizeof(double)));
  if (!state.losses)
    return fail(command, "--perplexity", INGOT_NO_MEMORY);
  const manifest::Tokenizer &tables = *session->manifest->tokenizer();
  const bool progress = platform::is_terminal(2);
  const uint64_t begin = platform::clock_ns();
  const int32_t scored_from = window / 2; // the row before it predicts it
  for (int64_t i = 0; i < windows; ++i) {
    int32_t *ids = tokens + i * window;
    if (tables.add_bos())
      ids[0] = tables.bos(); // every window begins as a text does
    ingot_reset(session);
    ingot_status status = ingot_eval(session, ids, scored_from - 1);
    state.expected = ids + scored_from;
    state.wanted = window - scored_from;
    if (!status)
      status =
          ingot_eval_all(session, ids + scored_from - 1, window - scored_from, score_chunk, &state);
    if (status)
      return fail(command, "--perplexity", status);
    if (progress)
      command.errors.text("\rwindow ")
          .number(i + 1)
          .text(" of ")
          .number(windows)
          .text(i + 1 < windows ? "" : "\r\x1b[K")
          .flush();
  }
  const double seconds = static_cast<double>(platform::clock_ns() - begin) * 1e-9;
  const double perplexity = exp(state.total / static_cast<double>(state.count));
  Writer &out = command.out;
  if (options.json)
    out.text("{\"perplexity\": ")
        .real(perplexity)
        .text(", \"tokens\": ")
        .number(state.count)
        .text(", \"windows\": ")
        .number(windows)
        .text(", \"window\": ")
        .number(window)
        .text(", \"seconds\": ")
        .fixed(seconds, 3)
        .text("}\n");
  else
    out.text("perplexity ")
        .fixed(perplexity, 4)
        .text(" over ")
        .grouped(static_cast<uint64_t>(state.count))
        .text(" tokens (the second half of ")
        .grouped(static_cast<uint64_t>(windows))
        .text(" windows of ")
        .number(window)
        .text(")\n");
  return exit_ok;
}

} // namespace ingot::runtime
