// Checks and tables of byte-level BPE (Tokenizer.h).
#include "frontend/tokenizer/Tokenizer.h"

#include "runtime/text/tokenizer.h"
#include "support/Error.h"

#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/ConvertUTF.h"
#include "llvm/Support/MathExtras.h"

#include <utf8proc.h>

#include <array>
#include <map>

namespace ingot {
namespace {

constexpr uint64_t free_slot = ~uint64_t(0);
constexpr size_t max_tokens = 1 << 24, max_token_bytes = 1 << 16, max_merges = 1 << 24;
/// The runtime cuts the text at them one by one, and nests as deep as it finds different ones.
constexpr size_t max_special = 1 << 14;
/// A table at most half full has longer runs of slots in use only where ids were chosen to collide.
constexpr size_t max_probes = 1 << 10;

enum TokenKind : uint8_t { normal = 1, unknown_kind, control, user_defined, unused, byte_kind };
enum CodePointClass : uint8_t { other, letter, number, white_space };

/// Splitters that the runtime knows, by the names that files use (`tokenizer.ggml.pre`). Which
/// names are the same splitter was found by comparing what llama.cpp makes of
/// test/oracle/tokenizer.py's texts; there, a missing name and "default" are another one.
struct Splitter {
  const char *name, *runtime_name;
};
constexpr Splitter splitters[] = {
    {"gpt-2", "gpt2"},        {"gpt2", "gpt2"},        {"mpt", "gpt2"},
    {"olmo", "gpt2"},         {"jais", "gpt2"},        {"phi-2", "gpt2"},
    {"trillion", "gpt2"},     {"gigachat", "gpt2"},    {"granite-docling", "gpt2"},
    {"smollm", "smollm"},     {"starcoder", "smollm"}, {"refact", "smollm"},
    {"codeshell", "smollm"},  {"command-r", "smollm"}, {"exaone", "smollm"},
    {"minerva-7b", "smollm"},
};

/// The GPT-2 byte alphabet: printable Latin-1 stands for itself, the 68 other bytes for U+0100 on
/// (Radford et al. 2019, section 2.2, and the vocabulary files that came with it).
const std::array<uint32_t, 256> &byteAlphabet() {
  static const auto table = [] {
    std::array<uint32_t, 256> out{};
    uint32_t next = 256;
    for (uint32_t byte = 0; byte < 256; ++byte) {
      const bool printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173);
      out[byte] = printable ? byte : next++;
    }
    return out;
  }();
  return table;
}

CodePointClass classOf(uint32_t code_point) {
  switch (code_point) {
  case 0x85:
  case 0xa0:
  case 0x1680:
  case 0x2028:
  case 0x2029:
  case 0x202f:
  case 0x205f:
  case 0x3000:
    return white_space;
  default:
    break;
  }
  if ((code_point >= 9 && code_point <= 13) || code_point == 32 ||
      (code_point >= 0x2000 && code_point <= 0x200a))
    return white_space;
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(code_point))) {
  case UTF8PROC_CATEGORY_LU:
  case UTF8PROC_CATEGORY_LL:
  case UTF8PROC_CATEGORY_LT:
  case UTF8PROC_CATEGORY_LM:
  case UTF8PROC_CATEGORY_LO:
    return letter;
  case UTF8PROC_CATEGORY_ND:
  case UTF8PROC_CATEGORY_NL:
  case UTF8PROC_CATEGORY_NO:
    return number;
  default:
    return other;
  }
}

/// Two-stage table: for each 256 code points the number of a block, equal blocks stored once.
void classTables(std::vector<uint16_t> &index, std::vector<uint8_t> &blocks) {
  std::map<std::array<uint8_t, 256>, uint16_t> known;
  for (uint32_t first = 0; first < 0x110000; first += 256) {
    std::array<uint8_t, 256> block;
    for (uint32_t i = 0; i < 256; ++i)
      block[i] = classOf(first + i);
    auto [found, added] = known.try_emplace(block, static_cast<uint16_t>(known.size()));
    if (added)
      blocks.insert(blocks.end(), block.begin(), block.end());
    index.push_back(found->second);
  }
}

class TableBuilder {
public:
  TableBuilder(flatbuffers::FlatBufferBuilder &builder, const TokenizerSource &source)
      : builder(builder), source(source) {}

