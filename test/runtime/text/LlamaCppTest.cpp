// SmolLM2's own vocabulary, on texts whose ids llama.cpp made (test/frontend/tokenizer/ids.jsonl).
#include "test/frontend/tokenizer/Vocabulary.h"

#include "frontend/gguf/Gguf.h"

#include "llvm/Support/JSON.h"

#include "gtest/gtest.h"

#include <cstdlib>
#include <fstream>
#include <optional>
#include <random>

namespace ingot {
namespace {

using test::Tables;

class SmolLm2 : public testing::Test {
protected:
  void SetUp() override {
    const char *path = std::getenv("INGOT_MODEL");
    if (!path || !*path)
      GTEST_SKIP() << "INGOT_MODEL names no model file";
    auto file = GgufFile::open(path);
    ASSERT_TRUE(bool(file)) << llvm::toString(file.takeError());
    TokenizerSource source;
    source.file = path;
    auto text = [&](const char *key) {
      auto value = llvm::cantFail((*file)->getString(key));
      return value ? value->str() : "";
    };
    source.model = text("tokenizer.ggml.model");
    source.pre = text("tokenizer.ggml.pre");
    source.tokens = llvm::cantFail((*file)->getStrings("tokenizer.ggml.tokens"));
    source.merges = llvm::cantFail((*file)->getStrings("tokenizer.ggml.merges"));
    source.types = llvm::cantFail((*file)->getIntegers("tokenizer.ggml.token_type"));
    if (source.pre != "smollm" || source.tokens.size() != 49152)
      GTEST_SKIP() << path << " has another vocabulary than SmolLM2's";
    auto built = Tables::build(source);
    ASSERT_TRUE(bool(built)) << llvm::toString(built.takeError());
    tables.emplace(std::move(*built));
  }

  std::optional<Tables> tables;
};

TEST_F(SmolLm2, idsAreLlamaCpps) {
  std::ifstream fixture(SMOLLM2_IDS);
  std::string line;
  size_t compared = 0;
  while (std::getline(fixture, line)) {
    auto parsed = llvm::json::parse(line);
    ASSERT_TRUE(bool(parsed)) << llvm::toString(parsed.takeError());
    const llvm::json::Object &entry = *parsed->getAsObject();
    const std::string text = entry.getString("text")->str();
    std::vector<int32_t> expected;
    for (const llvm::json::Value &id : *entry.getArray("ids"))
      expected.push_back(static_cast<int32_t>(*id.getAsInteger()));
    EXPECT_EQ(tables->encode(text, *entry.getBoolean("special")), expected) << line.substr(0, 200);
    EXPECT_EQ(tables->decode(expected), text) << line.substr(0, 200);
    ++compared;
  }
  EXPECT_GE(compared, 300u);
}

// The vocabulary has no token for 21 of the bytes; all others come back, in any order.
TEST_F(SmolLm2, anyBytesWithATokenComeBack) {
  std::string known;
  for (int byte = 0; byte < 256; ++byte)
    if (!tables->encode(std::string(1, static_cast<char>(byte))).empty())
      known += static_cast<char>(byte);
  EXPECT_EQ(known.size(), 235u);
  std::mt19937 random(9);
  for (int i = 0; i < 2000; ++i) {
    std::string text;
    for (size_t n = random() % 80; text.size() < n;)
      text += known[random() % known.size()];
    ASSERT_EQ(tables->decode(tables->encode(text, i % 2)), text);
  }
}

} // namespace
} // namespace ingot
