// The C header of a model that is linked into an app: what the app wants to know when it is
// compiled.
#pragma once

#include "llvm/ADT/StringRef.h"

#include <string>

namespace ingot {

/// `manifest`: flatbuffer bytes. `symbol`: what the program is called; constants start with it in
/// capitals, less a final "_program".
std::string headerOf(llvm::StringRef manifest, llvm::StringRef symbol);

} // namespace ingot
