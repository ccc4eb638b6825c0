// The command-line program, linked statically with a fake model: its output, files and exit codes.
#include "fake.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

// The steps of fake.h are not run here.
extern "C" void ingot_barrier_wait(ingot_barrier *, int32_t, int32_t, const void *, uint64_t) {}
extern "C" void ingot_profile_mark(ingot_profile *, int32_t) {}

namespace {

namespace fs = std::filesystem;

std::string read_file(const fs::path &path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

struct Result {
  int code;
  std::string out, errors;
};

class Program : public testing::Test {
protected:
  void SetUp() override {
    char name[] = "/tmp/ingot-program-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder = name;
  }
  void TearDown() override { fs::remove_all(folder); }

  /// Runs the program through the shell's redirections; `arguments` are quoted here.
  Result run(const std::vector<std::string> &arguments, const std::string &input = "",
             const std::string &program = FAKE_PROGRAM) {
    std::ofstream(folder / "in", std::ios::binary) << input;
    std::string line = "'" + program + "'";
    for (const std::string &argument : arguments)
      line += " '" + argument + "'";
    line += " <" + (folder / "in").string() + " >" + (folder / "out").string() + " 2>" +
            (folder / "errors").string();
    // NOLINTNEXTLINE(bugprone-command-processor): the redirections are the shell's
    const int status = std::system(line.c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status), read_file(folder / "out"),
            read_file(folder / "errors")};
  }

  fs::path folder;
};

TEST_F(Program, HelpVersionInfo) {
  const Result help = run({"--help"});
  EXPECT_EQ(help.code, 0);
  EXPECT_NE(help.out.find("--repeat-penalty"), std::string::npos);
  EXPECT_EQ(run({"--version"}).out, "Fake \"model\", compiled by ingot 0.0.0-test\n");
  const Result json = run({"--info", "--json"});
  EXPECT_EQ(json.code, 0);
  for (const char *part : {"\"name\": \"Fake \\\"model\\\"\"", "\"rms_norm_eps\": 0.00001",
                           "\"source_encoding\": \"Q4_1\"", "\"stop\": [257, 258]",
                           "\"begin_user\": \"<|im_start|>user\\n\"", "\"embeddings\": true"})
    EXPECT_NE(json.out.find(part), std::string::npos) << part << "\n" << json.out;
  const std::string info = run({"--info"}).out;
  EXPECT_NE(info.find("1,234,567 parameters"), std::string::npos);
  EXPECT_NE(info.find("score 4, batch 2, 4, embeddings\n"), std::string::npos) << info;
}

TEST_F(Program, VariantInUse) {
  const Result json = run({"--info", "--json"});
  for (const char *part : {"\"isa\": \"plain\"",
                           "{\"name\": \"future\", \"isa\": \"flux\", \"features\": [\"flux2\"], "
                           "\"missing_feature\": \"flux2\", \"in_use\": false}",
                           "{\"name\": \"common\", \"isa\": \"plain\", \"features\": [\"sse2\"], "
                           "\"missing_feature\": null, \"in_use\": true}"})
    EXPECT_NE(json.out.find(part), std::string::npos) << part << "\n" << json.out;
  EXPECT_NE(run({"--info", "--isa", "base"})
                .out.find("kernels    future (flux: this processor has no flux2), "
                          "common (plain: runs here, too), base (plain: in use)\n"),
            std::string::npos);
  EXPECT_EQ(run({"--raw", "-p", "x", "--temp", "0", "--isa", "base"}).out, "yz\n");
  EXPECT_EQ(run({"--isa"}).code, 2);
  for (std::vector<std::string> mode : {std::vector<std::string>{"-p", "x"}, {"--info"}}) {
    mode.insert(mode.end(), {"--isa", "flux"});
    const Result lacking = run(mode);
    EXPECT_EQ(lacking.code, 1);
    EXPECT_EQ(lacking.errors, "error: --isa: this processor has no flux2, which kernels for future "
                              "need\nhelp: leave --isa out\n");
    mode.back() = "sse";
    const Result unknown = run(mode);
    EXPECT_EQ(unknown.code, 1);
    EXPECT_EQ(unknown.errors, "error: --isa: this program has no kernels for 'sse'\n"
                              "help: it has future (flux), common (plain), base (plain)\n");
  }
}

TEST_F(Program, NoVariantRuns) {
  const Result result = run({"-p", "x"}, "", FAKE_PROGRAM_REFUSED);
  EXPECT_EQ(result.code, 1);
  EXPECT_EQ(result.errors,
            "error: this processor has no flux1, which even the kernels for base need"
            "\nhelp: compile the model for another --target\n");
  const Result c = run({}, "", FAKE_C_PROGRAM_REFUSED);
  EXPECT_EQ(c.code, 1);
  EXPECT_EQ(c.errors, "this processor lacks instructions that the program uses");
  const Result info = run({"--info", "--json"}, "", FAKE_PROGRAM_REFUSED); // runs no kernel
  EXPECT_EQ(info.code, 0);
  EXPECT_NE(info.out.find("\"isa\": null"), std::string::npos);
}

TEST_F(Program, FromC) {
  const Result result = run({}, "", FAKE_C_PROGRAM);
  EXPECT_EQ(result.code, 0) << result.errors;
  EXPECT_EQ(result.out, "vwxyz");
}

TEST_F(Program, UsageErrors) {
  const Result unknown = run({"--frob"});
  EXPECT_EQ(unknown.code, 2);
  EXPECT_EQ(unknown.out, "");
  EXPECT_EQ(unknown.errors, "error: unknown option '--frob'\nhelp: --help lists the options\n");
  EXPECT_EQ(run({"-p", "x", "--temp", "hot"}).code, 2);
}

TEST_F(Program, AnswersAndContinues) {
  // The chat template ends in a new line, whose successor is 'a'; 'z' ends the answer.
  EXPECT_EQ(run({"-p", "Hello", "--temp", "0"}).out, "abcdefghijklmnopqrstuvwxyz\n");
  EXPECT_EQ(run({"--raw", "-p", "abcx", "--temp", "0"}).out, "yz\n");
  EXPECT_EQ(run({"--raw", "-p", "-", "--temp", "0"}, "u").out, "vwxyz\n");
  EXPECT_EQ(run({"--raw", "-p", "a", "-n", "3", "--temp", "0"}).out, "bcd\n");
  EXPECT_EQ(run({"--raw", "-p", "a", "-n", "0", "--temp", "0"}).out, "\n");
  EXPECT_EQ(run({"--raw", "-p", "E", "--temp", "0"}).out, "\xc3\xa9xyz\n");
  for (const char *threads : {"1", "2", "7"})
    EXPECT_EQ(run({"-p", "Hello", "--temp", "0", "--threads", threads}).out,
              "abcdefghijklmnopqrstuvwxyz\n");
  const std::vector<std::string> hot{"--raw", "-p",      "a", "--temp", "50", "--top-k",
                                     "0",     "--top-p", "1", "-n",     "30", "--seed"};
  auto seeded = [&](const char *seed) {
    std::vector<std::string> arguments = hot;
    arguments.push_back(seed);
    return run(arguments).out;
  };
  EXPECT_EQ(seeded("5"), seeded("5"));
  EXPECT_NE(seeded("5"), seeded("6"));
}

TEST_F(Program, FullContext) {
  const Result cut = run({"--raw", "-p", "L", "--temp", "0"});
  EXPECT_EQ(cut.code, 0);
  EXPECT_EQ(cut.out, std::string(96, 'L') + "\n");
  EXPECT_NE(cut.errors.find("the context of 96 tokens is full"), std::string::npos);
  const Result exceeded = run({"--raw", "-p", std::string(97, 'a')});
  EXPECT_EQ(exceeded.code, 1);
  EXPECT_EQ(exceeded.out, "");
  EXPECT_NE(exceeded.errors.find("the prompt has 97 tokens, and 96 are left"), std::string::npos)
      << exceeded.errors;
  EXPECT_EQ(run({"--raw", "-p", ""}).code, 1);
}

TEST_F(Program, Logits) {
  const fs::path out = folder / "logits.npy";
  std::ofstream(folder / "ids") << "1, 2\n256 4 5 97\n";
  const Result result = run(
      {"--tokens", "@" + (folder / "ids").string(), "--logits", out.string(), "--threads", "3"});
  ASSERT_EQ(result.code, 0) << result.errors;
  const std::string bytes = read_file(out);
  const int32_t tokens[] = {1, 2, 256, 4, 5, 97};
  ASSERT_EQ(bytes.size(), 128 + sizeof(float) * 6 * fake::vocab_size);
  EXPECT_NE(bytes.find("'shape': (6, 259)"), std::string::npos);
  for (int32_t i = 0; i < 6; ++i)
    for (int32_t j = 0; j < fake::vocab_size; ++j) {
      float value;
      std::memcpy(&value,
                  &bytes[128 + sizeof(float) * static_cast<size_t>(i * fake::vocab_size + j)],
                  sizeof value);
      ASSERT_EQ(value, fake::logit(fake::chain_of(tokens, i + 1), tokens[i], j));
    }

  // Errors leave the older file alone and nothing beside it.
  auto count = [&] { return std::distance(fs::directory_iterator(folder), {}); };
  const auto files = count();
  for (std::string ids : {"259", "1,-2", "1,x", ",", "@/nonexistent", "99999999999"}) {
    const Result bad = run({"--tokens", ids, "--logits", out.string()});
    EXPECT_EQ(bad.code, 1) << ids;
    EXPECT_EQ(bad.errors.rfind("error: ", 0), 0u) << bad.errors;
  }
  std::string many = "1";
  for (int i = 0; i < 96; ++i)
    many += ",1";
  EXPECT_NE(run({"--tokens", many, "--logits", out.string()})
                .errors.find("97 tokens do not fit the context of 96"),
            std::string::npos);
  EXPECT_EQ(run({"--tokens", "1", "--logits", (folder / "no" / "x.npy").string()}).code, 1);
  EXPECT_EQ(run({"--tokens", "1", "--logits", folder.string()}).code, 1); // a folder
  EXPECT_EQ(count(), files);
  EXPECT_EQ(read_file(out), bytes);
}

TEST_F(Program, FullDisk) {
  const Result result = run({"-c", FAKE_PROGRAM " --help >/dev/full"}, "", "/bin/sh");
  EXPECT_EQ(result.code, 1);
  EXPECT_NE(result.errors.find("No space left on device"), std::string::npos) << result.errors;
}

TEST_F(Program, TokenizeAndBack) {
  EXPECT_EQ(run({"--tokenize", "a b"}).out, "97,32,98\n");
  EXPECT_EQ(run({"--tokenize", "-", "--json"}, "a\n").out, "[97,10]\n");
  EXPECT_EQ(run({"--tokenize", "-", "--lines"}, "a\n\nbc").out, "97\n\n98,99\n");
  EXPECT_EQ(run({"--tokenize", ""}).out, "\n");
  EXPECT_EQ(run({"--detokenize", "104,105,10"}).out, "hi\n");
  EXPECT_EQ(run({"--detokenize", "-"}, "104 105").out, "hi");
  EXPECT_EQ(run({"--detokenize", "259"}).code, 1);
}

TEST_F(Program, PerplexityIsThatOfTheLogits) {
  std::string text;
  for (int i = 0; i < 70; ++i)
    text += static_cast<char>('a' + (i * 5) % 26);
  std::ofstream(folder / "text") << text;
  // Two windows of 32; of each, tokens 16 .. 31 are scored.
  double total = 0;
  for (int window = 0; window < 2; ++window) {
    std::vector<int32_t> tokens(text.begin() + window * 32, text.begin() + (window + 1) * 32);
    for (int32_t i = 16; i < 32; ++i) {
      const uint64_t chain = fake::chain_of(tokens.data(), i);
      double sum = 0;
      for (int32_t j = 0; j < fake::vocab_size; ++j)
        sum += std::exp(
            static_cast<double>(fake::logit(chain, tokens[static_cast<size_t>(i - 1)], j)));
      total += std::log(sum) - fake::logit(chain, tokens[static_cast<size_t>(i - 1)],
                                           tokens[static_cast<size_t>(i)]);
    }
  }
  const Result result =
      run({"--perplexity", (folder / "text").string(), "--window", "32", "--json"});
  ASSERT_EQ(result.code, 0) << result.errors;
  double perplexity = 0;
  int count = 0, windows = 0;
  // NOLINTNEXTLINE(bugprone-unchecked-string-to-number-conversion): the values are compared
  ASSERT_EQ(std::sscanf(result.out.c_str(), "{\"perplexity\": %lf, \"tokens\": %d, \"windows\": %d",
                        &perplexity, &count, &windows),
            3)
      << result.out;
  EXPECT_EQ(count, 32);
  EXPECT_EQ(windows, 2);
  EXPECT_NEAR(perplexity / std::exp(total / 32), 1, 1e-7);
  EXPECT_EQ(run({"--perplexity", (folder / "text").string(), "--window", "97"}).code, 1);
  EXPECT_EQ(run({"--perplexity", (folder / "text").string(), "--window", "96"}).code, 1); // short
  EXPECT_EQ(run({"--perplexity", (folder / "absent").string()}).code, 1);
}

TEST_F(Program, Profile) {
  const fs::path out = folder / "trace.json";
  std::vector<std::string> command{"--profile", "--prompt-tokens", "20", "--gen-tokens",
                                   "12",        "--depth",         "30", "--reps",
                                   "2",         "--threads",       "2"};
  const Result text = run(command);
  ASSERT_EQ(text.code, 0) << text.errors;
  for (const char *part : {"prefill: ", "decode: ", "chain", "logits", "waiting at barriers",
                           "outside steps", "total", "output"})
    EXPECT_NE(text.out.find(part), std::string::npos) << part << "\n" << text.out;
  EXPECT_EQ(text.out.find("batch: "), std::string::npos);

  command.insert(command.end(), {"--json", "--batch", "3", "--trace", out.string()});
  const Result json = run(command);
  ASSERT_EQ(json.code, 0) << json.errors;
  EXPECT_EQ(json.out.rfind("{\"threads\": 2, \"prefill\": {\"per\": \"prompt\", ", 0), 0u)
      << json.out;
  for (const char *part : {"\"count\": 2, \"steps\": 6, \"tokens\": 20", "\"name\": \"both\"",
                           "\"per\": \"round\", \"count\": 24, \"steps\": 24, \"tokens\": 36"})
    EXPECT_NE(json.out.find(part), std::string::npos) << part << "\n" << json.out;
  EXPECT_NE(read_file(out).find("\"traceEvents\":["), std::string::npos);
  auto count = [&] {
    return std::distance(fs::directory_iterator(folder), fs::directory_iterator{});
  };
  const auto files = count();

  // What cannot be written is said; nothing is printed and nothing left behind.
  const std::string before = read_file(out);
  const std::vector<std::vector<std::string>> bad{
      {"--profile", "--reps", "1", "--prompt-tokens", "9", "--trace",
       (folder / "no" / "x").string()},
      {"--profile", "--reps", "1", "--prompt-tokens", "9", "--trace", folder.string()},
      {"--profile", "--reps", "1", "--prompt-tokens", "97", "--trace", out.string()},
      {"--profile", "--reps", "1", "--gen-tokens", "90", "--depth", "9", "--trace", out.string()}};
  for (const auto &arguments : bad) {
    const Result result = run(arguments);
    EXPECT_EQ(result.code, 1);
    EXPECT_EQ(result.out, "");
    EXPECT_EQ(result.errors.rfind("error: ", 0), 0u) << result.errors;
  }
  const Result full = run({"-c", "trap \"\" XFSZ; ulimit -f 1; exec " FAKE_PROGRAM
                                 " --profile --prompt-tokens 9 --gen-tokens 40 --trace " +
                                     out.string()},
                          "", "/bin/sh");
  EXPECT_EQ(full.code, 1);
  EXPECT_NE(full.errors.find("File too large"), std::string::npos) << full.errors;
  EXPECT_EQ(full.out, "");
  EXPECT_EQ(count(), files);
  EXPECT_EQ(read_file(out), before);
}

TEST_F(Program, Bench) {
  const Result result = run({"--bench", "--prompt-tokens", "40", "--gen-tokens", "20", "--depth",
                             "30", "--reps", "2", "--json", "--threads", "2"});
  ASSERT_EQ(result.code, 0) << result.errors;
  double prefill = 0, decode = 0, first = 0, resident = 0, anonymous = 0, planned = 0, weights = 0;
  int threads = 0;
  // NOLINTNEXTLINE(bugprone-unchecked-string-to-number-conversion): the values are compared
  ASSERT_EQ(std::sscanf(result.out.c_str(),
                        "{\"prefill_tok_s\": %lf, \"decode_tok_s\": %lf, \"ttft_ms\": %lf, "
                        "\"peak_rss_mib\": %lf, \"peak_anonymous_mib\": %lf, "
                        "\"planned_mib\": %lf, \"weights_mib\": %lf, \"threads\": %d, \"cpu\": \"",
                        &prefill, &decode, &first, &resident, &anonymous, &planned, &weights,
                        &threads),
            8)
      << result.out;
  EXPECT_GT(prefill, 0);
  EXPECT_GT(decode, 0);
  EXPECT_GT(first, 0);
  EXPECT_GT(resident, anonymous);
  EXPECT_GT(anonymous, 0);
  EXPECT_GT(planned, 0);
  EXPECT_NEAR(weights, 12293.0 / (1 << 20), 0.005); // of fake_program.cpp
  EXPECT_EQ(threads, 2);
  EXPECT_EQ(result.out.find("batch"), std::string::npos);
  EXPECT_NE(result.out.find(", \"isa\": \"common\""), std::string::npos) << result.out;
  const std::vector<std::string> batch{"--bench", "--prompt-tokens", "9",  "--gen-tokens",
                                       "20",      "--depth",         "30", "--reps",
                                       "2",       "--batch",         "7"};
  const Result text = run(batch);
  EXPECT_NE(text.out.find(" tokens/s (7 sequences side by side)\n"), std::string::npos)
      << text.out << text.errors;
  std::vector<std::string> json = batch;
  json.push_back("--json");
  const Result record = run(json);
  const size_t at = record.out.find("\"batch_decode_tok_s\": ");
  ASSERT_NE(at, std::string::npos) << record.out << record.errors;
  EXPECT_GT(std::stod(record.out.substr(at + 22)), 0);
  EXPECT_NE(record.out.find("\"batch\": 7"), std::string::npos);
  EXPECT_EQ(run({"--bench"}).code, 1); // 512 tokens do not fit
}

TEST_F(Program, Selftest) {
  const Result text = run({"--selftest", "--threads", "2"});
  EXPECT_EQ(text.code, 0) << text.out << text.errors;
  for (const char *step : {"tokenizer", "score", "decode", "prefill", "decode2", "decode4"})
    EXPECT_NE(text.out.find("\n" + (step + std::string(11 - strlen(step), ' ')) + "pass"),
              std::string::npos)
        << step << "\n"
        << text.out;
  EXPECT_EQ(text.out.substr(text.out.size() - 6), "\npass\n");
  // Every step gives the same rows, so that all digests are one.
  const size_t at = text.out.find("\ndigest");
  ASSERT_NE(at, std::string::npos);
  const std::string digest = text.out.substr(at + 12, 16);
  const Result same = run({"--selftest", "--threads", "1", "--digest", digest, "--json"});
  EXPECT_EQ(same.code, 0) << same.errors;
  for (const std::string &part :
       {R"({"passed": true, "digest": ")" + digest + "\"",
        std::string("\"tokens\": 11, \"error_bound\": 9e-6, \"tokenizer\": true"),
        std::string("{\"name\": \"prefill\", \"passed\": true, \"rows\": 10, \"agreed\": 10,")})
    EXPECT_NE(same.out.find(part), std::string::npos) << part << "\n" << same.out;

