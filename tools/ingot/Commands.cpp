#include "tools/ingot/Commands.h"

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
#include "llvm/Support/Format.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"

namespace ingot {

std::string defaultCacheFolder() { return KernelCache::defaultFolder(); }

static llvm::Error reference(const ReferenceOptions &options) {
  auto tokens = parseTokens(options.tokens);
  if (!tokens)
    return tokens.takeError();
  if (llvm::Error error = checkWritable(options.output))
    return error;
  Progress progress(false);
  progress.stage("reading " + options.model);
  mlir::MLIRContext context;
  ImportOptions import;
  import.context = tokens->size();
  import.kv_cache = options.activations == "int8" ? CodeKind::i : CodeKind::f32;
  auto model = importModel(context, options.model, import);
  if (!model)
    return model.takeError();
  if (options.activations == "int8") {
    mlir::PassManager manager(&context);
    manager.addPass(createLmQuantizeActivations());
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
  return publish(finished, options.output);
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
