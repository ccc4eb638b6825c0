#include "frontend/Import.h"

#include "frontend/architectures/Architecture.h"
#include "dialects/lm/Lm.h"
#include "support/Error.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Verifier.h"

using namespace mlir;

namespace ingot {

llvm::Expected<ImportedModel> importModel(MLIRContext &context, StringRef path,
                                          const ImportOptions &options) {
  context.loadDialect<lm::LmDialect, func::FuncDialect>();
  auto file = GgufFile::open(path);
  if (!file)
    return file.takeError();
  ImportedModel model;
  model.file = std::move(*file);
  const GgufFile &gguf = *model.file;

  auto name = gguf.getString("general.architecture");
  if (!name)
    return name.takeError();
  if (!*name)
    return inputError(gguf.name(), "field 'general.architecture'", "is missing");
  model.info.architecture = (**name).str();
  const Architecture *found = nullptr;
  std::string known;
  for (const Architecture *architecture : architectures()) {
    known += (known.empty() ? "" : ", ") + std::string(architecture->name);
    if (model.info.architecture == architecture->name)
      found = architecture;
  }
  if (!found)
    return inputError(gguf.name(), "field 'general.architecture'",
                      "'" + model.info.architecture + "' is not supported", "supported: " + known);
  auto title = gguf.getString("general.name");
  if (!title)
    return title.takeError();
  model.info.name = *title ? (**title).str() : "";

  auto module = buildDecoder(context, gguf, *found, options, model.info);
  if (!module)
    return module.takeError();
  model.module = std::move(*module);
  if (failed(verify(*model.module)))
    return inputError(gguf.name(), "", "the imported module does not verify");
  return model;
}

} // namespace ingot