  const Result other = run({"--selftest", "--digest", "0123456789abcdef"});
  EXPECT_EQ(other.code, 1);
  EXPECT_EQ(other.errors.rfind("error: --selftest: the logits are within the bound, but", 0), 0u)
      << other.errors;
  const Result wrong = run({"--selftest"}, "", FAKE_PROGRAM_WRONG);
  EXPECT_EQ(wrong.code, 1);
  for (const char *line : {"\ntokenizer  FAIL  other tokens", "\ndecode     FAIL  mean KL "})
    EXPECT_NE(wrong.out.find(line), std::string::npos) << wrong.out;
  EXPECT_EQ(wrong.out.substr(wrong.out.size() - 6), "\nFAIL\n");
  EXPECT_EQ(wrong.errors.rfind("error: --selftest: this program does not compute", 0), 0u);
  EXPECT_NE(run({"--selftest", "--json"}, "", FAKE_PROGRAM_WRONG).out.find("\"passed\": false"),
            std::string::npos);
  EXPECT_EQ(run({"--bench", "--digest", "0"}).code, 2);
}

TEST_F(Program, Layers) {
  const fs::path out = folder / "layers";
  const Result score = run({"--tokens", "97,98", "--layers", out.string()});
  ASSERT_EQ(score.code, 0) << score.errors;
  const std::string text = read_file(out);
  const std::string header =
      "{\"step\": \"score\", \"evaluations\": 1, \"tokens\": 2, \"values\": [\n"
      "{\"launch\": 0, \"layer\": 0, \"kernel\": \"chain\", \"rows\": 2, \"columns\": 4},\n"
      "{\"launch\": 2, \"layer\": -2, \"kernel\": \"logits\", \"rows\": 2, \"columns\": 259}]}\n";
  ASSERT_EQ(text.substr(0, header.size()), header);
  ASSERT_EQ(text.size(), header.size() + 2 * (4 + 259) * sizeof(float));
  std::vector<float> values(2 * (4 + 259));
  memcpy(values.data(), text.data() + header.size(), values.size() * sizeof(float));
  const int32_t tokens[] = {97, 98};
  EXPECT_EQ(values[0], 97); // fake.h: what "chain" leaves in the arena
  EXPECT_EQ(values[4], 98);
  EXPECT_EQ(values[8], fake::logit(fake::chain_of(tokens, 1), 97, 0));
  EXPECT_EQ(values.back(), fake::logit(fake::chain_of(tokens, 2), 98, 258));

  ASSERT_EQ(
      run({"--tokens", "97,98,99,100,101", "--layers", out.string(), "--step", "decode"}).code, 0);
  EXPECT_EQ(read_file(out).rfind("{\"step\": \"decode\", \"evaluations\": 5, \"tokens\": 1,", 0),
            0u);
  const Result many = run({"--tokens", "1,2,3,4,5", "--layers", (folder / "x").string()});
  EXPECT_EQ(many.code, 1);
  EXPECT_NE(many.errors.find("a score step takes at most 4 tokens"), std::string::npos);
  EXPECT_FALSE(fs::exists(folder / "x"));
  for (const std::vector<std::string> &wrong :
       std::vector<std::vector<std::string>>{{"--layers", "x"},
                                             {"--tokens", "1", "--logits", "x", "--layers", "y"},
                                             {"--tokens", "1", "--logits", "x", "--step", "score"}})
    EXPECT_EQ(run(wrong).code, 2);
  EXPECT_EQ(run({"--tokens", "1", "--layers", out.string(), "--step", "prefill"}).code, 1);
}

