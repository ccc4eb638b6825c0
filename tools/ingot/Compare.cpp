// ingot compare: where a program computes something else than another, or than the reference.
#include "codegen/compare/Compare.h"
#include "codegen/link/Sections.h"
#include "support/Error.h"
#include "support/Files.h"
#include "support/Npy.h"
#include "tools/ingot/Commands.h"

#include "llvm/Object/ELFObjectFile.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"

namespace ingot {
namespace {

/// A program's manifest, which lives as long as the file.
struct Program {
  std::unique_ptr<llvm::MemoryBuffer> file;
  const manifest::Manifest *manifest = nullptr; ///< null: not a program
};

llvm::Expected<Program> open(llvm::StringRef path) {
  auto buffer = llvm::MemoryBuffer::getFile(path, /*IsText=*/false, false);
  if (!buffer)
    return inputError(path, "", buffer.getError().message());
  Program program{std::move(*buffer), nullptr};
  if (!program.file->getBuffer().starts_with("\x7f"
                                             "ELF"))
    return program;
  auto object = llvm::object::ObjectFile::createELFObjectFile(program.file->getMemBufferRef());
  if (!object)
    return inputError(path, "", llvm::toString(object.takeError()));
  for (const llvm::object::SectionRef &section : (*object)->sections()) {
    auto name = section.getName();
    auto bytes = section.getContents();
    if (!name || !bytes || *name != kManifestSection) {
      llvm::consumeError(name ? llvm::Error::success() : name.takeError());
      llvm::consumeError(bytes ? llvm::Error::success() : bytes.takeError());
      continue;
    }
    flatbuffers::Verifier verifier(reinterpret_cast<const uint8_t *>(bytes->data()), bytes->size());
    if (manifest::VerifyManifestBuffer(verifier))
      program.manifest = manifest::GetManifest(bytes->data());
  }
  if (!program.manifest || !program.manifest->model() || !program.manifest->build())
    return inputError(path, "", "is an ELF file, but not a program made by this ingot");
  return program;
}

llvm::Expected<int> compare(const CompareOptions &options) {
  auto a = open(options.a);
  if (!a)
    return a.takeError();
  if (!a->manifest)
    return inputError(options.a, "", "is not a compiled program",
                      "ingot compare PROGRAM MODEL compares with the reference interpreter");
  auto b = open(options.b);
  if (!b)
    return b.takeError();
  if (!options.json.empty())
    if (llvm::Error error = checkWritable(options.json))
      return error;
  LayerRequest request{{}, options.step, options.isa_a};
  if (!options.tokens.empty()) {
    auto tokens = parseTokens(options.tokens);
    if (!tokens)
      return tokens.takeError();
    request.tokens = std::move(*tokens);
  } else if (a->manifest->selftest() && a->manifest->selftest()->tokens()) {
    const auto &tokens = *a->manifest->selftest()->tokens();
    request.tokens.assign(tokens.begin(), tokens.end());
  }
  if (request.tokens.empty())
    return inputError("", "--tokens", "there are no token ids",
                      "the program has none recorded for --selftest");
  auto path = [](llvm::StringRef name) { // programs are not looked up in $PATH
    return name.contains('/') ? name.str() : "./" + name.str();
  };
  auto ours = traceProgram(path(options.a), request);
  if (!ours)
    return ours.takeError();
  request.isa = options.isa_b;
  auto theirs = b->manifest ? traceProgram(path(options.b), request)
                            : traceReference(options.b, *a->manifest, request, *ours);
  if (!theirs)
    return theirs.takeError();
  const bool exact = a->manifest->build()->activations() &&
                     a->manifest->build()->activations()->string_view() == "f32";
  // Two programs differ by what all launches before have added up.
  const double usual = exact ? 1e-4 : b->manifest ? 0.1 : 0.01;
  const double bound = options.bound > 0 ? options.bound : usual;
  auto result = compareLayers(*ours, *theirs, bound);
  if (!result)
    return result.takeError();
  printComparison(*result, llvm::outs());
  if (!options.json.empty())
    if (llvm::Error error =
            writeFile(options.json,
                      llvm::formatv("{0:2}\n", llvm::json::Value(comparisonJson(*result))).str()))
      return error;
  return result->first ? 1 : 0;
}

} // namespace

int runCompare(const CompareOptions &options) {
  auto code = compare(options);
  return code ? *code : reportError(code.takeError());
}

} // namespace ingot
