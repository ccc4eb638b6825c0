#include "frontend/mlir/ModuleFile.h"

#include "dialects/lm/Lm.h"
#include "support/Error.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"

using namespace mlir;

namespace ingot {
namespace {

constexpr const char *source_attribute = "lm.source";

std::string text(Type type) {
  std::string out;
  llvm::raw_string_ostream(out) << type;
  return out;
}

/// Parses and verifies. What MLIR says becomes the error.
llvm::Expected<OwningOpRef<ModuleOp>> parse(MLIRContext &context, StringRef path) {
  auto buffer = llvm::MemoryBuffer::getFile(path);
  if (!buffer)
    return inputError(path, "", buffer.getError().message());
  std::string message;
  ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) {
    if (!message.empty())
      return success();
    if (auto place = dyn_cast<FileLineColLoc>(diagnostic.getLocation()))
      message = "line " + std::to_string(place.getLine()) + ": ";
    message += diagnostic.str();
    return success();
  });
  auto module = parseSourceString<ModuleOp>((*buffer)->getBuffer(), ParserConfig(&context),
                                            llvm::sys::path::filename(path));
  if (!module)
    return inputError(path, "", message.empty() ? "is not a module" : message);
  return module;
}

/// The name of the GGUF file, which is beside the module's where it is relative.
llvm::Expected<std::string> sourceOf(ModuleOp module, StringRef path) {
  auto named = module->getAttrOfType<StringAttr>(source_attribute);
  if (!named)
    return inputError(path, "", "does not name the GGUF file of its weights",
                      "module attributes {lm.source = \"model.gguf\"} { ... }");
  SmallString<256> source(named.getValue());
  if (!llvm::sys::path::is_absolute(source)) {
    source = llvm::sys::path::parent_path(path);
    llvm::sys::path::append(source, named.getValue());
  }
  if (isModuleFile(source))
    return inputError(path, source_attribute, "is no GGUF file");
  return source.str().str();
}

} // namespace

bool isModuleFile(StringRef path) { return path.ends_with(".mlir"); }

llvm::Expected<ImportedModel> importModuleFile(MLIRContext &context, StringRef path,
                                               const ImportOptions &options) {
  context.loadDialect<lm::LmDialect, func::FuncDialect>();
  auto module = parse(context, path);
  if (!module)
    return module.takeError();
  auto source = sourceOf(**module, path);
  if (!source)
    return source.takeError();
  auto model = importModel(context, *source, options);
  if (!model)
    return model.takeError();
  ModuleOp whole = *model->module;

  auto forward = (*module)->lookupSymbol<func::FuncOp>("forward");
  auto expected = whole.lookupSymbol<func::FuncOp>("forward");
  if (!forward || forward.getFunctionType() != expected.getFunctionType())
    return inputError(path, "@forward",
                      forward ? "has the type " + text(forward.getFunctionType()) + ", expected " +
                                    text(expected.getFunctionType())
                              : "is missing");
  model->info.parameters = 0;
  for (auto weight : (*module)->getOps<lm::WeightOp>()) {
    auto tensor = whole.lookupSymbol<lm::WeightOp>(weight.getSymName());
    if (!tensor)
      return inputError(path, "weight '" + weight.getSymName() + "'", "is no tensor of " + *source);
    if (weight.getType() != tensor.getType() || weight.getScale() || weight.getInterleave() ||
        weight.getSources().size() != 1)
      return inputError(path, "weight '" + weight.getSymName() + "'",
                        "is not the tensor of " + *source + ", " + text(tensor.getType()));
    weight.setSourcesAttr(tensor.getSourcesAttr());
    model->info.parameters += weight.getTensorType().getNumElements();
  }
  auto caches = whole.getOps<lm::KvCacheOp>();
  model->info.layers = 0;
  for (auto cache : (*module)->getOps<lm::KvCacheOp>()) {
    ++model->info.layers;
    if (cache.getType() != (*caches.begin()).getType())
      return inputError(path, "cache '" + cache.getSymName() + "'",
                        "is " + text(cache.getType()) + ", and the options ask for " +
                            text((*caches.begin()).getType()),
                        "--context and --kv-cache");
  }
  model->module = std::move(*module);
  return model;
}

std::string moduleFile(ModuleOp module, StringRef source) {
  OwningOpRef<ModuleOp> copy = module.clone();
  SmallString<256> absolute(source);
  llvm::sys::fs::make_absolute(absolute);
  (*copy)->setAttr(source_attribute, StringAttr::get(module.getContext(), absolute));
  std::string out;
  llvm::raw_string_ostream stream(out);
  copy->print(stream, OpPrintingFlags().elideLargeResourceString(16).elideLargeElementsAttrs(16));
  // Where resources are left out, an empty list of them is printed.
  return StringRef(out).take_front(out.rfind("\n{-#")).rtrim().str() + "\n";
}

} // namespace ingot