TEST_F(Program, TooLittleMemoryIsOneSentence) {
  // Of 62 MiB for the session and 16 MiB for the stack of each thread, KiB:
  for (const char *limit : {"20000", "90000"}) {
    const Result result =
        run({"-c", std::string("ulimit -v ") + limit + "; exec " FAKE_PROGRAM " -p hi --threads 4"},
            "", "/bin/sh");
    EXPECT_EQ(result.code, 1) << limit;
    EXPECT_EQ(result.out, "");
    EXPECT_EQ(result.errors.rfind("error: cannot start: too little memory: the system refuses to "
                                  "reserve 12",
                                  0),
              0u)
        << result.errors;
  }
}

TEST_F(Program, Conversation) {
  EXPECT_EQ(run({"--temp", "0"}, "hi\n").out, "abcdefghijklmnopqrstuvwxyz\n");
  // 21 tokens, 26 of the answer, 26 of the second turn: its answer stops after the 24th token,
  // which still comes from the 96th position. After /reset there is room.
  const Result result = run({"--temp", "0"}, "hi\nagain\n/reset\nagain\n/frob\n/exit\nnot read\n");
  EXPECT_EQ(result.code, 0);
  EXPECT_EQ(result.out,
            "abcdefghijklmnopqrstuvwxyz\nabcdefghijklmnopqrstuvwx\nThe conversation starts over.\n"
            "abcdefghijklmnopqrstuvwxyz\nunknown command /frob; /help lists them\n");
  EXPECT_EQ(run({"--temp", "0", "--raw"}, "x\r\n\ny").out, "yz\nz\n");
}

