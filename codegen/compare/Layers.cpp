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

} // namespace

llvm::Expected<LayerTrace> traceProgram(StringRef program, const LayerRequest &request) {
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
  SmallVector<StringRef> arguments{program,      "--tokens", ids,         "--layers",
                                   layers.str(), "--step",   request.step};
  if (!request.isa.empty())
    arguments.append({"--isa", request.isa});
  std::optional<StringRef> redirects[] = {StringRef(""), StringRef(""), errors.str()};
  std::string message;
  if (llvm::sys::ExecuteAndWait(program, arguments, std::nullopt, redirects, 0, 0, &message)) {
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

llvm::Expected<LayerTrace> traceReference(StringRef path, const manifest::Manifest &like,
                                          const LayerRequest &request, const LayerTrace &follow) {
  const manifest::Build &build = *like.build();
  MLIRContext context;
  ImportOptions import;
  import.context = like.model()->context_length();
  import.kv_cache = text(build.kv_cache()) == "i16"   ? CodeKind::i
                    : text(build.kv_cache()) == "f16" ? CodeKind::f16
                                                      : CodeKind::f32;
  auto model = importModel(context, path, import);
  if (!model)
    return model.takeError();
  LoweringOptions options;
  options.target = targetName(text(build.target()));
  options.quantize = text(build.quantize()).str();
  options.int8_activations = text(build.activations()) == "int8";
  options.batch = {1};
  PassManager manager(&context);
  buildLoweringPipeline(manager, options);
  if (failed(manager.run(*model->module)))
    return inputError(path, "", "cannot be lowered as the program was");
  auto step = model->module->lookupSymbol<func::FuncOp>(request.step);
  if (!step)
    return inputError("", "--step", "there is no step '" + request.step + "'");

  LayerTrace trace;
  trace.name = ("reference on " + path).str();
  const std::vector<int16_t> layers = launchLayers(step);
  llvm::DenseMap<Operation *, int64_t> index; // of launches and barriers
  for (Operation &op : step.getBody().front())
    if (isa<kernel::BarrierOp, kernel::LaunchOp>(op))
      index.try_emplace(&op, index.size());
  llvm::DenseMap<Operation *, size_t> places; // of a launch's first value
  lm::Interpreter interpreter(*model->module);
  interpreter.observe([&](Operation &op, ArrayRef<lm::reference::Rows *> results) {
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
      const size_t before = data.size();
      data.insert(data.end(), rows->data.begin(), rows->data.end());
      if (at <= follow.values.size() && follow.values[at - 1].data.size() >= data.size())
        std::copy_n(follow.values[at - 1].data.begin() + before, rows->data.size(),
                    rows->data.begin());
    }
  });
  const bool decode = request.step == "decode";
  for (size_t at = 0; at < request.tokens.size(); at += decode ? 1 : request.tokens.size()) {
    std::vector<int32_t> tokens(request.tokens.begin() + at,
                                decode ? request.tokens.begin() + at + 1 : request.tokens.end());
    auto rows = interpreter.run(request.step, tokens, at);
    if (!rows)
      return rows.takeError();
  }
  return trace;
}

} // namespace ingot
