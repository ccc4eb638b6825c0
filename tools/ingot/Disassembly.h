// What the code of a compiled program consists of.
#pragma once

#include "llvm/Object/ELFObjectFile.h"
#include "llvm/Support/Error.h"

#include <map>
#include <string>
#include <vector>

namespace ingot {

struct FunctionCode {
  std::string name; ///< its symbol
  uint64_t bytes = 0, instructions = 0;
  std::map<std::string, uint64_t> mnemonics; ///< how often each occurs
};

/// The functions in a section that have a symbol. None where the program was stripped
/// or its processor's instructions are not known here. `features`: what the code may use, as LLVM
/// spells it ("+avx2,+fma").
std::vector<FunctionCode> functionsOf(const llvm::object::ObjectFile &object,
                                      llvm::StringRef section, llvm::StringRef features);

} // namespace ingot
