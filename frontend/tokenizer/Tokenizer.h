// Tokenizer tables: from what a model file says to what the runtime reads in place
// (runtime/manifest.fbs, table Tokenizer).
#pragma once

#include "runtime/manifest_generated.h"

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <string>
#include <vector>

namespace ingot {

/// A tokenizer as a model file describes it. Nothing is checked yet.
struct TokenizerSource {
  std::string file;                    ///< for errors
  std::string model;                   ///< "gpt2": byte-level BPE
  std::string pre;                     ///< which splitter
  std::vector<llvm::StringRef> tokens; ///< in the GPT-2 byte alphabet, special ones as plain text
  std::vector<int64_t> types;          ///< 1 normal .. 6 byte; empty: all normal
  std::vector<llvm::StringRef> merges; ///< "left right", most important first
  int64_t bos = -1, eos = -1, eot = -1, unknown = -1;
  bool add_bos = false, add_space_prefix = false;
};

/// Checks the tokenizer and builds its tables: bytes of every token, merges as a hash table,
/// classes of code points. Errors name the token, merge or field at fault.
llvm::Expected<flatbuffers::Offset<manifest::Tokenizer>>
buildTokenizer(flatbuffers::FlatBufferBuilder &builder, const TokenizerSource &source);

/// A normal token's text (GPT-2 byte alphabet, UTF-8) as raw bytes; nothing where a character is
/// not of the alphabet.
std::optional<std::string> bytesOfToken(llvm::StringRef text);

} // namespace ingot
