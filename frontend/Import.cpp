#include "frontend/Import.h"

#include "dialects/lm/Lm.h"
#include "frontend/architectures/Architecture.h"
#include "frontend/mlir/ModuleFile.h"
#include "support/Error.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Verifier.h"

using namespace mlir;

namespace ingot {

/// `out` = the field where it is there.
template <typename T, typename Field>
static llvm::Error read(llvm::Expected<std::optional<Field>> field, T &out) {
  if (!field)
    return field.takeError();
  if (*field)
    out = T(**field);
  return llvm::Error::success();
}

static llvm::Error readTokenizer(const GgufFile &file, ImportedModel &model) {
  TokenizerSource &t = model.tokenizer;
  t.file = file.name().str();
  const std::string prefix = "tokenizer.ggml.";
  llvm::Error error = llvm::Error::success();
  auto field = [&](llvm::Error next) {
    error = llvm::joinErrors(std::move(error), std::move(next));
  };
  field(read(file.getString(prefix + "model"), t.model));
  field(read(file.getString(prefix + "pre"), t.pre));
  field(read(file.getInteger(prefix + "bos_token_id"), t.bos));
  field(read(file.getInteger(prefix + "eos_token_id"), t.eos));
  field(read(file.getInteger(prefix + "eot_token_id"), t.eot));
  field(read(file.getInteger(prefix + "unknown_token_id"), t.unknown));
  field(read(file.getBool(prefix + "add_bos_token"), t.add_bos));
  field(read(file.getBool(prefix + "add_space_prefix"), t.add_space_prefix));
  field(read(file.getString("tokenizer.chat_template"), model.chat_template));
  if (error)
    return error;
  auto tokens = file.getStrings(prefix + "tokens"), merges = file.getStrings(prefix + "merges");
  auto types = file.getIntegers(prefix + "token_type");
  if (!tokens || !merges || !types)
    return llvm::joinErrors(llvm::joinErrors(tokens.takeError(), merges.takeError()),
                            types.takeError());
  t.tokens = std::move(*tokens);
  t.merges = std::move(*merges);
  t.types = std::move(*types);
  if (static_cast<int64_t>(t.tokens.size()) != model.info.vocab_size)
    return inputError(file.name(), "field 'tokenizer.ggml.tokens'",
                      "has " + grouped(t.tokens.size()) + " tokens, the embedding table " +
                          grouped(model.info.vocab_size) + " rows");
  auto textOf = [&](int64_t id) {
    return id >= 0 && id < static_cast<int64_t>(t.tokens.size()) ? t.tokens[id].str() : "";
  };
  model.bos_text = textOf(t.bos);
  model.eos_text = textOf(t.eos);
  return llvm::Error::success();
}

llvm::Expected<ImportedModel> importModel(MLIRContext &context, StringRef path,
                                          const ImportOptions &options) {
  if (isModuleFile(path))
    return importModuleFile(context, path, options);
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
                      quoted(model.info.architecture) + " is not supported", "supported: " + known);
  auto title = gguf.getString("general.name");
  if (!title)
    return title.takeError();
  model.info.name = *title ? (**title).str() : "";

  auto module = buildDecoder(context, gguf, *found, options, model.info);
  if (!module)
    return module.takeError();
  model.module = std::move(*module);
  if (llvm::Error error = readTokenizer(gguf, model))
    return error;
  if (failed(verify(*model.module)))
    return inputError(gguf.name(), "", "the imported module does not verify");
  return model;
}

} // namespace ingot
