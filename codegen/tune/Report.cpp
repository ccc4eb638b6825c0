#include "codegen/tune/Report.h"

#include "codegen/tune/TileFile.h"

#include "llvm/Support/FormatVariadic.h"

namespace json = llvm::json;

namespace ingot {

static json::Object tileObject(const Tile &tile) {
  return json::Object{
      {"tokens", tile.token_tile}, {"streams", tile.streams}, {"keys", tile.key_tile}};
}

TuneReport::TuneReport(const Machine &machine, std::string cpu)
    : root{{"target", machine.name}, {"isa", machine.isa}, {"processor", std::move(cpu)}} {}

std::string TuneReport::add(llvm::StringRef name, llvm::StringRef key, int64_t launches,
                            const KernelTimes &times) {
  json::Array candidates;
  size_t fastest = times.model;
  for (size_t i = 0; i < times.candidates.size(); ++i) {
    const CandidateTime &candidate = times.candidates[i];
    json::Object entry = tileObject(candidate.tile);
    entry["microseconds"] = candidate.nanoseconds / 1e3;
    entry["estimate_microseconds"] = candidate.estimate / 1e3;
    candidates.push_back(std::move(entry));
    if (candidate.nanoseconds < times.candidates[fastest].nanoseconds)
      fastest = i;
  }
  const CandidateTime &model = times.candidates[times.model], &best = times.candidates[times.best];
  // Against the fastest of all, also where it is not clearly faster: the model owes that ratio.
  const double least = times.candidates[fastest].nanoseconds, ratio = model.nanoseconds / least;
  kernels.push_back(json::Object{{"name", name},
                                 {"key", key},
                                 {"launches", launches},
                                 {"tokens", times.tokens},
                                 {"position", times.position},
                                 {"candidates", std::move(candidates)},
                                 {"model", tileObject(model.tile)},
                                 {"fastest", tileObject(times.candidates[fastest].tile)},
                                 {"chosen", tileObject(best.tile)},
                                 {"model_to_fastest", ratio}});
  ++measured;
  model_nanoseconds += double(launches) * model.nanoseconds;
  best_nanoseconds += double(launches) * least;
  worst_ratio = std::max(worst_ratio, ratio);
  std::string line = llvm::formatv("{0}, {1} tiles: {2:F1} us", name, times.candidates.size(),
                                   best.nanoseconds / 1e3);
  if (times.best == times.model)
    return line + " as the model chose";
  return line + llvm::formatv("; the model's {0}: {1:F1} us", tileText(model.tile),
                              model.nanoseconds / 1e3)
                    .str();
}

void TuneReport::addKnown(llvm::StringRef name, llvm::StringRef key, int64_t launches,
                          const Tile &tile) {
  kernels.push_back(json::Object{{"name", name},
                                 {"key", key},
                                 {"launches", launches},
                                 {"chosen", tileObject(tile)},
                                 {"measured_before", true}});
}

std::string TuneReport::total() const {
  if (!measured)
    return "no kernel was measured";
  return llvm::formatv("{0} kernels measured: the model's tiles take {1:F3} of the fastest ones' "
                       "time, at worst {2:F3}",
                       measured, model_nanoseconds / best_nanoseconds, worst_ratio)
      .str();
}

llvm::Error TuneReport::write(const std::string &path) const {
  json::Object out = root;
  out["kernels"] = json::Value(json::Array(kernels));
  out["measured"] = int64_t(measured);
  out["model_microseconds"] = model_nanoseconds / 1e3;
  out["fastest_microseconds"] = best_nanoseconds / 1e3;
  out["model_to_fastest"] = measured ? model_nanoseconds / best_nanoseconds : 1.0;
  out["worst_model_to_fastest"] = worst_ratio;
  return writeFile(path, llvm::formatv("{0:2}\n", json::Value(std::move(out))).str());
}

} // namespace ingot
