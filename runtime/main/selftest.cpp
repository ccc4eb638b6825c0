// --selftest: replays a text that was recorded with the program by each of its steps, and says
// whether they still compute here what the reference interpreter computed where it was compiled.
#include "runtime/main/command.h"

#include "runtime/platform/platform.h"

#include <math.h>
#include <string.h>

namespace ingot::runtime {
namespace {

constexpr int32_t max_tokens = 64; // of a record
constexpr int32_t digest_digits = 16;

/// Of rows of logits, in order: FNV-1a (Fowler, Noll, Vo) over 32-bit words instead of bytes.
struct Digest {
  uint64_t value = 0xcbf29ce484222325u;

  void add(uint32_t word) { value = (value ^ word) * 0x100000001b3u; }
  void add(const float *row, int32_t count) {
    for (int32_t i = 0; i < count; ++i) {
      uint32_t word;
      memcpy(&word, row + i, sizeof word);
      add(word);
    }
  }
  void add(Digest other) {
    add(static_cast<uint32_t>(other.value));
    add(static_cast<uint32_t>(other.value >> 32));
  }
  /// 16 hexadecimal digits and a 0.
  void print(char (&out)[digest_digits + 1]) const {
    for (int32_t i = 0; i < digest_digits; ++i)
      out[i] = "0123456789abcdef"[value >> (60 - 4 * i) & 15];
    out[digest_digits] = 0;
  }
};

/// What one step made of the record.
struct Replay {
  const char *name;
  int32_t rows = 0;   ///< of logits
  int32_t agreed = 0; ///< rows whose most likely token is the reference's
  double kl = 0;      ///< sum over the rows
  double error = 0;   ///< largest, of the logits that are recorded
  Digest digest;
  bool same_bits = true; ///< all sequences of a batch step have decode's
  bool passed = false;

  double mean_kl() const { return rows ? kl / rows : 0; }
};

constexpr int32_t max_replays = 3 + INGOT_MAX_BATCH_STEPS;

struct Selftest {
  Command *command;
  const manifest::Selftest *record;
  int32_t tokens[max_tokens], count;
  bool tokenizer = false; ///< the text has these tokens
  Replay replays[max_replays];
  int32_t replay_count = 0;

