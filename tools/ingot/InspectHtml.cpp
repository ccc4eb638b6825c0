#include "tools/ingot/InspectHtml.h"

#include "support/Files.h"

namespace ingot {
namespace {

/// Made of tools/ingot/inspect.html by the build.
constexpr llvm::StringLiteral page =
#include "inspect_html.inc"
    ;
constexpr llvm::StringLiteral place = "/*DATA*/null";

} // namespace

llvm::Error writeHtml(llvm::json::Object what, const std::string &file) {
  if (llvm::Error error = checkWritable(file))
    return error;
  // Names come from model files: none may end the script that they stand in.
  std::string text;
  llvm::raw_string_ostream(text) << llvm::json::Value(std::move(what));
  std::string safe;
  for (char c : text)
    safe += c == '<' ? "\\u003c" : std::string(1, c);
  const auto [before, after] = page.split(place);
  auto scratch = ScratchFolder::beside(file);
  if (!scratch)
    return scratch.takeError();
  const std::string result = scratch->file("page");
  if (llvm::Error error = writeFile(result, (before + safe + after).str()))
    return error;
  return publish(result, file);
}

} // namespace ingot
