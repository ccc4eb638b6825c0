// ingot compare: where a program computes something else than another, or than the reference.
#include "codegen/compare/Compare.h"
#include "codegen/Runner.h"
#include "codegen/compare/Reduce.h"
#include "codegen/link/Sections.h"
#include "frontend/mlir/ModuleFile.h"
#include "support/Error.h"
#include "support/Files.h"
#include "support/Npy.h"
#include "tools/ingot/Commands.h"

#include "llvm/Object/ELFObjectFile.h"
#include "llvm/Support/Format.h"
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

/// What would run the program here, compiled as it was.
llvm::Expected<ReduceSide> sideOf(const Program &program, const CompareOptions &options,
                                  const std::string &isa) {
  ReduceSide side{compileOptionsOf(*program.manifest), {}, isa};
  side.compile.runtime_folder = options.runtime_folder;
  side.compile.cache_folder = options.cache_folder;
  auto target = makeTarget(side.compile.lowering.target);
  if (!target)
    return target.takeError();
  auto runner = runnerOf(**target, "", "compare");
  if (!runner)
    return runner.takeError();
  side.runner = std::move(*runner);
  return side;
}

/// The model file of A, and that a module can be written.
llvm::Expected<std::string> modelToReduce(const CompareOptions &options, bool b_is_program) {
  if (!isModuleFile(options.reduce))
    return inputError("--reduce", options.reduce, "is to be a file NAME.mlir");
  if (llvm::Error error = checkWritable(options.reduce))
    return std::move(error);
  if (!b_is_program)
    return options.b;
  if (options.model.empty())
    return inputError("--reduce", "", "needs the model file that A was compiled from",
                      "--model MODEL.gguf");
  return options.model;
}

llvm::Error reduce(ReduceRequest request) {
  auto reduction = reduceDifference(request);
  if (!reduction)
    return reduction.takeError();
  llvm::outs() << "\nreduced from " << reduction->operations_before << " operations to "
               << reduction->operations << " and from " << request.layers.tokens.size()
               << " tokens to " << reduction->tokens.size() << " in " << reduction->runs
               << " runs: " << request.output << "\n\n";
  printComparison(reduction->comparison, llvm::outs());
  llvm::outs() << "\nto see it again: ingot compile " << request.output
               << " -o PROGRAM, with the options of A; ingot compare PROGRAM "
               << (request.b ? "OTHER" : request.output) << " --tokens ";
  llvm::interleave(reduction->tokens, llvm::outs(), ",");
  llvm::outs() << " --step " << request.layers.step << " --bound "
               << llvm::format("%g", request.bound) << "\n";
  return llvm::Error::success();
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
  auto side_a = sideOf(*a, options, options.isa_a);
  if (!side_a)
    return side_a.takeError();
  std::optional<ReduceSide> side_b;
  if (b->manifest) {
    auto side = sideOf(*b, options, options.isa_b);
    if (!side)
      return side.takeError();
    side_b = std::move(*side);
  }
  std::string model;
  if (!options.reduce.empty()) {
    auto found = modelToReduce(options, bool(b->manifest));
    if (!found)
      return found.takeError();
    model = std::move(*found);
  }
  auto ours = traceProgram(side_a->runner, path(options.a), request);
  if (!ours)
    return ours.takeError();
  LayerRequest other = request;
  other.isa = options.isa_b;
  auto theirs = side_b ? traceProgram(side_b->runner, path(options.b), other)
                       : traceReference(options.b, side_a->compile, request, *ours);
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
  if (!options.reduce.empty() && !result->first)
    return inputError("--reduce", "", "there is no difference to reduce");
  if (!options.reduce.empty())
    if (llvm::Error error =
            reduce({model, options.reduce, request, bound, std::move(*side_a), std::move(side_b)}))
      return std::move(error);
  return result->first ? 1 : 0;
}

} // namespace

int runCompare(const CompareOptions &options) {
  auto code = compare(options);
  return code ? *code : reportError(code.takeError());
}

} // namespace ingot
