// Parsing of the command line (options.h): one table of options.
#include "runtime/main/options.h"

#include "runtime/main/writer.h"

#include <stddef.h>
#include <string.h>

namespace ingot::runtime {

const char *const help_text =
    R"(usage: PROGRAM [options]                       chat on the terminal
       PROGRAM -p TEXT [-n N] [options]        answer TEXT; only the answer is printed
       PROGRAM --tokens IDS --logits OUT.npy   float32 logits [tokens, vocabulary]
       PROGRAM --tokenize TEXT | --detokenize IDS | --perplexity FILE
       PROGRAM --selftest | --bench | --profile | --info

text
  -p, --prompt TEXT     the message to answer ('-': standard input)
  --raw                 continue TEXT as it is, without the chat template
  --system TEXT         the system message of the conversation
  -n N                  at most N tokens (default: until the model stops or the context is full)
  --special             with --raw or --tokenize: read texts such as <|im_end|> as the tokens they
                        name (default: as plain text)
sampling (in this order; the same seed gives the same text)
  --repeat-penalty X    divide the logits of recent tokens by X (default 1: off)
  --repeat-window N     how many tokens are recent (default 64; -1: all)
  --temp X              temperature (default 0.8; 0: always the most likely token)
  --top-k N             only the N most likely tokens (default 40; 0: all)
  --top-p X             only the fewest tokens with probability X together (default 0.95; 1: all)
  --min-p X             only tokens at least X as likely as the most likely one (default 0: all)
  --seed N              start of the random sequence (default: another one each run)
evaluation
  --tokens IDS|@FILE    token ids, separated by commas or white space
  --logits OUT.npy      where their logits go
  --layers FILE         instead of that: what each launch of a step computes, for `ingot compare`
  --step NAME           with --layers: score (default: all tokens at once), or decode (one by one)
  --tokenize TEXT       print token ids, separated by commas ('-': standard input)
  --lines               with --tokenize: each line by itself
  --detokenize IDS      print the text of token ids ('-': standard input)
  --perplexity FILE     perplexity of a text: the second half of each window is scored
  --window N            tokens in a window (default 512)
  --selftest            replay a text that was recorded at compile time by every step: pass or fail
  --digest HEX          with --selftest: the logits must have the bits of a run that printed HEX
  --bench               measure speed
  --profile             where the time of a prompt and of generated tokens goes, by kernel and by layer
  --trace FILE          with --profile: also every launch of the last repetition, for ui.perfetto.dev
  --prompt-tokens N, --gen-tokens N, --depth N, --reps N
                        prompt length (512), generated tokens (128), tokens in the context before
                        the generated ones (0), repetitions (5; medians are printed)
  --batch N             with them: also N sequences side by side, one token of each at a time
other
  --info                what this program was made from
  --json                for --bench, --profile, --selftest, --info, --perplexity, --tokenize
  --threads N           default: the physical cores that this process may use
  --isa NAME            which of the program's kernels to run (--info lists them); default: the best
                        ones that this processor runs
  --weights FILE        where the weights of a program that was compiled with --split are (default:
                        beside it)
  --help, --version
)";

