// The command line of a compiled program: what is accepted, and what each error says.
#include "runtime/main/options.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

using namespace ingot::runtime;

namespace {

struct Parsed {
  bool ok;
  Options options;
  std::string message, help;
  std::vector<std::string> arguments; ///< what `options` points into
};

Parsed parse(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "program");
  Parsed parsed;
  parsed.arguments = std::move(arguments);
  std::vector<char *> raw;
  raw.reserve(parsed.arguments.size());
  for (std::string &argument : parsed.arguments)
    raw.push_back(argument.data());
  char message[256] = "", help[256] = "";
  parsed.ok =
      parse_options(static_cast<int>(raw.size()), raw.data(), &parsed.options, message, help);
  parsed.message = message;
  parsed.help = help;
  return parsed;
}

TEST(Options, ModesAndValues) {
  EXPECT_EQ(parse({}).options.mode, Mode::chat);
  const Parsed parsed = parse({"-n", "64", "--temp=0.25", "--top-k", "7", "--seed", "99", "--raw",
                               "--threads", "3", "--repeat-penalty", "1.5e0"});
  ASSERT_TRUE(parsed.ok) << parsed.message;
  EXPECT_EQ(parsed.options.count, 64);
  EXPECT_EQ(parsed.options.sampling.temperature, 0.25f);
  EXPECT_EQ(parsed.options.sampling.top_k, 7);
  EXPECT_EQ(parsed.options.sampling.seed, 99u);
  EXPECT_EQ(parsed.options.sampling.repeat_penalty, 1.5f);
  EXPECT_TRUE(parsed.options.seeded && parsed.options.raw);
  EXPECT_EQ(parsed.options.threads, 3);
  EXPECT_EQ(parse({"--tokens", "@f", "--logits", "o"}).options.mode, Mode::logits);
  EXPECT_EQ(parse({"--bench", "--json", "--depth=5"}).options.depth, 5);
  EXPECT_EQ(parse({"--bench", "--batch", "8"}).options.batch, 8);
  EXPECT_EQ(parse({"--bench", "--help"}).options.mode, Mode::help);
}

TEST(Options, ATextMayLookLikeAnOption) {
  const Parsed parsed = parse({"-p", "--raw"});
  ASSERT_TRUE(parsed.ok);
  EXPECT_STREQ(parsed.options.text, "--raw");
  EXPECT_FALSE(parsed.options.raw);
}

TEST(Options, Errors) {
  EXPECT_EQ(parse({"--frobnicate"}).message, "unknown option '--frobnicate'");
  EXPECT_EQ(parse({"--prompt-token"}).help, "did you mean --prompt-tokens?");
  EXPECT_EQ(parse({"hello"}).message, "unknown option 'hello'");
  EXPECT_EQ(parse({"-p"}).message, "-p needs a value");
  EXPECT_EQ(parse({"--raw=1"}).message, "--raw takes no value");
  EXPECT_EQ(parse({"-p", "a", "--batch", "8"}).message,
            "--batch goes only with --bench, --profile or --layers");
  EXPECT_EQ(parse({"--bench", "--trace", "t"}).message, "--trace goes only with --profile");
  EXPECT_EQ(parse({"--bench", "--profile"}).message, "--bench and --profile exclude each other");
  EXPECT_EQ(parse({"--bench", "--batch", "257"}).message,
            "--batch: '257' is not a whole number of at least 1 and at most 256");
  EXPECT_EQ(parse({"-p", "a", "--bench"}).message, "-p and --bench exclude each other");
  EXPECT_EQ(parse({"--threads", "0"}).message,
            "--threads: '0' is not a whole number of at least 1 and at most 256");
  EXPECT_EQ(parse({"-n", "12x"}).message, "-n: '12x' is not a whole number of at least -1");
  EXPECT_EQ(parse({"-n", "99999999999999999999"}).ok, false);
  EXPECT_EQ(parse({"--top-p", "1.5"}).message, "--top-p: '1.5' is not a number from 0 to 1");
  EXPECT_EQ(parse({"--temp", "nan"}).message, "--temp: 'nan' is not a number of at least 0");
  EXPECT_EQ(parse({"--temp", "1e200"}).ok, false);
  EXPECT_EQ(parse({"--repeat-penalty", "0"}).message,
            "--repeat-penalty: '0' is not a number above 0");
  EXPECT_EQ(parse({"--tokens", "1"}).message, "--tokens needs --logits OUT.npy");
  EXPECT_EQ(parse({"--logits", "o"}).message, "--logits goes only with --tokens");
  EXPECT_EQ(parse({"-p", "a", "--json"}).ok, false);
  EXPECT_EQ(parse({"-p", "a", "--raw", "--system", "s"}).ok, false);
  // Longer than the message: cut, not overrun.
  EXPECT_EQ(parse({std::string(1000, 'x')}).message.size(), 255u);
}

TEST(Options, Reals) {
  double value;
  EXPECT_TRUE(parse_real("0.8", &value));
  EXPECT_DOUBLE_EQ(value, 0.8);
  EXPECT_TRUE(parse_real("-12.5e-3", &value));
  EXPECT_DOUBLE_EQ(value, -0.0125);
  EXPECT_TRUE(parse_real(".5", &value));
  EXPECT_TRUE(parse_real("1e+2", &value));
  EXPECT_DOUBLE_EQ(value, 100);
  for (const char *bad : {"", ".", "-", "e5", "1e", "1.2.3", "1 ", "0x10", "inf", "1e400"})
    EXPECT_FALSE(parse_real(bad, &value)) << bad;
}

TEST(Options, Ids) {
  int32_t ids[4];
  auto parsed = [&](std::string text) { return parse_ids(text.data(), text.size(), ids, 4); };
  EXPECT_EQ(parsed(" 1,22\n333\t4444 "), 4);
  EXPECT_EQ(ids[3], 4444);
  EXPECT_EQ(parsed(""), 0);
  EXPECT_EQ(parsed("1,2,3,4,5,6"), 6); // counts on past the capacity
  EXPECT_EQ(parsed("1,x"), -1 - 2);
  EXPECT_EQ(parsed("1,-2"), -1 - 2);
  EXPECT_EQ(parsed("12a"), -1 - 0);
  EXPECT_EQ(parsed("2147483647"), 1);
  EXPECT_EQ(parsed("2147483648"), -1);
  EXPECT_EQ(parsed("99999999999999999999999"), -1);
}

} // namespace
