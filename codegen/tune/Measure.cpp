#include "codegen/tune/Measure.h"

#include "codegen/halide/Kernel.h"
#include "codegen/tune/KernelRun.h"
#include "codegen/tune/TileFile.h"
#include "support/Error.h"

#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/ThreadPool.h"

#include <mutex>

using namespace ingot;

namespace {

/// A candidate replaces the model's choice when it is faster by this.
constexpr double kClearly = 1.02;
/// What one sample should take: long beside the clock's resolution, short beside the system's
/// time slices.
constexpr double kSampleNanoseconds = 5e5;
constexpr int kFewestRounds = 7, kMostRounds = 25;
constexpr double kKernelSeconds = 0.7; ///< spent on one kernel's samples where rounds allow

double median(std::vector<double> values) {
  const auto middle = values.begin() + int64_t(values.size()) / 2;
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

double nanosecondsSince(TuneClock::time_point start) {
  return std::chrono::duration<double, std::nano>(TuneClock::now() - start).count();
}

/// The candidates of one kernel and the memory that they take turns on.
class Contest {
public:
  Contest(const KernelSpec &spec, const Target &target)
      : spec(spec), memory(spec, 2 * std::max<int64_t>(target.machine().l3_bytes, 16 << 20)),
        tokens(spec.max_tokens), position(int32_t(typicalPosition(spec))) {}

  /// Chooses what a sample is, from the time of the first slices.
  void measureScale(const LoadedKernel &kernel) {
    const int32_t grain = int32_t(kernelInterface(spec).grain), all = memory.slices();
    const int32_t few = std::min(std::max(grain, all / 16 / grain * grain), all);
    const Window first{0, few, 0};
    memory.run(kernel, first, tokens, position);
    const auto start = TuneClock::now();
    memory.run(kernel, first, tokens, position);
    const double slice = std::max(nanosecondsSince(start) / few, 1.0);
    const double wanted = std::min(kSampleNanoseconds / slice, double(all));
    // For one token all slices: places that are read side by side are then as far from each other
    // as in a step.
    const int32_t extent =
        tokens == 1 ? all : std::min(std::max(int32_t(wanted) / grain * grain, grain), all);
    windows = memory.windows(extent);
    calls = int32_t(std::clamp(kSampleNanoseconds / (slice * extent), 1.0, 1e4));
  }

  std::string results(const LoadedKernel &kernel) {
    memory.spoilOutputs();
    memory.run(kernel, windows.front(), tokens, position);
    return memory.outputs(tokens);
  }

  /// Nanoseconds of all slices, from one sample.
  double sample(const LoadedKernel &kernel) {
    const auto start = TuneClock::now();
    for (int32_t i = 0; i < calls; ++i) {
      memory.run(kernel, windows[next], tokens, position);
      next = (next + 1) % windows.size();
    }
    return nanosecondsSince(start) / calls * memory.slices() / windows.front().extent;
  }

  const KernelSpec &spec;
  KernelMemory memory;
  const int32_t tokens, position;

private:
  std::vector<Window> windows;
  size_t next = 0;
  int32_t calls = 1;
};

/// `number`: the loader takes a file of a name that it knows for the one it has.
llvm::Expected<LoadedKernel> load(const KernelSpec &spec, const Target &target,
                                  const ScratchFolder &scratch, llvm::StringRef object,
                                  size_t number) {
  const std::string name = scratch.file("candidate" + std::to_string(number));
  const std::string source = name + ".o", loadable = name + ".so";
  llvm::FileRemover remove_source(source), remove_loadable(loadable);
  llvm::Error error = writeFile(source, object);
  if (!error)
    error = target.linkLoadable({source}, loadable);
  if (error)
    return std::move(error);
  return LoadedKernel::load(loadable, spec.name);
}

} // namespace

llvm::Expected<std::optional<KernelTimes>>
ingot::measureKernel(const KernelSpec &spec, const Target &target, const KernelCache &cache,
                     const ScratchFolder &scratch, TuneClock::time_point deadline) {
  KernelTimes times;
  std::vector<KernelSpec> specs;
  times.tokens = spec.max_tokens;
  times.position = int32_t(typicalPosition(spec));
  const Tile model = target.tile(spec);
  for (const Tile &tile : target.tileCandidates(spec)) {
    specs.push_back(spec);
    specs.back().tile = tile;
    times.candidates.push_back(
        {tile, 0, target.estimate(specs.back(), times.tokens, times.position)});
    if (tile == model)
      times.model = specs.size() - 1;
  }
  times.best = times.model;

  // All are compiled, on all processors, before the first is measured, on one.
  std::vector<std::string> objects(specs.size());
  llvm::Error failure = llvm::Error::success();
  {
    std::mutex mutex;
    llvm::DefaultThreadPool pool;
    for (size_t i = 0; i < specs.size(); ++i)
      pool.async([&, i] {
        if (TuneClock::now() > deadline)
          return;
        auto object = compileKernelCached(specs[i], target, cache);
        std::lock_guard lock(mutex);
        if (object)
          objects[i] = std::move(*object);
        else
          failure = llvm::joinErrors(std::move(failure), object.takeError());
      });
    pool.wait();
  }
  if (failure)
    return std::move(failure);
  if (TuneClock::now() > deadline)
    return std::nullopt;

  std::vector<LoadedKernel> kernels;
  for (size_t i = 0; i < specs.size(); ++i) {
    auto kernel = load(specs[i], target, scratch, objects[i], i);
    if (!kernel)
      return kernel.takeError();
    for (const LoadedKernel &other : kernels)
      if (other.address() == kernel->address())
        return inputError("kernel " + spec.name, "", "was loaded twice to measure two tiles");
    kernels.push_back(std::move(*kernel));
  }
  Contest contest(spec, target);
  contest.measureScale(kernels[times.model]);
  std::string expected;
  for (size_t i = 0; i < kernels.size(); ++i) {
    std::string results = contest.results(kernels[i]);
    if (i == 0)
      expected = std::move(results);
    else if (results != expected)
      return inputError("kernel " + spec.name, "",
                        "tile " + tileText(specs[i].tile) + " and tile " + tileText(specs[0].tile) +
                            " give different results",
                        "this is a defect of Ingot: please report it; compile without --tune");
  }

  // Rounds of one sample each, so that a slower moment of the machine meets all alike.
  std::vector<std::vector<double>> samples(kernels.size());
  const auto start = TuneClock::now();
  for (int round = 0; round < kMostRounds; ++round) {
    if (round >= kFewestRounds && nanosecondsSince(start) > kKernelSeconds * 1e9)
      break;
    for (size_t i = 0; i < kernels.size(); ++i)
      samples[i].push_back(contest.sample(kernels[i]));
    if (TuneClock::now() > deadline)
      return std::nullopt;
  }
  for (size_t i = 0; i < kernels.size(); ++i)
    times.candidates[i].nanoseconds = median(samples[i]);
  size_t fastest = times.model;
  for (size_t i = 0; i < kernels.size(); ++i)
    if (times.candidates[i].nanoseconds < times.candidates[fastest].nanoseconds)
      fastest = i;
  // The smallest of many is partly luck: the two that matter meet once more.
  if (fastest != times.model) {
    std::vector<double> ratios;
    for (int round = 0; round < kFewestRounds * 2; ++round) {
      const double model = contest.sample(kernels[times.model]);
      ratios.push_back(model / contest.sample(kernels[fastest]));
    }
    const double first =
        times.candidates[times.model].nanoseconds / times.candidates[fastest].nanoseconds;
    if (std::min(first, median(ratios)) > kClearly)
      times.best = fastest;
  }
  return times;
}
