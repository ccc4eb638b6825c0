// Small vocabularies for tests, and the real one of a model file.
#pragma once

#include "frontend/tokenizer/Tokenizer.h"
#include "runtime/text/tokenizer.h"

#include <string>
#include <vector>

namespace ingot::test {

/// Bytes as vocabulary files spell them. Written apart from the compiler's table of the same.
inline std::string spelled(llvm::StringRef bytes) {
  std::string out;
  for (const char c : bytes) {
    const unsigned byte = static_cast<unsigned char>(c);
    unsigned code_point = byte;
    if (byte <= 32)
      code_point = 256 + byte;
    else if (byte >= 127 && byte <= 160)
      code_point = 256 + 33 + (byte - 127);
    else if (byte == 173)
      code_point = 256 + 33 + 34;
    if (code_point < 128) {
      out += static_cast<char>(code_point);
    } else {
      out += static_cast<char>(0xc0 | code_point >> 6);
      out += static_cast<char>(0x80 | (code_point & 63));
    }
  }
  return out;
}

/// A vocabulary that grows: tokens 0 to 255 are the bytes.
struct Vocabulary {
  std::vector<std::string> tokens, merges;
  std::vector<int64_t> types;
  TokenizerSource source;

  explicit Vocabulary(const char *pre = "gpt2") {
    source.file = "test.gguf";
    source.model = "gpt2";
    source.pre = pre;
    for (int byte = 0; byte < 256; ++byte)
      add(spelled(std::string(1, static_cast<char>(byte))));
  }
  int32_t add(const std::string &spelling, int64_t type = 1) {
    tokens.push_back(spelling);
    types.push_back(type);
    return static_cast<int32_t>(tokens.size()) - 1;
  }
  /// Adds the merge, and its result where it is new.
  void merge(const std::string &left, const std::string &right) {
    merges.push_back(spelled(left) + " " + spelled(right));
    const std::string joined = spelled(left + right);
    for (const std::string &token : tokens)
      if (token == joined)
        return;
    add(joined);
  }
  const TokenizerSource &finished() {
    source.tokens.assign(tokens.begin(), tokens.end());
    source.merges.assign(merges.begin(), merges.end());
    source.types = types;
    return source;
  }
};

/// Tables in memory, as the runtime reads them.
class Tables {
public:
  static llvm::Expected<Tables> build(const TokenizerSource &source) {
    Tables out;
    auto offset = buildTokenizer(out.builder, source);
    if (!offset)
      return offset.takeError();
    out.builder.Finish(*offset);
    return out;
  }

  const manifest::Tokenizer &get() const {
    return *flatbuffers::GetRoot<manifest::Tokenizer>(builder.GetBufferPointer());
  }
  ingot_tokenizer tokenizer() const { return {&get()}; }

  std::vector<int32_t> encode(llvm::StringRef text, bool parse_special = false) const {
    const ingot_tokenizer t = tokenizer();
    std::vector<int32_t> scratch(ingot_tokenizer_scratch_bytes(text.size()) / 4 + 1);
    std::vector<int32_t> out(text.size() + 1, -7);
    const int32_t count =
        ingot_tokenizer_encode(&t, text.data(), text.size(), parse_special, scratch.data(),
                               scratch.size() * 4, out.data(), static_cast<int32_t>(out.size()));
    out.resize(count < 0 ? 0 : static_cast<size_t>(count));
    return out;
  }
  std::string piece(int32_t id) const {
    const ingot_tokenizer t = tokenizer();
    const char *bytes = nullptr;
    const int32_t size = ingot_tokenizer_piece(&t, id, &bytes);
    return size < 0 ? "(none)" : std::string(bytes, static_cast<size_t>(size));
  }
  std::string decode(const std::vector<int32_t> &ids) const {
    std::string out;
    for (int32_t id : ids)
      out += piece(id);
    return out;
  }
  std::vector<std::string> pieces(llvm::StringRef text, bool parse_special = false) const {
    std::vector<std::string> out;
    for (int32_t id : encode(text, parse_special))
      out.push_back(piece(id));
    return out;
  }

private:
  flatbuffers::FlatBufferBuilder builder;
};

} // namespace ingot::test