  llvm::Expected<flatbuffers::Offset<manifest::Tokenizer>> build() {
    if (llvm::Error error = chooseSplitter())
      return error;
    if (llvm::Error error = addTokens())
      return error;
    if (llvm::Error error = addMerges())
      return error;
    for (auto [name, id] : {std::pair{"bos_token_id", source.bos},
                            {"eos_token_id", source.eos},
                            {"eot_token_id", source.eot},
                            {"unknown_token_id", source.unknown}})
      if (id < -1 || id >= static_cast<int64_t>(source.tokens.size()))
        return fail(std::string("field 'tokenizer.ggml.") + name + "'",
                    "is " + llvm::Twine(id) + ", the vocabulary has " +
                        grouped(source.tokens.size()) + " tokens");
    addStops();

    std::vector<uint16_t> class_index;
    std::vector<uint8_t> class_blocks;
    classTables(class_index, class_blocks);
    return manifest::CreateTokenizerDirect(
        builder, "bpe", splitter, source.add_bos && source.bos >= 0, source.add_space_prefix,
        static_cast<int32_t>(source.bos), static_cast<int32_t>(source.eos), &stop,
        static_cast<int32_t>(source.unknown), &offsets, &bytes, &kinds, &byte_tokens, &merge_keys,
        &merge_ranks, &merge_results, &special, &class_index, &class_blocks);
  }

private:
  llvm::Error fail(const llvm::Twine &where, const llvm::Twine &message,
                   const llvm::Twine &help = "") {
    return inputError(source.file, where, message, help);
  }
  static std::string shown(llvm::StringRef text) {
    std::string out = "'";
    llvm::raw_string_ostream(out).write_escaped(text.take_front(40), true) << "'";
    return out;
  }

  llvm::Error chooseSplitter() {
    if (source.model != "gpt2")
      return fail("field 'tokenizer.ggml.model'",
                  source.model.empty() ? "is missing"
                                       : "tokenizer " + shown(source.model) + " is not supported",
                  "supported: gpt2 (byte-level BPE)");
    std::string known;
    for (const Splitter &entry : splitters) {
      known += (known.empty() ? "" : ", ") + std::string(entry.name);
      if (source.pre == entry.name)
        splitter = entry.runtime_name;
    }
    if (!splitter)
      return fail("field 'tokenizer.ggml.pre'",
                  source.pre.empty() ? "is missing"
                                     : "splitter " + shown(source.pre) + " is not supported",
                  "supported: " + known);
    return llvm::Error::success();
  }

  llvm::Error addTokens() {
    if (source.tokens.empty() || source.tokens.size() > max_tokens)
      return fail("field 'tokenizer.ggml.tokens'", "has " + grouped(source.tokens.size()) +
                                                       " tokens, expected 1 to " +
                                                       grouped(max_tokens));
    if (!source.types.empty() && source.types.size() != source.tokens.size())
      return fail("field 'tokenizer.ggml.token_type'",
                  "has " + grouped(source.types.size()) + " entries for " +
                      grouped(source.tokens.size()) + " tokens");
    byte_tokens.assign(256, -1);
    for (auto [id, text] : llvm::enumerate(source.tokens)) {
      const std::string where = "token " + std::to_string(id);
      const int64_t kind = source.types.empty() ? normal : source.types[id];
      if (kind < normal || kind > byte_kind)
        return fail(where, "has the unknown type " + llvm::Twine(kind));
      if (text.size() > max_token_bytes)
        return fail(where, "has " + grouped(text.size()) + " bytes");
      // Text of special tokens is plain; everything else is spelled in the byte alphabet.
      std::string raw = text.str();
      if (kind == normal || kind == byte_kind || kind == unused) {
        auto decoded = bytesOfToken(text);
        if (!decoded && kind == normal)
          return fail(where, shown(text) + " is not spelled in the GPT-2 byte alphabet");
        if (decoded)
          raw = *decoded;
      }
      if (auto [found, added] = ids.try_emplace(text, static_cast<int32_t>(id));
          !added && !text.empty())
        return fail(where, shown(text) + " is token " + llvm::Twine(found->second) + " already");
      if (kind == normal && raw.size() == 1 && byte_tokens[static_cast<uint8_t>(raw[0])] < 0)
        byte_tokens[static_cast<uint8_t>(raw[0])] = static_cast<int32_t>(id);
      if ((kind == control || kind == user_defined || kind == unknown_kind) && !raw.empty())
        special.push_back(static_cast<int32_t>(id));
      offsets.push_back(static_cast<uint32_t>(bytes.size()));
      bytes.insert(bytes.end(), raw.begin(), raw.end());
      kinds.push_back(static_cast<uint8_t>(kind));
      if (bytes.size() > UINT32_MAX / 2)
        return fail("field 'tokenizer.ggml.tokens'", "is too large");
    }
    offsets.push_back(static_cast<uint32_t>(bytes.size()));
    if (special.size() > max_special)
      return fail("field 'tokenizer.ggml.token_type'",
                  "has " + grouped(special.size()) + " special tokens",
                  "at most " + grouped(max_special) + " are supported");
    llvm::sort(special, [&](int32_t a, int32_t b) {
      const size_t a_size = source.tokens[a].size(), b_size = source.tokens[b].size();
      return a_size != b_size ? a_size > b_size : a < b;
    });
    return llvm::Error::success();
  }

