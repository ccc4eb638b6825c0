#include "codegen/compare/Layers.h"

#include "codegen/link/Launches.h"
#include "dialects/kernel/Kernel.h"
#include "dialects/lm/interpreter/Interpreter.h"
#include "frontend/Import.h"
#include "passes/Passes.h"
#include "support/Error.h"

#include "mlir/Pass/PassManager.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;

namespace ingot {
namespace {

namespace json = llvm::json;

llvm::Error damaged(StringRef program) {
  return inputError(program, "--layers", "what the program wrote cannot be read");
}

/// The format of runtime/main/layers.cpp.
llvm::Expected<LayerTrace> readLayers(StringRef text, StringRef program) {
  const auto [head, rest] = text.split("]}\n");
  auto parsed = json::parse((head + "]}").str());
  if (!parsed)
    return parsed.takeError();
  const json::Object *root = parsed->getAsObject();
  const json::Array *values = root ? root->getArray("values") : nullptr;
  const auto evaluations = root ? root->getInteger("evaluations") : std::nullopt;
  if (!values || !evaluations)
    return damaged(program);
  LayerTrace trace;
  trace.name = program.str();
  std::vector<int64_t> floats;
  int64_t all = 0;
  for (const json::Value &row : *values) {
    const json::Object *value = row.getAsObject();
    if (!value || !value->getString("kernel") || !value->getInteger("columns").value_or(0))
      return damaged(program);
    trace.values.push_back({value->getInteger("launch").value_or(0),
                            value->getInteger("layer").value_or(0),
                            value->getString("kernel")->str(),
                            *value->getInteger("columns"),
                            {}});
    floats.push_back(value->getInteger("rows").value_or(0) * *value->getInteger("columns"));
    all += floats.back();
  }
  if (int64_t(rest.size()) != *evaluations * all * int64_t(sizeof(float)))
    return damaged(program);
  const char *at = rest.data();
  for (int64_t evaluation = 0; evaluation < *evaluations; ++evaluation)
    for (auto [value, count] : llvm::zip(trace.values, floats)) {
      const size_t before = value.data.size();
      value.data.resize(before + count);
      memcpy(value.data.data() + before, at, count * sizeof(float));
      at += count * sizeof(float);
    }
  return trace;
}

/// The target that a manifest names: "host (znver3)" is znver3.
std::string targetName(StringRef name) {
  if (name.consume_front("host ("))
    name.consume_back(")");
  return name.str();
}

StringRef text(const flatbuffers::String *string) {
  return string ? StringRef(string->c_str(), string->size()) : StringRef();
}

/// The sequences of a step: "decode8" has 8; the others have one.
int32_t sequencesOf(StringRef step) {
  int32_t sequences;
  return step.consume_front("decode") && !step.getAsInteger(10, sequences) ? sequences : 1;
}

} // namespace

llvm::Expected<LayerTrace> traceProgram(ArrayRef<std::string> runner, StringRef program,
                                        const LayerRequest &request) {
  llvm::SmallString<128> list, layers, errors;
  if (llvm::sys::fs::createTemporaryFile("ingot-compare", "txt", list) ||
      llvm::sys::fs::createTemporaryFile("ingot-compare", "layers", layers) ||
      llvm::sys::fs::createTemporaryFile("ingot-compare", "err", errors))
    return inputError("", "compare", "cannot make temporary files");
  llvm::FileRemover remove_list(list), remove_layers(layers), remove_errors(errors);
  {
    std::error_code error;
    llvm::raw_fd_ostream stream(list, error);
    llvm::interleaveComma(request.tokens, stream);
  }
  const std::string ids = "@" + list.str().str();
  const std::string sequences = std::to_string(sequencesOf(request.step));
  SmallVector<StringRef> arguments(runner.begin(), runner.end());
  arguments.append({program, "--tokens", ids, "--layers", layers.str(), "--step", request.step});
  if (sequences != "1")
    arguments.append({"--batch", sequences});
  if (!request.isa.empty())
    arguments.append({"--isa", request.isa});
  std::optional<StringRef> redirects[] = {StringRef(""), StringRef(""), errors.str()};
  std::string message;
  if (llvm::sys::ExecuteAndWait(arguments.front(), arguments, std::nullopt, redirects, 0, 0,
                                &message)) {
    auto said = llvm::MemoryBuffer::getFile(errors);
    return inputError(program, "",
                      "cannot be run: " + message +
                          (said ? (*said)->getBuffer().trim() : StringRef()));
  }
  auto buffer = llvm::MemoryBuffer::getFile(layers);
  if (!buffer)
    return inputError(program, "", buffer.getError().message());
  return readLayers((*buffer)->getBuffer(), program);
}

CompileOptions compileOptionsOf(const manifest::Manifest &manifest) {
  const manifest::Build &build = *manifest.build();
  CompileOptions options;
  options.context = manifest.model()->context_length();
  options.kv_cache = text(build.kv_cache()) == "i16"   ? CodeKind::i
                     : text(build.kv_cache()) == "f16" ? CodeKind::f16
                                                       : CodeKind::f32;
  options.lowering.target = targetName(text(build.target()));
  options.lowering.quantize = text(build.quantize()).str();
  options.lowering.activations =
      parseActivations(text(build.activations())).value_or(Activations::f32);
  options.lowering.batch = {1};
  if (manifest.steps())
    for (const manifest::Step *step : *manifest.steps())
      if (const int32_t sequences = sequencesOf(text(step->name())); sequences > 1)
        options.lowering.batch.push_back(sequences);
  return options;
}

namespace {

/// Interprets a step and keeps what its launches give. Sequences are interpreted one after the
/// other: each of them takes its rows of what is followed.
class Tracer {
public:
  Tracer(ModuleOp module, func::FuncOp step, const LayerRequest &request, const LayerTrace &follow)
      : module(module), step(step), request(request), follow(follow), layers(launchLayers(step)),
        sequences(sequencesOf(request.step)) {
    for (Operation &op : step.getBody().front())
      if (isa<kernel::BarrierOp, kernel::LaunchOp>(op))
        index.try_emplace(&op, index.size());
  }

