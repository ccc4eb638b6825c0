#include "tools/ingot/Commands.h"

#include "codegen/Compile.h"
#include "codegen/cache/KernelCache.h"
#include "dialects/lm/interpreter/Interpreter.h"
#include "frontend/Import.h"
#include "passes/Passes.h"
#include "support/Error.h"
#include "support/Files.h"
#include "support/Npy.h"
#include "support/Progress.h"
#include "targets/Target.h"

#include "mlir/Pass/PassManager.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"

namespace ingot {

std::string defaultCacheFolder() { return KernelCache::defaultFolder(); }

void printCompiled(const CompileOptions &options, double seconds) {
  llvm::json::Array files;
  auto add = [&](llvm::StringRef kind, const std::string &path) {
    uint64_t bytes = 0;
    if (!path.empty() && !llvm::sys::fs::file_size(path, bytes))
      files.push_back(llvm::json::Object{{"kind", kind}, {"path", path}, {"bytes", bytes}});
  };
  add("output", options.output);
  if (options.split)
    add("weights", splitFile(options.output));
  add("header", options.header);
  add("depfile", options.depfile);
  llvm::json::Object root{{"model", options.model},
                          {"target", options.lowering.target},
                          {"seconds", seconds},
                          {"files", std::move(files)}};
  llvm::outs() << llvm::formatv("{0:2}", llvm::json::Value(std::move(root))) << "\n";
}

static llvm::Error reference(const ReferenceOptions &options) {
  auto tokens = parseTokens(options.tokens);
  if (!tokens)
    return tokens.takeError();
  if (llvm::Error error = checkWritable(options.output))
    return error;
  Progress progress;
  progress.stage("reading " + options.model);
  mlir::MLIRContext context;
  ImportOptions import;
  import.context = tokens->size();
  const Activations activations = parseActivations(options.activations).value_or(Activations::f32);
  const int32_t bits = codeBits(activations);
  import.kv_cache = bits ? CodeKind::i : CodeKind::f32;
  auto model = importModel(context, options.model, import);
  if (!model)
    return model.takeError();
  if (bits) {
    mlir::PassManager manager(&context);
    const bool halves = activations == Activations::f16;
    manager.addPass(createLmQuantizeActivations({bits, halves, /*half_weights=*/halves}));
    if (failed(manager.run(*model->module)))
      return inputError(options.model, "", "lm-quantize-activations failed");
  }
  progress.stage("interpreting", tokens->size());
  auto scratch = ScratchFolder::beside(options.output);
  if (!scratch)
    return scratch.takeError();
  const std::string finished = scratch->file("logits.npy");
  std::error_code error;
  llvm::raw_fd_ostream stream(finished, error);
  if (error)
    return inputError(finished, "", "cannot write: " + error.message());
  stream << npyHeader(tokens->size(), model->info.vocab_size);
  lm::Interpreter interpreter(*model->module);
  constexpr size_t chunk = 128; // tokens whose logits are in memory at a time
  for (size_t at = 0; at < tokens->size(); at += chunk) {
    const size_t end = std::min(at + chunk, tokens->size());
    auto rows = interpreter.run("forward", {tokens->begin() + at, tokens->begin() + end}, at);
    if (!rows) {
      stream.close();
      return rows.takeError();
    }
    stream.write(reinterpret_cast<const char *>(rows->data.data()),
                 rows->data.size() * sizeof(float));
    progress.advance(end - at);
  }
  stream.close();
  if (stream.has_error()) {
    stream.clear_error();
    return inputError(options.output, "", "cannot write the logits; is the disk full?");
  }
  if (llvm::Error error = publish(finished, options.output))
    return error;
  if (options.json) {
    llvm::json::Object root{{"model", options.model},
                            {"output", options.output},
                            {"tokens", static_cast<int64_t>(tokens->size())},
                            {"vocab_size", model->info.vocab_size}};
    llvm::outs() << llvm::formatv("{0:2}", llvm::json::Value(std::move(root))) << "\n";
  }
  return llvm::Error::success();
}

int runReference(const ReferenceOptions &options) {
  if (llvm::Error error = reference(options))
    return reportError(std::move(error));
  return 0;
}

static llvm::json::Array targetsJson() {
  namespace json = llvm::json;
  json::Array out;
  for (const TargetName &row : targetNames()) {
    const auto target = llvm::cantFail(makeTarget(row.name));
    json::Array variants;
    for (const Target *variant : target->variants()) {
      const Machine &machine = variant->machine();
      variants.push_back(json::Object{{"name", machine.name},
                                      {"isa", machine.isa},
                                      {"cpu", machine.cpu},
                                      {"triple", machine.triple},
                                      {"features", json::Array(machine.features)},
                                      {"vector_bits", machine.vector_bits},
                                      {"runs_here", variant->runsHere()}});
    }
    out.push_back(json::Object{{"name", row.name},
                               {"description", row.description},
                               {"runs_here", row.runs_here},
                               {"variants", std::move(variants)}});
  }
  return out;
}

int runTargets(bool as_json) {
  if (as_json) {
    llvm::outs() << llvm::formatv("{0:2}", llvm::json::Value(targetsJson())) << "\n";
    return 0;
  }
  size_t width = 0;
  for (const TargetName &target : targetNames())
    width = std::max(width, target.name.size());
  for (const TargetName &target : targetNames())
    llvm::outs() << llvm::left_justify(target.name, width + 2) << (target.runs_here ? "* " : "  ")
                 << target.description << "\n";
  llvm::outs() << "* runs on this machine\n";
  return 0;
}

} // namespace ingot