  llvm::Error addMerges() {
    if (source.merges.size() > max_merges)
      return fail("field 'tokenizer.ggml.merges'", "has " + grouped(source.merges.size()) +
                                                       " merges, expected at most " +
                                                       grouped(max_merges));
    const size_t slots = llvm::PowerOf2Ceil(std::max<size_t>(source.merges.size() * 2, 16));
    merge_keys.assign(slots, free_slot);
    merge_ranks.assign(slots, 0);
    merge_results.assign(slots, -1);
    for (auto [rank, merge] : llvm::enumerate(source.merges)) {
      const std::string where = "merge " + std::to_string(rank);
      // The space between the two is the first that is not the start of the left one.
      const size_t space = merge.find(' ', 1);
      if (space == llvm::StringRef::npos)
        return fail(where, shown(merge) + " is not two tokens apart by a space");
      const std::string left = merge.take_front(space).str(), right = merge.substr(space + 1).str();
      const std::string texts[] = {left, right, left + right};
      int32_t found[3];
      for (auto [i, text] : llvm::enumerate(texts)) {
        const auto at = ids.find(text);
        if (text.empty() || at == ids.end())
          return fail(where, "names " + shown(text) + ", which is not a token");
        found[i] = at->second;
      }
      // Not so where one of them is a special token, whose text is not in the byte alphabet.
      if ((bytesOf(found[0]) + bytesOf(found[1])).str() != bytesOf(found[2]))
        return fail(where, "joins " + shown(left) + " and " + shown(right) +
                               " into a token that stands for other bytes");
      const uint64_t key = uint64_t(found[0]) << 32 | uint32_t(found[1]);
      size_t slot = ingot_tokenizer_merge_slot(key, slots - 1), probes = 0;
      while (merge_keys[slot] != free_slot && merge_keys[slot] != key) {
        slot = (slot + 1) & (slots - 1);
        if (++probes > max_probes)
          return fail(where, "collides with too many others");
      }
      if (merge_keys[slot] == key)
        continue; // only the first, most important one counts
      merge_keys[slot] = key;
      merge_ranks[slot] = static_cast<uint32_t>(rank);
      merge_results[slot] = found[2];
    }
    return llvm::Error::success();
  }

  llvm::StringRef bytesOf(int32_t id) const {
    return llvm::StringRef(reinterpret_cast<const char *>(bytes.data()) + offsets[id],
                           offsets[id + 1] - offsets[id]);
  }

  /// Tokens that end an answer: the ones that the file names, and the usual names of the role.
  void addStops() {
    auto add = [&](int64_t id) {
      if (id >= 0 && !llvm::is_contained(stop, static_cast<int32_t>(id)))
        stop.push_back(static_cast<int32_t>(id));
    };
    add(source.eos);
    add(source.eot);
    for (const char *name : {"<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|endoftext|>",
                             "<|end_of_text|>", "<|end|>", "<end_of_turn>", "</s>"})
      if (auto found = ids.find(name); found != ids.end() && kinds[found->second] == control)
        add(found->second);
  }

  flatbuffers::FlatBufferBuilder &builder;
  const TokenizerSource &source;
  const char *splitter = nullptr;
  llvm::StringMap<int32_t> ids;
  std::vector<uint32_t> offsets, merge_ranks;
  std::vector<uint8_t> bytes, kinds;
  std::vector<int32_t> byte_tokens, merge_results, special, stop;
  std::vector<uint64_t> merge_keys;
};

} // namespace

std::optional<std::string> bytesOfToken(llvm::StringRef text) {
  static const auto bytes = [] {
    llvm::DenseMap<uint32_t, char> out;
    for (uint32_t byte = 0; byte < 256; ++byte)
      out[byteAlphabet()[byte]] = static_cast<char>(byte);
    return out;
  }();
  std::string raw;
  const auto *at = reinterpret_cast<const llvm::UTF8 *>(text.begin());
  const auto *end = reinterpret_cast<const llvm::UTF8 *>(text.end());
  while (at != end) {
    llvm::UTF32 code_point;
    if (llvm::convertUTF8Sequence(&at, end, &code_point, llvm::strictConversion) !=
        llvm::conversionOK)
      return std::nullopt;
    const auto found = bytes.find(code_point);
    if (found == bytes.end())
      return std::nullopt;
    raw += found->second;
  }
  return raw;
}

llvm::Expected<flatbuffers::Offset<manifest::Tokenizer>>
buildTokenizer(flatbuffers::FlatBufferBuilder &builder, const TokenizerSource &source) {
  return TableBuilder(builder, source).build();
}

} // namespace ingot