/// The program with pipes at both ends.
class Running {
public:
  explicit Running(std::vector<std::string> arguments) {
    int in[2], out[2];
    EXPECT_EQ(pipe(in), 0);
    EXPECT_EQ(pipe(out), 0);
    child = fork();
    if (child == 0) {
      dup2(in[0], 0);
      dup2(out[1], 1);
      for (int file : {in[0], in[1], out[0], out[1]})
        close(file);
      std::vector<char *> raw;
      raw.reserve(arguments.size() + 1);
      for (std::string &argument : arguments)
        raw.push_back(argument.data());
      raw.push_back(nullptr);
      execv(raw[0], raw.data());
      _exit(127);
    }
    close(in[0]);
    close(out[1]);
    to = in[1];
    from = out[0];
  }
  ~Running() {
    close(to);
    close(from);
  }
  void send(const std::string &text) {
    EXPECT_EQ(write(to, text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  /// Reads until `wanted` has come (true) or the output ends.
  bool expect(const std::string &wanted) {
    std::array<char, 4096> part;
    while (text.find(wanted) == std::string::npos) {
      const ssize_t count = read(from, part.data(), part.size());
      if (count <= 0)
        return false;
      text.append(part.data(), static_cast<size_t>(count));
    }
    text.clear();
    return true;
  }
  void interrupt() { kill(child, SIGINT); }
  int finish() {
    close(to);
    to = -1;
    expect("no such text");
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

private:
  pid_t child = -1;
  int to = -1, from = -1;
  std::string text;
};

TEST(Interrupt, StopsTheAnswerNotTheConversation) {
  Running program({FAKE_PROGRAM_LONG, "--raw", "--temp", "0"});
  program.send("L\n");
  ASSERT_TRUE(program.expect("LLLL")); // a million would follow
  program.interrupt();
  ASSERT_TRUE(program.expect("\n"));
  program.send("w\n");
  EXPECT_TRUE(program.expect("xyz\n"));
  EXPECT_EQ(program.finish(), 0);
}

TEST(Interrupt, EndsAPromptWithItsOwnCode) {
  Running program({FAKE_PROGRAM_LONG, "--raw", "--temp", "0", "-p", "L"});
  ASSERT_TRUE(program.expect("LLLL"));
  program.interrupt();
  EXPECT_EQ(program.finish(), 130);
}

} // namespace
