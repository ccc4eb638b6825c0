// ingot inspect: what is in a model file or a compiled program.
#include "frontend/gguf/Gguf.h"
#include "runtime/manifest_generated.h"
#include "support/Error.h"
#include "tools/ingot/Commands.h"

#include "llvm/Object/ELFObjectFile.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/raw_ostream.h"

namespace ingot {
namespace {

namespace json = llvm::json;

std::string mebibytes(uint64_t bytes) {
  std::string text;
  llvm::raw_string_ostream(text) << llvm::format("%.2f MiB", double(bytes) / (1 << 20));
  return text;
}

llvm::StringRef orEmpty(const flatbuffers::String *text) {
  return text ? llvm::StringRef(text->c_str(), text->size()) : llvm::StringRef();
}

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
  if (options.json) {
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

//===--- Compiled programs --------------------------------------------------------===//

struct Program {
  const manifest::Manifest *manifest = nullptr;
  std::vector<std::pair<std::string, uint64_t>> sections; ///< allocated, by address
};

llvm::Expected<Program> readProgram(const llvm::object::ObjectFile &object, llvm::StringRef path) {
  Program program;
  for (const llvm::object::SectionRef &section : object.sections()) {
    auto name = section.getName();
    if (!name)
      return name.takeError();
    const llvm::object::ELFSectionRef elf(section);
    if (!(elf.getFlags() & llvm::ELF::SHF_ALLOC) || !section.getSize())
      continue;
    program.sections.push_back({name->str(), section.getSize()});
    if (*name != ".ingot.manifest")
      continue;
    auto bytes = section.getContents();
    if (!bytes)
      return bytes.takeError();
    flatbuffers::Verifier verifier(reinterpret_cast<const uint8_t *>(bytes->data()), bytes->size());
    if (!manifest::VerifyManifestBuffer(verifier))
      return inputError(path, "section .ingot.manifest", "is damaged");
    program.manifest = manifest::GetManifest(bytes->data());
  }
  if (!program.manifest || !program.manifest->model() || !program.manifest->build() ||
      !program.manifest->build()->variants())
    return inputError(path, "", "is an ELF file, but not a program made by ingot");
  return program;
}

json::Array variantsToJson(const manifest::Build &build) {
  json::Array variants;
  for (const auto *variant : *build.variants()) {
    json::Array features;
    if (variant->features())
      for (const auto *feature : *variant->features())
        features.push_back(orEmpty(feature));
    variants.push_back(json::Object{{"name", orEmpty(variant->name())},
                                    {"isa", orEmpty(variant->isa())},
                                    {"features", std::move(features)}});
  }
  return variants;
}

json::Object toJson(const Program &program, const InspectOptions &options) {
  const manifest::Manifest &m = *program.manifest;
  json::Array sections, weights, buffers, kernels;
  for (const auto &[name, bytes] : program.sections)
    sections.push_back(json::Object{{"name", name}, {"bytes", int64_t(bytes)}});
  if (m.weights())
    for (const auto *w : *m.weights())
      weights.push_back(json::Object{{"name", orEmpty(w->name())},
                                     {"source_encoding", orEmpty(w->source_encoding())},
                                     {"encoding", orEmpty(w->encoding())},
                                     {"rows", w->rows()},
                                     {"columns", w->columns()},
                                     {"offset", int64_t(w->offset())},
                                     {"bytes", int64_t(w->bytes())}});
  if (m.buffers())
    for (const auto *b : *m.buffers())
      buffers.push_back(json::Object{{"name", orEmpty(b->name())},
                                     {"offset", int64_t(b->offset())},
                                     {"bytes", int64_t(b->bytes())},
                                     {"first_use", b->first_use()},
                                     {"last_use", b->last_use()}});
  json::Array caches;
  if (m.caches())
    for (const auto *c : *m.caches())
      caches.push_back(json::Object{{"name", orEmpty(c->name())},
                                    {"offset", int64_t(c->offset())},
                                    {"bytes", int64_t(c->bytes())}});
  if (m.kernels())
    for (const auto *k : *m.kernels())
      kernels.push_back(orEmpty(k->name()));
  return json::Object{{"file", options.file},
                      {"kind", "program"},
                      {"name", orEmpty(m.model()->name())},
                      {"architecture", orEmpty(m.model()->architecture())},
                      {"target", orEmpty(m.build()->target())},
                      {"variants", variantsToJson(*m.build())},
                      {"source_file", orEmpty(m.build()->source_file())},
                      {"source_hash", orEmpty(m.build()->source_hash())},
                      {"context_length", m.model()->context_length()},
                      {"sections", std::move(sections)},
                      {"weights", std::move(weights)},
                      {"planned_memory", std::move(buffers)},
                      {"caches", std::move(caches)},
                      {"kernels", std::move(kernels)}};
}

void printProgram(const Program &program, const InspectOptions &options) {
  const manifest::Manifest &m = *program.manifest;
  llvm::outs() << options.file << ": program, " << orEmpty(m.model()->name()) << " from "
               << orEmpty(m.build()->source_file()) << "\n"
               << "compiled by ingot " << orEmpty(m.build()->ingot_version()) << " for "
               << orEmpty(m.build()->target()) << ", context " << m.model()->context_length()
               << ", " << orEmpty(m.build()->activations()) << " activations, "
               << orEmpty(m.build()->kv_cache()) << " KV cache\nkernels for ";
  llvm::interleaveComma(*m.build()->variants(), llvm::outs(), [](const auto *variant) {
    llvm::outs() << orEmpty(variant->name()) << " (" << orEmpty(variant->isa()) << ")";
  });
  llvm::outs() << "\n\nSections\n";
  for (const auto &[name, bytes] : program.sections)
    llvm::outs() << "  " << llvm::left_justify(name, 24) << llvm::right_justify(grouped(bytes), 14)
                 << "\n";
  llvm::outs() << "\nWeights\n";
  if (m.weights())
    for (const auto *w : *m.weights())
      llvm::outs() << "  " << llvm::left_justify(orEmpty(w->name()), 32)
                   << llvm::right_justify(
                          std::to_string(w->rows()) + "x" + std::to_string(w->columns()), 14)
                   << llvm::right_justify(grouped(w->bytes()), 14) << "  "
                   << orEmpty(w->source_encoding()) << " -> " << orEmpty(w->encoding()) << "\n";
  llvm::outs() << "\nPlanned memory (launches of the prefill step that use it)\n";
  uint64_t end = 0;
  if (m.buffers())
    for (const auto *b : *m.buffers()) {
      end = std::max<uint64_t>(end, b->offset() + b->bytes());
      llvm::outs() << "  " << llvm::left_justify(orEmpty(b->name()), 40)
                   << llvm::right_justify(grouped(b->offset()), 14)
                   << llvm::right_justify(grouped(b->bytes()), 14) << "  " << b->first_use() << ".."
                   << b->last_use() << "\n";
    }
  llvm::outs() << "  in all " << mebibytes(end) << "\n\nKV caches of a sequence\n";
  end = 0;
  if (m.caches())
    for (const auto *c : *m.caches()) {
      end = std::max<uint64_t>(end, c->offset() + c->bytes());
      llvm::outs() << "  " << llvm::left_justify(orEmpty(c->name()), 40)
                   << llvm::right_justify(grouped(c->offset()), 14)
                   << llvm::right_justify(grouped(c->bytes()), 14) << "\n";
    }
  llvm::outs() << "  in all " << mebibytes(end) << "\n";
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
  auto program = readProgram(**object, options.file);
  if (!program)
    return program.takeError();
  if (options.json)
    llvm::outs() << llvm::formatv("{0:2}", json::Value(toJson(*program, options))) << "\n";
  else
    printProgram(*program, options);
  return llvm::Error::success();
}

} // namespace

int runInspect(const InspectOptions &options) {
  if (llvm::Error error = inspect(options))
    return reportError(std::move(error));
  return 0;
}

} // namespace ingot
