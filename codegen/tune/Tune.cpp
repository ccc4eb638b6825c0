#include "codegen/tune/Tune.h"

#include "codegen/tune/Measure.h"
#include "codegen/tune/Report.h"
#include "codegen/tune/TileFile.h"
#include "dialects/kernel/Spec.h"
#include "support/Error.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;

namespace ingot {
namespace {

/// A kernel that has more than one tile.
struct Tunable {
  kernel::FuncOp function;
  KernelSpec spec;
  std::string key, code;
  int64_t launches = 0; ///< of all steps
  double weight = 0;    ///< the model's estimate of all those
};

class Tuning {
public:
  Tuning(const Target &target, const TuneOptions &options, const KernelCache &cache,
         const ScratchFolder &scratch, Progress &progress)
      : target(target), options(options), cache(cache), scratch(scratch), progress(progress),
        cpu(processorName()) {}

  llvm::Error run(ModuleOp module) {
    auto read = options.file.empty() ? TileFile() : TileFile::read(options.file, options.measure);
    if (!read)
      return read.takeError();
    file = std::move(*read);
    if (llvm::Error error = gather(module))
      return error;
    return options.measure ? measureAll() : useFile();
  }

private:
  llvm::Error gather(ModuleOp module) {
    llvm::StringMap<int64_t> launches;
    module.walk([&](kernel::LaunchOp launch) { ++launches[launch.getCallee()]; });
    for (auto function : module.getOps<kernel::FuncOp>()) {
      auto spec = kernel::specOf(function);
      if (!spec)
        return spec.takeError();
      if (target.tileCandidates(*spec).size() < 2)
        continue;
      Tunable kernel{function, std::move(*spec), "", "", launches.lookup(function.getSymName()), 0};
      kernel.key = tileKey(kernel.spec, target);
      kernel.code = tileCode(kernel.spec, target);
      kernel.weight = double(kernel.launches) * target.estimate(kernel.spec, kernel.spec.max_tokens,
                                                                typicalPosition(kernel.spec));
      kernels.push_back(std::move(kernel));
    }
    return llvm::Error::success();
  }

  static bool isCandidate(const Target &target, const KernelSpec &spec, const Tile &tile) {
    return llvm::is_contained(target.tileCandidates(spec), tile);
  }

  void apply(Tunable &kernel, const Tile &tile) {
    kernel.function.setTileAttr(kernel::TileAttr::get(kernel.function.getContext(), tile.token_tile,
                                                      tile.streams, tile.key_tile));
  }

  llvm::Error useFile() {
    size_t used = 0;
    for (Tunable &kernel : kernels) {
      const MeasuredTile *known = file.find(target.machine().cpu, cpu, kernel.key);
      if (!known)
        continue;
      const bool candidate = isCandidate(target, kernel.spec, known->tile);
      if (!candidate && known->code != kernel.code)
        continue; // an older Ingot had it
      if (!candidate)
        return inputError(options.file, "line " + llvm::Twine(known->line),
                          "kernel " + kernel.spec.name + " has no tile " + tileText(known->tile),
                          "remove the line, or let --tune measure it anew");
      apply(kernel, known->tile);
      ++used;
    }
    progress.note(llvm::formatv("{0} of {1} kernels have their tiles from {2}", used,
                                kernels.size(), options.file)
                      .str());
    return llvm::Error::success();
  }

  llvm::Error measureAll() {
    const auto start = TuneClock::now();
    const auto deadline =
        start + std::chrono::duration_cast<TuneClock::duration>(
                    std::chrono::duration<double>(std::min(options.seconds, 1e6)));
    TuneReport report(target.machine(), cpu);
    std::vector<Tunable *> open;
    for (Tunable &kernel : kernels) {
      const MeasuredTile *known = file.findHere(target.machine().cpu, cpu, kernel.key);
      if (known && known->code == kernel.code && isCandidate(target, kernel.spec, known->tile)) {
        apply(kernel, known->tile);
        report.addKnown(kernel.spec.name, kernel.key, kernel.launches, known->tile);
      } else {
        open.push_back(&kernel);
      }
    }
    if (open.size() < kernels.size())
      progress.note(llvm::formatv("{0} of {1} kernels were measured before{2}",
                                  kernels.size() - open.size(), kernels.size(),
                                  options.file.empty() ? "" : " (" + options.file + ")")
                        .str());
    // What most time goes to comes first, should the time be short.
    llvm::sort(open, [](const Tunable *a, const Tunable *b) {
      return std::pair(-a->weight, a->spec.name) < std::pair(-b->weight, b->spec.name);
    });
    if (!open.empty())
      progress.stage("tuning kernels", open.size());
    size_t done = 0;
    for (; done < open.size() && TuneClock::now() < deadline; ++done) {
      Tunable &kernel = *open[done];
      auto times = measureKernel(kernel.spec, target, cache, scratch, deadline);
      if (!times)
        return times.takeError();
      if (!*times)
        break;
      const Tile tile = (*times)->candidates[(*times)->best].tile;
      apply(kernel, tile);
      const std::string summary =
          report.add(kernel.spec.name, kernel.key, kernel.launches, **times);
      progress.note(summary);
      if (!options.file.empty()) {
        file.set(target.machine().cpu, cpu, {kernel.key, tile, kernel.code, summary});
        if (llvm::Error error = file.write(options.file))
          return error;
      }
      progress.advance();
    }
    progress.note(report.total());
    if (done < open.size())
      progress.warn(
          llvm::formatv("note: --tune stopped after {0:F0} s; {1} of {2} kernels keep the "
                        "tiles of the machine model{3}",
                        options.seconds, open.size() - done, kernels.size(),
                        options.file.empty() ? "" : "; the same command goes on from here")
              .str());
    return options.report.empty() ? llvm::Error::success() : report.write(options.report);
  }

  const Target &target;
  const TuneOptions &options;
  const KernelCache &cache;
  const ScratchFolder &scratch;
  Progress &progress;
  const std::string cpu;
  TileFile file;
  std::vector<Tunable> kernels;
};

} // namespace

std::string TuneOptions::defaultFile(llvm::StringRef cache_folder, const Target &target) {
  if (cache_folder.empty())
    return "";
  llvm::SmallString<128> path(cache_folder);
  llvm::sys::path::append(path, "tiles2-" + target.machine().cpu + ".tune");
  return std::string(path);
}

llvm::Error tuneKernels(ModuleOp module, const Target &target, const TuneOptions &options,
                        const KernelCache &cache, const ScratchFolder &scratch,
                        Progress &progress) {
  if (!options.measure && options.file.empty())
    return llvm::Error::success();
  return Tuning(target, options, cache, scratch, progress).run(module);
}

} // namespace ingot
