// Tokenizer tables: what is in them, and what each wrong vocabulary is told.
#include "Vocabulary.h"

#include "support/Error.h"

#include "gtest/gtest.h"

namespace ingot {
namespace {

using test::Tables;
using test::Vocabulary;

Tables built(Vocabulary &vocabulary) {
  return llvm::cantFail(Tables::build(vocabulary.finished()));
}

/// "where: message (help)" of the error, "" where there is none.
std::string failure(const TokenizerSource &source) {
  auto tables = Tables::build(source);
  std::string out;
  if (!tables)
    llvm::handleAllErrors(tables.takeError(), [&](const InputError &error) {
      out = error.where + ": " + error.message + " (" + error.help + ")";
    });
  return out;
}
std::string failure(Vocabulary &vocabulary) { return failure(vocabulary.finished()); }

testing::AssertionResult saying(const std::string &text, llvm::StringRef part) {
  if (llvm::StringRef(text).contains(part))
    return testing::AssertionSuccess();
  return testing::AssertionFailure() << "'" << part.str() << "' is not in '" << text << "'";
}

std::vector<int32_t> list(const flatbuffers::Vector<int32_t> *ids) {
  return std::vector<int32_t>(ids->begin(), ids->end());
}

TEST(ByteAlphabet, isWhatVocabularyFilesUse) {
  EXPECT_EQ(bytesOfToken("\xC4\xA0the"), " the");         // U+0120
  EXPECT_EQ(bytesOfToken("\xC4\x8A"), "\n");              // U+010A
  EXPECT_EQ(bytesOfToken("\xC4\x80"), std::string(1, 0)); // U+0100
  EXPECT_EQ(bytesOfToken("\xC5\x83"), "\xAD");            // U+0143
  EXPECT_EQ(bytesOfToken("\xC3\x83\xC2\xA9"), "\xC3\xA9");
  EXPECT_EQ(bytesOfToken(""), "");
  for (int byte = 0; byte < 256; ++byte) {
    const std::string raw(1, static_cast<char>(byte));
    EXPECT_EQ(bytesOfToken(test::spelled(raw)), raw) << byte;
  }
}

TEST(ByteAlphabet, hasNothingElse) {
  EXPECT_FALSE(bytesOfToken(" "));
  EXPECT_FALSE(bytesOfToken("a\nb"));
  EXPECT_FALSE(bytesOfToken("\xC5\x84")); // U+0144, one past the end
  EXPECT_FALSE(bytesOfToken("\xE4\xBD\xA0"));
  EXPECT_FALSE(bytesOfToken("\xC4"));     // cut short
  EXPECT_FALSE(bytesOfToken("\xC0\x80")); // overlong
}

TEST(TokenizerTables, addNoTokenThatIsNotThere) {
  Vocabulary vocabulary;
  vocabulary.source.add_bos = true;
  EXPECT_FALSE(built(vocabulary).get().add_bos());
}

TEST(TokenizerTables, holdBytesKindsAndRoles) {
  Vocabulary vocabulary;
  const int32_t control = vocabulary.add("<|end|>", 3), defined = vocabulary.add("  \n", 4);
  vocabulary.source.bos = 65;
  vocabulary.source.eos = control;
  vocabulary.source.add_bos = true;
  const Tables tables = built(vocabulary);
  EXPECT_EQ(tables.piece('A'), "A");
  EXPECT_EQ(tables.piece(0xff), "\xff");
  EXPECT_EQ(tables.piece(control), "<|end|>");
  EXPECT_EQ(tables.piece(defined), "  \n");
  EXPECT_EQ(tables.piece(-1), "(none)");
  EXPECT_EQ(tables.piece(258), "(none)");
  EXPECT_EQ(tables.get().bos(), 65);
  EXPECT_TRUE(tables.get().add_bos());
  EXPECT_EQ(list(tables.get().special()), (std::vector{control, defined})); // longest first
  EXPECT_EQ(list(tables.get().stop()), std::vector{control});
  EXPECT_EQ(tables.get().token_kind()->Get(control), 3);
}

TEST(TokenizerTables, areTheSameForTheSameVocabulary) {
  Vocabulary vocabulary;
  vocabulary.merge("a", "b");
  flatbuffers::FlatBufferBuilder first, second;
  first.Finish(llvm::cantFail(buildTokenizer(first, vocabulary.finished())));
  second.Finish(llvm::cantFail(buildTokenizer(second, vocabulary.finished())));
  EXPECT_EQ(std::string(first.GetBufferPointer(), first.GetBufferPointer() + first.GetSize()),
            std::string(second.GetBufferPointer(), second.GetBufferPointer() + second.GetSize()));
}

TEST(TokenizerTables, classesAreUnicodes) {
  Vocabulary vocabulary;
  const Tables tables = built(vocabulary);
  auto class_of = [&](uint32_t code_point) {
    const auto &t = tables.get();
    return t.class_blocks()->Get(t.class_index()->Get(code_point >> 8) * 256 + (code_point & 255));
  };
  for (uint32_t c : std::vector<uint32_t>{'A', 'z', 0xe9, 0x3b1, 0x5d0, 0x4e2d, 0x3042, 0x1d49c,
                                          0x2b0 /* modifier */})
    EXPECT_EQ(class_of(c), 1) << c;
  for (uint32_t c : std::vector<uint32_t>{'0', '9', 0xbd, 0xb2, 0x663, 0x2167, 0x2460})
    EXPECT_EQ(class_of(c), 2) << c;
  for (uint32_t c : std::vector<uint32_t>{' ', '\t', '\n', '\v', '\f', '\r', 0x85, 0xa0, 0x1680,
                                          0x2003, 0x2028, 0x202f, 0x205f, 0x3000})
    EXPECT_EQ(class_of(c), 3) << c;
  for (uint32_t c : std::vector<uint32_t>{'!', '_', '$', 0x301 /* combining */, 0x200b, 0x200d,
                                          0x1f44d, 0x10ffff, 0x1c})
    EXPECT_EQ(class_of(c), 0) << c;
  EXPECT_LT(tables.get().class_blocks()->size(), 100'000u); // equal blocks are stored once
}

TEST(TokenizerErrors, models) {
  for (const char *model : {"llama", "bert", "t5", ""}) {
    Vocabulary vocabulary;
    vocabulary.source.model = model;
    EXPECT_TRUE(saying(failure(vocabulary), "tokenizer.ggml.model"));
    EXPECT_TRUE(saying(failure(vocabulary), "supported: gpt2"));
  }
}

TEST(TokenizerErrors, splitters) {
  // llama.cpp's "default" (also of files that name none) is not GPT-2's.
  for (const char *pre : {"llama-bpe", "default", "", "nonsense"}) {
    Vocabulary vocabulary(pre);
    EXPECT_TRUE(saying(failure(vocabulary), "tokenizer.ggml.pre"));
    EXPECT_TRUE(saying(failure(vocabulary), "smollm"));
  }
  for (const char *pre : {"gpt-2", "smollm", "starcoder"}) {
    Vocabulary vocabulary(pre);
    EXPECT_EQ(failure(vocabulary), "");
  }
}

TEST(TokenizerErrors, tokens) {
  Vocabulary none;
  none.tokens.clear();
  none.types.clear();
  EXPECT_TRUE(saying(failure(none), "tokenizer.ggml.tokens"));

  Vocabulary alphabet;
  alphabet.add("a b");
  EXPECT_TRUE(saying(failure(alphabet), "token 256: 'a b' is not spelled"));

  Vocabulary invalid;
  invalid.add("\xff\xff");
  EXPECT_TRUE(saying(failure(invalid), "token 256: '\\xFF\\xFF' is not spelled"));

  Vocabulary twice;
  twice.add("A");
  EXPECT_TRUE(saying(failure(twice), "token 256: 'A' is token 65 already"));

  Vocabulary kind;
  kind.add("zz", 7);
  EXPECT_TRUE(saying(failure(kind), "token 256: has the unknown type 7"));

  Vocabulary types;
  types.types.pop_back();
  EXPECT_TRUE(saying(failure(types), "255 entries for 256 tokens"));

  Vocabulary huge;
  huge.add(std::string(70'000, 'x'));
  EXPECT_TRUE(saying(failure(huge), "70,000 bytes"));

  Vocabulary special;
  for (int i = 0; i < 20'000; ++i)
    special.add("<" + std::to_string(i) + ">", 3);
  EXPECT_TRUE(saying(failure(special), "20,000 special tokens"));
}

TEST(TokenizerErrors, merges) {
  for (auto [merge, reason] : {std::pair{"ab", "not two tokens"},
                               {"a", "not two tokens"},
                               {"", "not two tokens"},
                               {"a zz", "names 'zz'"},
                               {"zz a", "names 'zz'"},
                               {"a b", "names 'ab'"},
                               {"a ", "names ''"},
                               {" a", "not two tokens"},
                               {"a b c", "names 'b c'"}}) {
    Vocabulary vocabulary;
    vocabulary.merges.push_back(merge);
    EXPECT_TRUE(saying(failure(vocabulary), "merge 0: ")) << merge;
    EXPECT_TRUE(saying(failure(vocabulary), reason)) << merge;
  }
  // The text of a special token is plain: U+00E9 is two bytes there, and one in the alphabet.
  Vocabulary special;
  special.add("a\xC3\xA9", 3);
  special.merges.push_back("a \xC3\xA9");
  EXPECT_TRUE(saying(failure(special), "other bytes"));
}

TEST(TokenizerErrors, roles) {
  for (int64_t id : {int64_t(256), int64_t(-2), int64_t(1) << 40}) {
    Vocabulary vocabulary;
    vocabulary.source.eos = id;
    EXPECT_TRUE(saying(failure(vocabulary), "tokenizer.ggml.eos_token_id"));
    EXPECT_TRUE(saying(failure(vocabulary), "256 tokens"));
  }
}

} // namespace
} // namespace ingot