namespace {

enum class Kind : uint8_t { mode, mode_text, text, flag, integer, real, seed };

struct Option {
  const char *name;
  Kind kind;
  Mode mode;
  size_t offset;       ///< of the field in Options
  int64_t least, most; ///< of integers
};

#define FIELD(name) offsetof(Options, name)
constexpr Option table[] = {
    {"-p", Kind::mode_text, Mode::prompt, FIELD(text), 0, 0},
    {"--prompt", Kind::mode_text, Mode::prompt, FIELD(text), 0, 0},
    {"--tokens", Kind::mode_text, Mode::logits, FIELD(text), 0, 0},
    {"--tokenize", Kind::mode_text, Mode::tokenize, FIELD(text), 0, 0},
    {"--detokenize", Kind::mode_text, Mode::detokenize, FIELD(text), 0, 0},
    {"--perplexity", Kind::mode_text, Mode::perplexity, FIELD(text), 0, 0},
    {"--bench", Kind::mode, Mode::bench, 0, 0, 0},
    {"--profile", Kind::mode, Mode::profile, 0, 0, 0},
    {"--selftest", Kind::mode, Mode::selftest, 0, 0, 0},
    // Not in the help: what --bench starts to measure the time from process start.
    {"--bench-first-token", Kind::mode, Mode::first_token, 0, 0, 0},
    {"--info", Kind::mode, Mode::info, 0, 0, 0},
    {"--help", Kind::mode, Mode::help, 0, 0, 0},
    {"-h", Kind::mode, Mode::help, 0, 0, 0},
    {"--version", Kind::mode, Mode::version, 0, 0, 0},
    {"--system", Kind::text, Mode::chat, FIELD(system), 0, 0},
    {"--logits", Kind::text, Mode::chat, FIELD(logits), 0, 0},
    {"--trace", Kind::text, Mode::chat, FIELD(trace), 0, 0},
    {"--layers", Kind::text, Mode::chat, FIELD(layers), 0, 0},
    {"--step", Kind::text, Mode::chat, FIELD(step), 0, 0},
    {"--weights", Kind::text, Mode::chat, FIELD(weights), 0, 0},
    {"--isa", Kind::text, Mode::chat, FIELD(isa), 0, 0},
    {"--digest", Kind::text, Mode::chat, FIELD(digest), 0, 0},
    {"--raw", Kind::flag, Mode::chat, FIELD(raw), 0, 0},
    {"--json", Kind::flag, Mode::chat, FIELD(json), 0, 0},
    {"--special", Kind::flag, Mode::chat, FIELD(special), 0, 0},
    {"--lines", Kind::flag, Mode::chat, FIELD(lines), 0, 0},
    {"-n", Kind::integer, Mode::chat, FIELD(count), -1, INT32_MAX},
    {"--threads", Kind::integer, Mode::chat, FIELD(threads), 1, INGOT_MAX_THREADS},
    {"--window", Kind::integer, Mode::chat, FIELD(window), 2, INT32_MAX},
    {"--prompt-tokens", Kind::integer, Mode::chat, FIELD(prompt_tokens), 1, INT32_MAX},
    {"--gen-tokens", Kind::integer, Mode::chat, FIELD(gen_tokens), 1, INT32_MAX},
    {"--depth", Kind::integer, Mode::chat, FIELD(depth), 0, INT32_MAX},
    {"--batch", Kind::integer, Mode::chat, FIELD(batch), 1, INGOT_MAX_SEQUENCES},
    {"--reps", Kind::integer, Mode::chat, FIELD(reps), 1, 1000},
    {"--temp", Kind::real, Mode::chat, FIELD(sampling.temperature), 0, 0},
    {"--top-k", Kind::integer, Mode::chat, FIELD(sampling.top_k), 0, INT32_MAX},
    {"--top-p", Kind::real, Mode::chat, FIELD(sampling.top_p), 0, 1},
    {"--min-p", Kind::real, Mode::chat, FIELD(sampling.min_p), 0, 1},
    {"--repeat-penalty", Kind::real, Mode::chat, FIELD(sampling.repeat_penalty), 0, 0},
    {"--repeat-window", Kind::integer, Mode::chat, FIELD(sampling.repeat_window), -1, INT32_MAX},
    {"--seed", Kind::seed, Mode::chat, FIELD(sampling.seed), 0, 0},
};
#undef FIELD

/// The option that `text` probably meant: the one with the longest common beginning (4 or more).
const char *nearest(const char *text, size_t bytes) {
  const char *best = nullptr;
  size_t longest = 3;
  for (const Option &option : table) {
    size_t same = 0;
    while (same < bytes && option.name[same] && option.name[same] == text[same])
      ++same;
    if (same > longest) {
      longest = same;
      best = option.name;
    }
  }
  return best;
}

bool is_space(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

} // namespace

bool parse_integer(const char *text, int64_t least, int64_t most, int64_t *value) {
  const bool negative = *text == '-';
  if (negative)
    ++text;
  if (!*text)
    return false;
  int64_t magnitude = 0;
  for (; *text; ++text) {
    if (*text < '0' || *text > '9' || magnitude > (INT64_MAX - 9) / 10)
      return false;
    magnitude = magnitude * 10 + (*text - '0');
  }
  *value = negative ? -magnitude : magnitude;
  return *value >= least && *value <= most;
}

bool parse_real(const char *text, double *value) {
  const bool negative = *text == '-';
  if (negative)
    ++text;
  double magnitude = 0;
  int32_t digits = 0, exponent = 0;
  bool point = false;
  for (; (*text >= '0' && *text <= '9') || (*text == '.' && !point); ++text) {
    if (*text == '.') {
      point = true;
      continue;
    }
    magnitude = magnitude * 10 + (*text - '0');
    exponent -= point;
    if (++digits > 300)
      return false;
  }
  if (!digits)
    return false;
  if (*text == 'e' || *text == 'E') {
    int64_t power;
    if (!parse_integer(text[1] == '+' ? text + 2 : text + 1, -300, 300, &power))
      return false;
    exponent += static_cast<int32_t>(power);
    text = "";
  }
  if (*text)
    return false;
  double scale = 1;
  for (int32_t i = exponent < 0 ? -exponent : exponent; i > 0; --i)
    scale *= 10;
  *value = (exponent < 0 ? magnitude / scale : magnitude * scale) * (negative ? -1 : 1);
  return true;
}

int64_t parse_ids(const char *text, size_t bytes, int32_t *out, int64_t capacity) {
  int64_t count = 0;
  for (size_t i = 0; i < bytes;) {
    if (is_space(text[i]) || text[i] == ',') {
      ++i;
      continue;
    }
    const size_t begin = i;
    int64_t id = 0;
    for (; i < bytes && text[i] >= '0' && text[i] <= '9' && id <= INT32_MAX; ++i)
      id = id * 10 + (text[i] - '0');
    if (i == begin || id > INT32_MAX || (i < bytes && !is_space(text[i]) && text[i] != ','))
      return -1 - static_cast<int64_t>(begin);
    if (count < capacity)
      out[count] = static_cast<int32_t>(id);
    ++count;
  }
  return count;
}

bool parse_options(int argc, char **argv, Options *options, char (&message)[256],
                   char (&help)[256]) {
  // The last byte of each stays free for the 0.
  Writer said(message, sizeof message - 1), advice(help, sizeof help - 1);
  auto fail = [&] {
    message[said.used] = 0;
    if (!advice.used)
      advice.text("--help lists the options");
    help[advice.used] = 0;
    return false;
  };
  const char *mode_name = nullptr;
  for (int i = 1; i < argc; ++i) {
    const char *argument = argv[i];
    const char *equals = argument[0] == '-' && argument[1] == '-' ? strchr(argument, '=') : nullptr;
    const size_t length = equals ? static_cast<size_t>(equals - argument) : strlen(argument);
    const Option *found = nullptr;
    for (const Option &option : table)
      if (strlen(option.name) == length && !memcmp(option.name, argument, length))
        found = &option;
    if (!found) {
      said.text("unknown option '").bytes(argument, length).text("'");
      if (const char *guess = nearest(argument, length))
        advice.text("did you mean ").text(guess).text("?");
      else if (argument[0] != '-')
        advice.text("-p \"TEXT\" answers a text");
      return fail();
    }
    const bool takes_value = found->kind != Kind::mode && found->kind != Kind::flag;
    if (equals && !takes_value) {
      said.text(found->name).text(" takes no value");
      return fail();
    }
    const char *value = nullptr;
    if (takes_value) {
      value = equals ? equals + 1 : ++i < argc ? argv[i] : nullptr;
      if (!value) {
        said.text(found->name).text(" needs a value");
        return fail();
      }
    }
    if (found->kind == Kind::mode || found->kind == Kind::mode_text) {
      if (mode_name && found->mode != Mode::help && options->mode != Mode::help) {
        said.text(mode_name).text(" and ").text(found->name).text(" exclude each other");
        return fail();
      }
      mode_name = found->name;
      if (options->mode != Mode::help)
        options->mode = found->mode;
    }

    auto *field = reinterpret_cast<char *>(options) + found->offset;
    int64_t integer = 0;
    double real = 0;
    switch (found->kind) {
    case Kind::mode:
      break;
    case Kind::mode_text:
    case Kind::text:
      memcpy(field, static_cast<const void *>(&value), sizeof value);
      break;
    case Kind::flag:
      *field = 1;
      break;
    case Kind::integer:
      if (!parse_integer(value, found->least, found->most, &integer)) {
        said.text(found->name)
            .text(": '")
            .bytes(value, strnlen(value, 64))
            .text("' is not a whole "
                  "number of at least ")
            .number(found->least);
        if (found->most != INT32_MAX)
          said.text(" and at most ").number(found->most);
        return fail();
      }
      {
        const auto narrow = static_cast<int32_t>(integer);
        memcpy(field, &narrow, sizeof narrow);
      }
      break;
    case Kind::seed:
      if (!parse_integer(value, 0, INT64_MAX, &integer)) {
        said.text("--seed: '")
            .bytes(value, strnlen(value, 64))
            .text("' is not a whole number of at "
                  "least 0");
        return fail();
      }
      options->sampling.seed = static_cast<uint64_t>(integer);
      options->seeded = true;
      break;
    case Kind::real: {
      const bool positive = found->offset == offsetof(Options, sampling.repeat_penalty);
      if (!parse_real(value, &real) || real < 0 || (positive && !(real > 1e-30)) || real > 1e30 ||
          (found->most && real > static_cast<double>(found->most))) {
        said.text(found->name)
            .text(": '")
            .bytes(value, strnlen(value, 64))
            .text("' is not a number ")
            .text(positive      ? "above 0"
                  : found->most ? "from 0 to 1"
                                : "of at least 0");
        return fail();
      }
      const auto narrow = static_cast<float>(real);
      memcpy(field, &narrow, sizeof narrow);
      break;
    }
    }
  }

  auto only_with = [&](bool given, const char *name, bool allowed, const char *with) {
    if (given && !allowed && options->mode != Mode::help) {
      said.text(name).text(" goes only with ").text(with);
      return false;
    }
    return true;
  };
  const Mode mode = options->mode;
  if (mode == Mode::logits && !options->logits && !options->layers) {
    said.text("--tokens needs --logits OUT.npy");
    return fail();
  }
  if (!only_with(options->logits, "--logits", mode == Mode::logits, "--tokens") ||
      !only_with(options->layers, "--layers", mode == Mode::logits && !options->logits,
                 "--tokens, and not with --logits") ||
      !only_with(options->step, "--step", options->layers, "--layers") ||
      !only_with(options->batch, "--batch",
                 mode == Mode::bench || mode == Mode::profile || options->layers,
                 "--bench, --profile or --layers") ||
      !only_with(options->trace, "--trace", mode == Mode::profile, "--profile") ||
      !only_with(options->digest, "--digest", mode == Mode::selftest, "--selftest") ||
      !only_with(options->lines, "--lines", mode == Mode::tokenize, "--tokenize") ||
      !only_with(options->special, "--special", mode == Mode::tokenize || options->raw,
                 "--raw or --tokenize") ||
      !only_with(options->raw, "--raw", mode == Mode::prompt || mode == Mode::chat, "-p") ||
      !only_with(options->system, "--system",
                 (mode == Mode::prompt || mode == Mode::chat) && !options->raw,
                 "a conversation, and not with --raw") ||
      !only_with(options->json, "--json",
                 mode == Mode::bench || mode == Mode::profile || mode == Mode::selftest ||
                     mode == Mode::info || mode == Mode::perplexity || mode == Mode::tokenize,
                 "--bench, --profile, --selftest, --info, --perplexity or --tokenize"))
    return fail();
  return true;
}

} // namespace ingot::runtime
