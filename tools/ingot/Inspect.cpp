// ingot inspect: what is in a model file or a compiled program.
#include "frontend/gguf/Gguf.h"
#include "support/Error.h"
#include "tools/ingot/Commands.h"
#include "tools/ingot/InspectHtml.h"
#include "tools/ingot/InspectProgram.h"

#include "llvm/Object/ObjectFile.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/raw_ostream.h"

namespace ingot {

std::string mebibytes(uint64_t bytes) {
  std::string text;
  llvm::raw_string_ostream(text) << llvm::format("%.2f MiB", double(bytes) / (1 << 20));
  return text;
}

namespace {

namespace json = llvm::json;

/// Text of a file, fit for a terminal and for JSON.
std::string printable(llvm::StringRef text) {
  std::string out;
  llvm::raw_string_ostream stream(out);
  if (json::isUTF8(text) && llvm::all_of(text, [](char c) { return (unsigned char)c >= 32; }))
    return text.str();
  stream.write_escaped(text, /*UseHexEscapes=*/true);
  return out;
}

//===--- Model files -----------------------------------------------------------===//

llvm::Error inspectModel(const InspectOptions &options) {
  auto opened = GgufFile::open(options.file);
  if (!opened)
    return opened.takeError();
  const GgufFile &file = **opened;
  auto architecture = file.getString("general.architecture");
  if (!architecture)
    return architecture.takeError();
  auto name = file.getString("general.name");
  if (!name)
    return name.takeError();
  uint64_t bytes = 0, parameters = 0;
  for (const GgufTensor &tensor : file.tensors()) {
    bytes += tensor.data.size();
    parameters += tensor.rows * tensor.columns;
  }
  if (options.json || !options.html.empty()) {
    json::Array tensors;
    for (const GgufTensor &tensor : file.tensors())
      tensors.push_back(json::Object{{"name", printable(tensor.name)},
                                     {"encoding", tensor.encoding->name},
                                     {"rows", tensor.rows},
                                     {"columns", tensor.columns},
                                     {"bytes", int64_t(tensor.data.size())}});
    json::Object root{{"file", options.file},
                      {"kind", "gguf"},
                      {"architecture", printable(architecture->value_or(""))},
                      {"name", printable(name->value_or(""))},
                      {"parameters", int64_t(parameters)},
                      {"tensor_bytes", int64_t(bytes)},
                      {"tensors", std::move(tensors)}};
    if (!options.html.empty())
      return writeHtml(std::move(root), options.html);
    llvm::outs() << llvm::formatv("{0:2}", json::Value(std::move(root))) << "\n";
    return llvm::Error::success();
  }
  llvm::outs() << options.file << ": GGUF, " << printable(architecture->value_or("?")) << ", "
               << printable(name->value_or("unnamed")) << "\n"
               << file.tensors().size() << " tensors, " << grouped(parameters) << " parameters, "
               << mebibytes(bytes) << "\n\n";
  for (const GgufTensor &tensor : file.tensors())
    llvm::outs() << llvm::left_justify(printable(tensor.name), 32)
                 << llvm::right_justify(tensor.encoding->name, 6)
                 << llvm::right_justify(
                        std::to_string(tensor.rows) + "x" + std::to_string(tensor.columns), 14)
                 << llvm::right_justify(grouped(tensor.data.size()), 14) << "  "
                 << tensor.encoding->encoding.str() << "\n";
  return llvm::Error::success();
}

llvm::Error inspect(const InspectOptions &options) {
  auto buffer = llvm::MemoryBuffer::getFile(options.file, /*IsText=*/false, false);
  if (!buffer)
    return inputError(options.file, "", buffer.getError().message());
  if (!(*buffer)->getBuffer().starts_with("\x7f"
                                          "ELF"))
    return inspectModel(options);
  auto object = llvm::object::ObjectFile::createELFObjectFile((*buffer)->getMemBufferRef());
  if (!object)
    return inputError(options.file, "", llvm::toString(object.takeError()));
  return inspectProgram(**object, options);
}

} // namespace

int runInspect(const InspectOptions &options) {
  if (llvm::Error error = inspect(options))
    return reportError(std::move(error));
  return 0;
}

} // namespace ingot
