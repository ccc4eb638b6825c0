// ingot inspect --html: what --json says as one page for a browser.
#pragma once

#include "llvm/Support/Error.h"
#include "llvm/Support/JSON.h"

#include <string>

namespace ingot {

/// Writes tools/ingot/inspect.html around `what`, whole or not at all. The page loads nothing.
llvm::Error writeHtml(llvm::json::Object what, const std::string &file);

} // namespace ingot