  llvm::Expected<LayerTrace> run() {
    const std::vector<int32_t> &tokens = request.tokens;
    const size_t count = tokens.size();
    const bool one = step.getArgument(0).getType() == oneToken(step.getContext());
    for (int32_t sequence = 0; sequence < sequences; ++sequence) {
      lm::Interpreter interpreter(module);
      interpreter.observe([&](Operation &op, ArrayRef<lm::reference::Rows *> results) {
        observe(op, results, sequence);
      });
      for (evaluation = 0; evaluation < (one ? count : 1); ++evaluation) {
        std::vector<int32_t> ids = tokens;
        if (one)
          ids = {tokens[(evaluation + size_t(sequence)) % count]};
        auto rows = interpreter.run(step.getSymName(), ids, int64_t(evaluation));
        if (!rows)
          return rows.takeError();
      }
    }
    return std::move(trace);
  }

private:
  static Type oneToken(MLIRContext *context) {
    return RankedTensorType::get({1}, IntegerType::get(context, 32));
  }

  void observe(Operation &op, ArrayRef<lm::reference::Rows *> results, int32_t sequence) {
    auto launch = dyn_cast<kernel::LaunchOp>(op);
    if (!launch || op.getBlock() != &step.getBody().front())
      return;
    auto [place, first] = places.try_emplace(&op, trace.values.size());
    size_t at = place->second;
    for (auto [result, rows] : llvm::zip(op.getResults(), results)) {
      auto type = dyn_cast<RankedTensorType>(result.getType());
      if (!rows || !type || !type.getElementType().isF32() ||
          launch.getCallee().starts_with("rope_angles"))
        continue;
      if (first)
        trace.values.push_back(
            {index[&op], layers[index[&op]], launch.getCallee().str(), rows->columns, {}});
      std::vector<float> &data = trace.values[at++].data;
      const size_t size = rows->data.size();
      const size_t begin = (evaluation * size_t(sequences) + size_t(sequence)) * size;
      data.resize(std::max(data.size(), begin + size));
      std::copy_n(rows->data.begin(), size, data.begin() + begin);
      if (at <= follow.values.size() && follow.values[at - 1].data.size() >= begin + size)
        std::copy_n(follow.values[at - 1].data.begin() + begin, size, rows->data.begin());
    }
  }

  ModuleOp module;
  func::FuncOp step;
  const LayerRequest &request;
  const LayerTrace &follow;
  std::vector<int16_t> layers;
  int32_t sequences;
  LayerTrace trace;
  llvm::DenseMap<Operation *, int64_t> index; // of launches and barriers
  llvm::DenseMap<Operation *, size_t> places; // of a launch's first value
  size_t evaluation = 0;
};

} // namespace

llvm::Expected<LayerTrace> traceReference(StringRef path, const CompileOptions &like,
                                          const LayerRequest &request, const LayerTrace &follow) {
  MLIRContext context;
  auto model = importModel(context, path, {like.context, like.default_context, like.kv_cache});
  if (!model)
    return model.takeError();
  LoweringOptions options = like.lowering;
  options.batch = {1};
  PassManager manager(&context);
  buildLoweringPipeline(manager, options);
  std::string message;
  ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) {
    if (message.empty())
      message = diagnostic.str();
    return success();
  });
  if (failed(manager.run(*model->module)))
    return inputError(path, "", "cannot be lowered as the program was: " + message);
  const StringRef name = sequencesOf(request.step) > 1 ? StringRef("decode") : request.step;
  auto step = model->module->lookupSymbol<func::FuncOp>(name);
  if (!step)
    return inputError("", "--step", "there is no step '" + request.step + "'");
  auto trace = Tracer(*model->module, step, request, follow).run();
  if (trace)
    trace->name = ("reference on " + path).str();
  return trace;
}

} // namespace ingot
