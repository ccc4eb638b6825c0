#include "codegen/predict/Predict.h"

#include "dialects/kernel/Spec.h"
#include "runtime/core/plan.h"
#include "support/Error.h"

#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Format.h"

#include <tuple>

using namespace mlir;

namespace ingot {
namespace {

namespace json = llvm::json;

constexpr double mega = 1e6;

/// The share of all slices that the busiest of the threads computes.
double busiestShare(const KernelSpec &spec, int64_t tokens, int32_t threads) {
  const KernelInterface interface = kernelInterface(spec);
  const int64_t slices = interface.slices ? interface.slices : tokens;
  const int64_t grains = (slices + interface.grain - 1) / interface.grain;
  const int64_t most = (grains + threads - 1) / threads * interface.grain;
  return std::min(double(most) / double(slices), 1.0);
}

class Predictor {
public:
  Predictor(ModuleOp module, const Target &target, int32_t threads)
      : module(module), target(target), device(target.kernelForm() != KernelForm::objects),
        threads(threads) {}

  /// Adds one run of a step.
  llvm::Error add(StringRef name, int64_t tokens, int64_t position) {
    auto step = module.lookupSymbol<func::FuncOp>(name);
    if (!step)
      return inputError("", "step '" + name + "'", "is not there");
    for (auto launch : step.getOps<kernel::LaunchOp>()) {
      auto spec = kernel::specOf(kernel::calleeOf(launch));
      if (!spec)
        return spec.takeError();
      kernels[launch.getCallee()] += ofLaunch(*spec, tokens, position);
    }
    return llvm::Error::success();
  }

  StepPrediction take() {
    StepPrediction result;
    for (auto &[name, kernel] : kernels) {
      kernel.name = name.str();
      result.all += kernel;
      result.kernels.push_back(kernel);
    }
    llvm::sort(result.kernels, [](const KernelPrediction &a, const KernelPrediction &b) {
      return std::tie(b.nanoseconds, a.name) < std::tie(a.nanoseconds, b.name);
    });
    kernels.clear();
    return result;
  }

private:
  KernelPrediction ofLaunch(const KernelSpec &spec, int64_t tokens, int64_t position) const {
    tokens = std::min<int64_t>(tokens, spec.max_tokens);
    const Rates &rates = target.machine().rates;
    const KernelCost cost = kernelCost(spec, tokens, position);
    KernelPrediction result;
    result.launches = 1;
    result.macs = double(cost.macs);
    result.weight_bytes = double(cost.weight_bytes);
    result.cache_bytes = double(cost.cache_bytes);
    result.activation_bytes = double(cost.activation_bytes);
    result.memory_nanoseconds =
        double(cost.weight_bytes + cost.cache_bytes + (device ? cost.activation_bytes : 0)) /
        memoryGbps(rates, threads);
    result.launch_nanoseconds = rates.launch_nanoseconds;
    result.near = target.nearUse(spec, tokens);
    // Threads divide the slices, and share what memory gives all of them.
    result.nanoseconds =
        std::max(target.estimate(spec, tokens, position) * busiestShare(spec, tokens, threads),
                 result.memory_nanoseconds);
    return result;
  }

  static double memoryGbps(const Rates &rates, int32_t threads) {
    const double all = rates.all_gbps > 0 ? rates.all_gbps : 2 * rates.memory_gbps;
    return std::min(threads * rates.memory_gbps, all);
  }

