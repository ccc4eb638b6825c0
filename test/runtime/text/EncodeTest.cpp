// The tokenizer on vocabularies that are made so that a result can be foretold.
#include "test/frontend/tokenizer/Vocabulary.h"

#include "gtest/gtest.h"

#include <map>
#include <random>

namespace ingot {
namespace {

using test::Tables;
using test::Vocabulary;

Tables built(Vocabulary &vocabulary) {
  return llvm::cantFail(Tables::build(vocabulary.finished()));
}

/// A vocabulary in which each word of at most three of `letters` is one token: what comes out are
/// the words of the splitter.
Tables words(const char *pre, std::vector<std::string> letters) {
  Vocabulary vocabulary(pre);
  for (const std::string &letter : letters)
    for (size_t i = 1; i < letter.size(); ++i)
      vocabulary.merge(letter.substr(0, i), letter.substr(i, 1));
  for (const std::string &a : letters)
    for (const std::string &b : letters)
      vocabulary.merge(a, b);
  for (const std::string &a : letters)
    for (const std::string &b : letters)
      for (const std::string &c : letters) {
        vocabulary.merge(a + b, c);
        vocabulary.merge(a, b + c);
      }
  return built(vocabulary);
}

using Words = std::vector<std::string>;

TEST(Splitter, gpt2) {
  const Tables t = words("gpt2", {"x", " ", "1", "!", "'", "s"});
  EXPECT_EQ(t.pieces("x x"), (Words{"x", " x"}));
  EXPECT_EQ(t.pieces("x1!"), (Words{"x", "1", "!"}));
  EXPECT_EQ(t.pieces("11 1"), (Words{"11", " 1"}));
  EXPECT_EQ(t.pieces("x's"), (Words{"x", "'s"}));
  EXPECT_EQ(t.pieces(" 's"), (Words{" '", "s"}));
  EXPECT_EQ(t.pieces("'sx"), (Words{"'s", "x"}));
  EXPECT_EQ(t.pieces("!'s"), (Words{"!'", "s"}));
  EXPECT_EQ(t.pieces("'x"), (Words{"'", "x"}));
  EXPECT_EQ(t.pieces("x'"), (Words{"x", "'"}));
  EXPECT_EQ(t.pieces("   x"), (Words{"  ", " x"}));
  EXPECT_EQ(t.pieces("x   "), (Words{"x", "   "}));
  EXPECT_EQ(t.pieces(" !!"), (Words{" !!"}));
}

TEST(Splitter, contractionsAreLowerCase) {
  const Tables t = words("gpt2", {"'", "r", "e", "E", "l", "v"});
  EXPECT_EQ(t.pieces("'re"), (Words{"'re"}));
  EXPECT_EQ(t.pieces("'ve'll"), (Words{"'ve", "'ll"}));
  EXPECT_EQ(t.pieces("'rE"), (Words{"'", "rE"}));
  EXPECT_EQ(t.pieces("'rl"), (Words{"'", "rl"}));
  EXPECT_EQ(t.pieces("'l"), (Words{"'", "l"}));
}

TEST(Splitter, contractionsOfOneLetter) {
  const Tables t = words("gpt2", {"x", "'", "t", "m", "d"});
  EXPECT_EQ(t.pieces("'tx"), (Words{"'t", "x"}));
  EXPECT_EQ(t.pieces("'mx"), (Words{"'m", "x"}));
  EXPECT_EQ(t.pieces("'dx"), (Words{"'d", "x"}));
  EXPECT_EQ(t.pieces("'xt"), (Words{"'", "xt"}));
}

TEST(Splitter, smollmTakesEveryNumberAlone) {
  const Tables t = words("smollm", {"x", " ", "1", "!", "\xC2\xBD"});
  EXPECT_EQ(t.pieces("111"), (Words{"1", "1", "1"}));
  EXPECT_EQ(t.pieces("x 1"), (Words{"x", " ", "1"}));
  EXPECT_EQ(t.pieces("  1"), (Words{"  ", "1"}));
  EXPECT_EQ(t.pieces("1 x"), (Words{"1", " x"}));
  EXPECT_EQ(t.pieces("\xC2\xBD\xC2\xBD!"), (Words{"\xC2\xBD", "\xC2\xBD", "!"}));
}

TEST(Splitter, otherWhiteSpace) {
  const Tables t = words("gpt2", {"x", " ", "\n", "\r", "\xC2\xA0"});
  EXPECT_EQ(t.pieces("x\n\nx"), (Words{"x", "\n", "\n", "x"}));
  EXPECT_EQ(t.pieces("x\r\n"), (Words{"x", "\r\n"}));
  EXPECT_EQ(t.pieces("x\xC2\xA0x"), (Words{"x", "\xC2\xA0", "x"}));
  EXPECT_EQ(t.pieces("\n x"), (Words{"\n", " x"}));
  EXPECT_EQ(t.pieces("\xC2\xA0 x"), (Words{"\xC2\xA0", " x"}));
}

TEST(Merges, lowestRankFirstThenLeftmost) {
  Vocabulary vocabulary;
  vocabulary.merge("b", "c");
  vocabulary.merge("a", "b");
  vocabulary.merge("a", "a");
  const Tables t = built(vocabulary);
  EXPECT_EQ(t.pieces("abc"), (Words{"a", "bc"}));
  EXPECT_EQ(t.pieces("aaa"), (Words{"aa", "a"}));
  EXPECT_EQ(t.pieces("aaab"), (Words{"aa", "ab"}));
}

/// The definition: while there is one, apply the merge of lowest rank, leftmost.
std::vector<std::string> byDefinition(const Vocabulary &vocabulary, const std::string &word) {
  std::map<std::pair<std::string, std::string>, size_t> ranks;
  for (size_t rank = 0; rank < vocabulary.merges.size(); ++rank) {
    const std::string &merge = vocabulary.merges[rank];
    const size_t space = merge.find(' ');
    ranks.try_emplace({merge.substr(0, space), merge.substr(space + 1)}, rank);
  }
  std::vector<std::string> pieces;
  for (char c : word)
    pieces.push_back(std::string(1, c));
  for (;;) {
    size_t best = ~size_t(0), at = 0;
    for (size_t i = 0; i + 1 < pieces.size(); ++i) {
      auto found = ranks.find({pieces[i], pieces[i + 1]});
      if (found != ranks.end() && found->second < best) {
        best = found->second;
        at = i;
      }
    }
    if (best == ~size_t(0))
      return pieces;
    pieces[at] += pieces[at + 1];
    pieces.erase(pieces.begin() + static_cast<ptrdiff_t>(at) + 1);
  }
}

TEST(Merges, areByDefinitionForRandomVocabularies) {
  std::mt19937 random(11);
  auto below = [&](size_t n) { return static_cast<size_t>(random() % n); };
  for (int round = 0; round < 40; ++round) {
    Vocabulary vocabulary;
    std::vector<std::string> known{"a", "b", "c", "d"};
    for (int i = 0; i < 60; ++i) {
      const std::string left = known[below(known.size())], right = known[below(known.size())];
      if (left.size() + right.size() > 12)
        continue;
      vocabulary.merge(left, right);
      known.push_back(left + right);
    }
    const Tables t = built(vocabulary);
    for (int i = 0; i < 50; ++i) {
      std::string word;
      for (size_t n = 1 + below(80); word.size() < n;)
        word += "abcd"[below(4)];
      ASSERT_EQ(t.pieces(word), byDefinition(vocabulary, word)) << word;
    }
  }
}

TEST(Encode, nothingForNothing) {
  Vocabulary vocabulary;
  EXPECT_TRUE(built(vocabulary).encode("").empty());
  EXPECT_TRUE(built(vocabulary).encode("", true).empty());
}

TEST(Encode, anyBytesComeBack) {
  Vocabulary vocabulary("smollm");
  vocabulary.merge("\xE4", "\xBD");
  vocabulary.merge("\xE4\xBD", "\xA0");
  vocabulary.merge(" ", " ");
  vocabulary.add("<|x|>", 3);
  const Tables t = built(vocabulary);
  std::mt19937 random(3);
  const std::string common = "\xE4\xBD\xA0\xF0\x9F 1'a<|x|>\xC0\xED\xFF";
  for (int i = 0; i < 3000; ++i) {
    std::string text;
    for (size_t n = random() % 60; text.size() < n;)
      text += random() % 2 ? common[random() % common.size()] : static_cast<char>(random());
    ASSERT_EQ(t.decode(t.encode(text, i % 2)), text);
  }
  std::string all;
  for (int byte = 0; byte < 256; ++byte)
    all += static_cast<char>(byte);
  EXPECT_EQ(t.decode(t.encode(all)), all);
}

TEST(Encode, bytesWithoutTokenAreLeftOut) {
  Vocabulary vocabulary;
  vocabulary.merge("a", "b");
  vocabulary.tokens[4] = "<|no byte 4|>";
  vocabulary.types[4] = 3;
  const Tables t = built(vocabulary);
  EXPECT_EQ(t.pieces(std::string("a\4b")), (Words{"a", "b"}));
  EXPECT_TRUE(t.pieces(std::string("\4")).empty());
  EXPECT_EQ(t.pieces(std::string("ab\4\4ab")), (Words{"ab", "ab"}));
}

TEST(Encode, longWordsAreOneWord) {
  Vocabulary vocabulary;
  std::string run = "a";
  for (int i = 0; i < 10; ++i, run += run)
    vocabulary.merge(run, run); // up to 1,024
  const Tables t = built(vocabulary);
  std::vector<std::string> expected(976, std::string(1024, 'a'));
  expected.push_back(std::string(512, 'a'));
  expected.push_back(std::string(64, 'a'));
  EXPECT_EQ(t.pieces(std::string(1'000'000, 'a')), expected);
  EXPECT_EQ(t.decode(t.encode(std::string(100'000, ' '))), std::string(100'000, ' '));
}

TEST(Encode, specialTokens) {
  Vocabulary vocabulary;
  const int32_t control = vocabulary.add("<|a|>", 3);
  vocabulary.add("<|a|><|a|>!", 3);
  const int32_t defined = vocabulary.add("<d>", 4);
  vocabulary.merge(" ", " ");
  const Tables t = built(vocabulary);
  EXPECT_EQ(t.encode("<|a|>").size(), 5u);
  EXPECT_EQ(t.encode("<|a|>", true), std::vector{control});
  EXPECT_EQ(t.encode("<d>"), std::vector{defined});
  EXPECT_EQ(t.pieces("x<|a|><|a|>!<d>y", true), (Words{"x", "<|a|><|a|>!", "<d>", "y"}));
  EXPECT_EQ(t.pieces("<|a|><|a|><|a|>!", true), (Words{"<|a|>", "<|a|><|a|>!"}));
  EXPECT_EQ(t.pieces("<|a<|a|>|>", true), (Words{"<", "|", "a", "<|a|>", "|", ">"}));
  // Words do not reach over a special token.
  EXPECT_EQ(t.pieces("  <d>  ", true), (Words{"  ", "<d>", "  "}));
}

TEST(Encode, manyDifferentSpecialTokens) {
  Vocabulary vocabulary;
  std::string text;
  std::vector<int32_t> expected;
  for (int i = 0; i < 3000; ++i) {
    const std::string name =
        "<" + std::string(static_cast<size_t>(i) % 50, 'x') + std::to_string(i) + ">";
    expected.push_back(vocabulary.add(name, 4));
    text += name;
  }
  EXPECT_EQ(built(vocabulary).encode(text), expected);
}

TEST(Encode, saysHowManyThereAreWhereFewFit) {
  Vocabulary vocabulary;
  const Tables tables = built(vocabulary);
  const ingot_tokenizer t = tables.tokenizer();
  std::vector<int32_t> scratch(1000);
  int32_t out[4] = {-7, -7, -7, -7};
  EXPECT_EQ(ingot_tokenizer_encode(&t, "abcdef", 6, false, scratch.data(), 4000, out, 3), 6);
  EXPECT_EQ(std::vector(out, out + 4), (std::vector<int32_t>{'a', 'b', 'c', -7}));
  EXPECT_EQ(ingot_tokenizer_encode(&t, "abcdef", 6, false, scratch.data(), 8, out, 3), -1);
}

} // namespace
} // namespace ingot