  int32_t vocab_size() const { return command->program->vocab_size; }
};

/// Adds the row of logits behind token `position`. The divergence is that of the recorded tokens
/// and all others together, at most that of the whole vocabulary.
void judge(const Selftest &test, int32_t position, const float *logits, Replay *replay) {
  const manifest::Selftest &record = *test.record;
  const uint32_t ranks = record.likely()->size() / record.tokens()->size();
  const uint32_t first = static_cast<uint32_t>(position) * ranks;
  const int32_t most_likely = record.likely()->Get(first)->token();
  const double log_sum = negative_log_likelihood(logits, test.vocab_size(), most_likely) +
                         static_cast<double>(logits[most_likely]);
  const double log_sum_there =
      static_cast<double>(record.log_sum_exp()->Get(static_cast<uint32_t>(position)));
  double rest = 1, rest_there = 1;
  for (uint32_t i = 0; i < ranks; ++i) {
    const manifest::Likely &likely = *record.likely()->Get(first + i);
    const auto here = static_cast<double>(logits[likely.token()]);
    const auto there = static_cast<double>(likely.logit());
    const double p = exp_of_negative(there - log_sum_there);
    replay->kl += p * ((there - log_sum_there) - (here - log_sum));
    rest -= exp_of_negative(here - log_sum);
    rest_there -= p;
    const double error = fabs(here - there);
    replay->error = error <= replay->error ? replay->error : error; // NaN stays
  }
  constexpr double least = 1e-9; // what remains of 1 is not exact
  if (rest_there > least)
    replay->kl += rest_there * log(rest_there / (rest > least ? rest : least));
  int32_t best = 0;
  for (int32_t i = 1; i < test.vocab_size(); ++i)
    best = logits[i] > logits[best] ? i : best;
  replay->agreed += best == most_likely;
  replay->digest.add(logits, test.vocab_size());
  ++replay->rows;
}

/// Takes the next replay's place; the record's bound decides whether it passed.
Replay *begin(Selftest *test, const char *name) {
  Replay *replay = &test->replays[test->replay_count++];
  replay->name = name;
  for (int32_t i = ingot_sequences(test->command->session) - 1; i >= 0; --i) { // ends with 0
    ingot_select(test->command->session, i);
    ingot_reset(test->command->session);
  }
  return replay;
}

double most_error(const manifest::Selftest &record) {
  return record.error_bound() * static_cast<double>(record.largest_logit());
}

void end(const Selftest &test, Replay *replay) {
  const manifest::Selftest &record = *test.record;
  // Written so that NaN fails.
  const bool near = record.error_bound() > 0 ? replay->error <= most_error(record)
                                             : replay->mean_kl() <= record.mean_kl_bound();
  replay->passed = near && replay->same_bits && replay->rows;
}

struct Scoring {
  Selftest *test;
  Replay *replay;
};

int32_t judge_rows(void *user, int32_t first, int32_t rows, const float *logits, int32_t stride) {
  auto *scoring = static_cast<Scoring *>(user);
  for (int32_t i = 0; i < rows; ++i)
    judge(*scoring->test, first + i, logits + static_cast<int64_t>(i) * stride, scoring->replay);
  return 0;
}

ingot_status replay_score(Selftest *test) {
  Scoring scoring{test, begin(test, "score")};
  const ingot_status status =
      ingot_eval_all(test->command->session, test->tokens, test->count, judge_rows, &scoring);
  end(*test, scoring.replay);
  return status;
}

ingot_status replay_decode(Selftest *test) {
  Replay *replay = begin(test, "decode");
  ingot_session *session = test->command->session;
  for (int32_t i = 0; i < test->count; ++i) {
    if (ingot_status status = ingot_eval(session, test->tokens + i, 1))
      return status;
    judge(*test, i, ingot_logits(session), replay);
  }
  end(*test, replay);
  return INGOT_OK;
}

/// A prefill step gives the last token's logits: as many as there are beginnings.
ingot_status replay_prefill(Selftest *test) {
  Replay *replay = begin(test, "prefill");
  ingot_session *session = test->command->session;
  for (int32_t i = 2; i <= test->count; ++i) {
    ingot_reset(session);
    if (ingot_status status = ingot_eval(session, test->tokens, i))
      return status;
    judge(*test, i - 1, ingot_logits(session), replay);
  }
  end(*test, replay);
  return INGOT_OK;
}

/// The same text in every sequence, so that each has decode's logits, bit for bit.
ingot_status replay_batch(Selftest *test, int32_t width, const char *name, Digest decoded) {
  Replay *replay = begin(test, name);
  ingot_session *session = test->command->session;
  int32_t sequences[INGOT_MAX_SEQUENCES], tokens[INGOT_MAX_SEQUENCES];
  Digest digests[INGOT_MAX_SEQUENCES];
  for (int32_t i = 0; i < test->count; ++i) {
    for (int32_t j = 0; j < width; ++j) {
      sequences[j] = j;
      tokens[j] = test->tokens[i];
    }
    if (ingot_status status = ingot_eval_batch(session, sequences, tokens, width))
      return status;
    for (int32_t j = 0; j < width; ++j)
      digests[j].add(ingot_batch_logits(session, j), test->vocab_size());
    judge(*test, i, ingot_batch_logits(session, width - 1), replay);
  }
  for (int32_t j = 0; j < width; ++j)
    replay->same_bits &= digests[j].value == decoded.value;
  end(*test, replay);
  return INGOT_OK;
}

/// Whether the text has the tokens that it had.
int check_tokenizer(Selftest *test) {
  const flatbuffers::String &text = *test->record->text();
  int32_t *ids = nullptr;
  int64_t count = 0;
  if (int code = tokenize_all(*test->command, text.c_str(), text.size(), &ids, &count))
    return code;
  test->tokenizer = count >= test->count &&
                    !memcmp(ids, test->tokens, static_cast<size_t>(test->count) * sizeof *ids);
  return exit_ok;
}

ingot_status replay_steps(Selftest *test) {
  const ingot_program &program = *test->command->program;
  if (ingot_status status = replay_score(test))
    return status;
  if (ingot_status status = replay_decode(test))
    return status;
  const Digest decoded = test->replays[1].digest;
  if (test->count > 1)
    if (ingot_status status = replay_prefill(test))
      return status;
  const auto *steps = test->command->session->manifest->steps();
  for (int32_t i = 0; i < program.batch_steps; ++i) {
    const uint32_t index = static_cast<uint32_t>(i) + 3; // decode, prefill, score come first
    const bool named = steps && index < steps->size() && steps->Get(index)->name();
    if (ingot_status status =
            replay_batch(test, program.batch_tokens[i],
                         named ? steps->Get(index)->name()->c_str() : "batch", decoded))
      return status;
  }
  return INGOT_OK;
}

void print_json(const Selftest &test, bool passed, const char *digest) {
  const manifest::Selftest &record = *test.record;
  Writer &out = test.command->out;
  out.text("{\"passed\": ").text(passed ? "true" : "false");
  out.text(", \"digest\": ").json_string(digest);
  out.text(", \"isa\": ").json_string(ingot_isa(test.command->session));
  out.text(", \"threads\": ").number(ingot_threads(test.command->session));
  out.text(", \"tokens\": ").number(test.count);
  if (record.error_bound() > 0)
    out.text(", \"error_bound\": ").real(most_error(record));
  else
    out.text(", \"mean_kl_bound\": ").real(record.mean_kl_bound());
  out.text(", \"tokenizer\": ").text(test.tokenizer ? "true" : "false").text(", \"steps\": [");
  for (int32_t i = 0; i < test.replay_count; ++i) {
    const Replay &replay = test.replays[i];
    char own[digest_digits + 1];
    replay.digest.print(own);
    const bool finite = isfinite(replay.kl) && isfinite(replay.error);
    out.text(i ? ", " : "").text("{\"name\": ").json_string(replay.name);
    out.text(", \"passed\": ").text(replay.passed ? "true" : "false");
    out.text(", \"rows\": ").number(replay.rows);
    out.text(", \"agreed\": ").number(replay.agreed);
    out.text(", \"mean_kl\": ");
    finite ? out.real(replay.mean_kl()) : out.text("null");
    out.text(", \"max_error\": ");
    finite ? out.real(replay.error) : out.text("null");
    out.text(", \"same_bits\": ").text(replay.same_bits ? "true" : "false");
    out.text(", \"digest\": ").json_string(own).text("}");
  }
  out.text("]}\n");
}

void pad(Writer &out, const char *text, size_t width) {
  out.text(text);
  for (size_t i = strlen(text); i < width; ++i)
    out.text(" ");
}

void print_text(const Selftest &test, bool passed, const char *digest) {
  const manifest::Selftest &record = *test.record;
  Writer &out = test.command->out;
  out.text("kernels for ").text(ingot_isa(test.command->session)).text(", threads ");
  out.number(ingot_threads(test.command->session)).text(", ").number(test.count);
  out.text(" recorded tokens; bound: ");
  if (record.error_bound() > 0)
    out.text("error <= ").real(most_error(record));
  else
    out.text("mean KL <= ").real(record.mean_kl_bound());
  out.text("\n");
  pad(out, "tokenizer", 11);
  out.text(test.tokenizer ? "pass\n" : "FAIL  other tokens than recorded\n");
  for (int32_t i = 0; i < test.replay_count; ++i) {
    const Replay &replay = test.replays[i];
    pad(out, replay.name, 11);
    out.text(replay.passed ? "pass  mean KL " : "FAIL  mean KL ").fixed(replay.mean_kl(), 6);
    out.text(", largest error ").fixed(replay.error, 4).text(", most likely token ");
    out.number(replay.agreed).text(" of ").number(replay.rows);
    out.text(replay.same_bits ? "\n" : ", not decode's bits\n");
  }
  pad(out, "digest", 11);
  out.text(digest).text("\n").text(passed ? "pass\n" : "FAIL\n");
}

/// What is recorded can be replayed: sizes fit, ids are of the vocabulary.
bool usable(const manifest::Selftest *record, int32_t vocab_size) {
  if (!record || !record->text() || !record->tokens() || !record->likely() ||
      !record->log_sum_exp())
    return false;
  const uint32_t count = record->tokens()->size();
  if (!count || count > max_tokens || record->log_sum_exp()->size() != count ||
      !record->likely()->size() || record->likely()->size() % count)
    return false;
  for (const manifest::Likely *likely : *record->likely())
    if (likely->token() < 0 || likely->token() >= vocab_size)
      return false;
  return true;
}

} // namespace

int run_selftest(Command &command) {
  const manifest::Manifest *manifest = program_manifest(command.program);
  if (!manifest)
    return fail(command, "--selftest", INGOT_BAD_PROGRAM);
  Selftest test;
  test.command = &command;
  test.record = manifest->selftest();
  if (!usable(test.record, command.program->vocab_size))
    return fail(command, "--selftest", "nothing was recorded when this program was compiled",
                "ingot compile --selftest-tokens 8 records what its reference interpreter says");
  test.count = static_cast<int32_t>(test.record->tokens()->size());
  memcpy(test.tokens, test.record->tokens()->data(),
         static_cast<size_t>(test.count) * sizeof(int32_t));
  if (int code = open_session(command, 0))
    return code;
  if (int code = check_tokenizer(&test))
    return code;
  if (ingot_status status = replay_steps(&test))
    return fail(command, "--selftest", status);

  Digest all;
  bool passed = test.tokenizer;
  for (int32_t i = 0; i < test.replay_count; ++i) {
    passed &= test.replays[i].passed;
    if (i < 3) // those that every program has
      all.add(test.replays[i].digest);
  }
  char digest[digest_digits + 1];
  all.print(digest);
  const char *wanted = command.options->digest;
  const bool same = !wanted || !strcmp(wanted, digest);
  command.options->json ? print_json(test, passed && same, digest)
                        : print_text(test, passed && same, digest);
  if (!passed)
    return fail(command, "--selftest",
                "this program does not compute here what it was compiled to compute");
  if (!same)
    return fail(command, "--selftest",
                "the logits are within the bound, but not the bits that --digest names");
  return exit_ok;
}

} // namespace ingot::runtime