  ModuleOp module;
  const Target &target;
  const bool device;
  const int32_t threads;
  llvm::MapVector<StringRef, KernelPrediction> kernels;
};

size_t nameWidth(const StepPrediction &step) {
  size_t width = 8;
  for (const KernelPrediction &kernel : step.kernels)
    width = std::max(width, kernel.name.size());
  return width;
}

void printStep(const StepPrediction &step, llvm::raw_ostream &out) {
  const size_t width = nameWidth(step);
  out << llvm::left_justify("kernel", unsigned(width))
      << "  launches    time, ms  share      MMAC  weights, MB  cache, MB  activations, MB  bound "
         "by\n";
  auto line = [&](const KernelPrediction &kernel, StringRef name) {
    out << llvm::left_justify(name, unsigned(width))
        << llvm::format("  %8lld  %10.3f  %4.1f%%  %8.1f  %11.2f  %9.2f  %15.2f",
                        static_cast<long long>(kernel.launches), kernel.nanoseconds / mega,
                        100 * kernel.nanoseconds / step.all.nanoseconds, kernel.macs / mega,
                        kernel.weight_bytes / mega, kernel.cache_bytes / mega,
                        kernel.activation_bytes / mega);
  };
  for (const KernelPrediction &kernel : step.kernels) {
    line(kernel, kernel.name);
    out << (2 * kernel.launch_nanoseconds > kernel.nanoseconds   ? "  launch\n"
            : 2 * kernel.memory_nanoseconds > kernel.nanoseconds ? "  memory\n"
                                                                 : "  arithmetic\n");
  }
  line(step.all, "all");
  out << "\n";
}

/// What is read where, a token, if an app lends memory that is nearer than caches.
void printNear(const StepPrediction &step, double tokens, int64_t near_bytes,
               llvm::raw_ostream &out) {
  const size_t width = nameWidth(step);
  out << llvm::format("\n%.1f MiB of near memory, where an app lends it: a prompt's token, MB from "
                      "there and from the cache\n",
                      double(near_bytes) / (1 << 20))
      << llvm::left_justify("kernel", unsigned(width))
      << "    rows  tokens        near   cache, lent  cache, alone  memory\n";
  auto line = [&](const KernelPrediction &kernel, StringRef name, bool tile) {
    out << llvm::left_justify(name, unsigned(width));
    if (tile)
      out << llvm::format("  %6d  %6d", kernel.near.rows, kernel.near.tokens);
    else
      out << llvm::indent(16);
    out << llvm::format("  %10.2f  %12.2f  %12.2f  %6.2f\n", kernel.near.near / mega / tokens,
                        kernel.near.cache / mega / tokens, kernel.near.cache_alone / mega / tokens,
                        kernel.weight_bytes / mega / tokens);
  };
  KernelPrediction all;
  for (const KernelPrediction &kernel : step.kernels)
    if (kernel.near.rows) {
      line(kernel, kernel.name, true);
      all += kernel;
    }
  line(all, "all", false);
}

json::Object kernelJson(const KernelPrediction &kernel) {
  json::Object object{{"launches", kernel.launches},
                      {"ms", kernel.nanoseconds / mega},
                      {"macs", kernel.macs},
                      {"weight_bytes", kernel.weight_bytes},
                      {"cache_bytes", kernel.cache_bytes},
                      {"activation_bytes", kernel.activation_bytes},
                      {"memory_ms", kernel.memory_nanoseconds / mega},
                      {"launch_ms", kernel.launch_nanoseconds / mega}};
  if (const NearUse &near = kernel.near; near.rows) {
    object["near_rows"] = near.rows;
    object["near_tokens"] = near.tokens;
    object["near_bytes"] = near.near;
    object["near_cache_bytes"] = near.cache;
    object["cache_alone_bytes"] = near.cache_alone;
  }
  if (!kernel.name.empty())
    object["name"] = kernel.name;
  return object;
}

json::Object stepJson(const StepPrediction &step, double speed) {
  json::Array kernels;
  for (const KernelPrediction &kernel : step.kernels)
    kernels.push_back(kernelJson(kernel));
  json::Object object = kernelJson(step.all);
  object["tok_s"] = speed;
  object["kernels"] = std::move(kernels);
  return object;
}

} // namespace

KernelPrediction &KernelPrediction::operator+=(const KernelPrediction &other) {
  launches += other.launches;
  nanoseconds += other.nanoseconds;
  macs += other.macs;
  weight_bytes += other.weight_bytes;
  cache_bytes += other.cache_bytes;
  activation_bytes += other.activation_bytes;
  memory_nanoseconds += other.memory_nanoseconds;
  launch_nanoseconds += other.launch_nanoseconds;
  near.rows = std::max(near.rows, other.near.rows);
  near.tokens = std::max(near.tokens, other.near.tokens);
  near.near += other.near.near;
  near.cache += other.near.cache;
  near.cache_alone += other.near.cache_alone;
  return *this;
}

double Prediction::prefillSpeed() const {
  return double(request.prompt_tokens) / prefill.all.nanoseconds * 1e9;
}
double Prediction::decodeSpeed() const { return 1e9 / decode.all.nanoseconds; }

llvm::Expected<Prediction> predict(const Variant &variant, const Target &model,
                                   const manifest::Manifest &manifest,
                                   const PredictRequest &request) {
  const Machine &machine = model.machine();
  const int64_t context = manifest.model()->context_length();
  const int64_t longest = std::max(request.prompt_tokens, request.depth + request.gen_tokens);
  if (longest > context)
    return inputError("", "--predict",
                      grouped(longest) + " tokens do not fit a context of " + grouped(context),
                      "--context compiles for more");
  Prediction result;
  result.machine = machine.name;
  result.isa = machine.isa;
  result.device = model.kernelForm() != KernelForm::objects;
  result.near_bytes = machine.near_bytes;
  result.request = request;
  if (result.device)
    result.request.threads = 1;

  Predictor predictor(*variant.module, model, result.request.threads);
  const int64_t most = manifest.memory()->prefill_tokens();
  for (int64_t at = 0; at < request.prompt_tokens; at += most)
    if (llvm::Error error =
            predictor.add("prefill", std::min(most, request.prompt_tokens - at), at))
      return std::move(error);
  result.prefill = predictor.take();
  if (llvm::Error error = predictor.add("decode", 1, request.depth + request.gen_tokens / 2))
    return std::move(error);
  result.decode = predictor.take();

  runtime::ProgramSizes sizes;
  if (!runtime::sizes_of(manifest, &sizes))
    return inputError("", "--predict", "the plan of memory cannot be read");
  result.session_bytes =
      int64_t(runtime::conversation_plan(sizes, int32_t(longest), result.request.threads).planned);
  for (const manifest::Weight *weight : *manifest.weights())
    result.weight_bytes += int64_t(weight->bytes());
  return result;
}

void printPrediction(const Prediction &prediction, llvm::raw_ostream &out) {
  const PredictRequest &request = prediction.request;
  out << prediction.machine << " (" << prediction.isa << "), ";
  if (prediction.device)
    out << "at most, by its data sheet\n\n";
  else
    out << request.threads << (request.threads == 1 ? " thread" : " threads")
        << ", by its machine model\n\n";
  out << "prefill of " << request.prompt_tokens << " tokens: "
      << llvm::format("%.1f ms, %.1f tokens/s\n", prediction.prefill.all.nanoseconds / mega,
                      prediction.prefillSpeed());
  printStep(prediction.prefill, out);
  out << "\ndecode of " << request.gen_tokens << " tokens after " << request.depth << ": "
      << llvm::format("%.2f ms a token, %.1f tokens/s\n", prediction.decode.all.nanoseconds / mega,
                      prediction.decodeSpeed());
  printStep(prediction.decode, out);
  auto mebibytes = [](int64_t bytes) { return double(bytes) / (1 << 20); };
  const KernelPrediction &token = prediction.decode.all, &prompt = prediction.prefill.all;
  const double tokens = double(request.prompt_tokens);
  out << llvm::format("\nmemory           %.1f MiB of weights (pages of the program's file), %.1f "
                      "MiB of a session\n",
                      mebibytes(prediction.weight_bytes), mebibytes(prediction.session_bytes))
      << llvm::format("a decoded token  %.2f MB from memory, %.2f MB of activations, %.1f MMAC\n",
                      (token.weight_bytes + token.cache_bytes) / mega,
                      token.activation_bytes / mega, token.macs / mega)
      << llvm::format("a prompt's token %.2f MB from memory, %.2f MB of activations, %.1f MMAC\n",
                      (prompt.weight_bytes + prompt.cache_bytes) / mega / tokens,
                      prompt.activation_bytes / mega / tokens, prompt.macs / mega / tokens);
  if (prediction.near_bytes)
    printNear(prediction.prefill, tokens, prediction.near_bytes, out);
}

json::Object predictionJson(const Prediction &prediction) {
  const PredictRequest &request = prediction.request;
  return json::Object{{"machine", prediction.machine},
                      {"isa", prediction.isa},
                      {"threads", prediction.device ? 0 : request.threads},
                      {"prompt_tokens", request.prompt_tokens},
                      {"gen_tokens", request.gen_tokens},
                      {"depth", request.depth},
                      {"prefill", stepJson(prediction.prefill, prediction.prefillSpeed())},
                      {"decode", stepJson(prediction.decode, prediction.decodeSpeed())},
                      {"weight_bytes", prediction.weight_bytes},
                      {"session_bytes", prediction.session_bytes}};
}

} // namespace ingot
