#include "codegen/link/Launches.h"

#include "dialects/kernel/Spec.h"
#include "dialects/lm/Lm.h"
#include "support/Error.h"

using namespace mlir;

namespace ingot {
namespace {

constexpr int16_t before_layers = -1, after_layers = -2;

/// The layer in the name of a weight or cache: "blk.7.ffn_down.weight", "kv.7".
std::optional<int16_t> layerOf(StringRef symbol) {
  SmallVector<StringRef> parts;
  symbol.split(parts, '.');
  for (StringRef part : parts) {
    int16_t layer;
    if (!part.getAsInteger(10, layer) && layer >= 0)
      return layer;
  }
  return std::nullopt;
}

/// kernelCost is linear in the four factors of manifest::Terms, so that four values of it tell the
/// coefficients: at (t, p) = (0, 0), (0, 1), (1, 0), (1, 1) there are 0, 0, 1, 2 keys.
manifest::Terms termsOf(const KernelSpec &spec, int64_t KernelCost::*count) {
  auto at = [&](int64_t tokens, int64_t position) {
    return kernelCost(spec, tokens, position).*count;
  };
  const int64_t fixed = at(0, 0), per_position = at(0, 1) - fixed;
  const int64_t per_key = at(1, 1) - at(1, 0) - per_position;
  return {fixed, at(1, 0) - fixed - per_key, per_position, per_key};
}

/// The places of a step's intermediate results, which live from the first launch that writes them
/// to the last one that reads them.
llvm::Expected<std::vector<manifest::Buffer>> buffersOf(func::FuncOp step) {
  DenseMap<Operation *, uint32_t> number;
  for (Operation &op : step.getBody().front())
    if (isa<kernel::BarrierOp, kernel::LaunchOp>(op))
      number.try_emplace(&op, number.size());
  if (number.size() > UINT16_MAX)
    return inputError("", "step '" + step.getSymName() + "'",
                      "has more than 65,535 launches and barriers");
  std::vector<manifest::Buffer> buffers;
  for (auto launch : step.getOps<kernel::LaunchOp>())
    for (OpResult result : launch.getResults()) {
      const int64_t offset = (*launch.getOffsets())[result.getResultNumber()];
      if (offset < 0) // the step's own result: logits
        continue;
      uint32_t last = number[launch];
      for (Operation *user : result.getUsers())
        last = std::max(last, number.lookup(user));
      const int64_t bytes = kernel::partOffsets(result).back();
      if (offset + bytes > UINT32_MAX)
        return inputError("", "step '" + step.getSymName() + "'",
                          "needs more than 4 GiB for intermediate results");
      buffers.emplace_back(offset, bytes, number[launch], last);
    }
  return buffers;
}

} // namespace

CostTerms costTerms(const KernelSpec &spec) {
  return {termsOf(spec, &KernelCost::macs), termsOf(spec, &KernelCost::weight_bytes),
          termsOf(spec, &KernelCost::cache_bytes), termsOf(spec, &KernelCost::activation_bytes)};
}

std::vector<int16_t> launchLayers(func::FuncOp step) {
  // A launch works for the layer whose weights or cache it reads, or else, as when it quantizes,
  // for the one that alone uses its results.
  DenseMap<Operation *, std::optional<int16_t>> known;
  SmallVector<kernel::LaunchOp> launches(step.getOps<kernel::LaunchOp>());
  for (kernel::LaunchOp launch : llvm::reverse(launches)) {
    std::optional<int16_t> &layer = known[launch];
    bool reads = false;
    for (Value input : launch.getInputs())
      if (auto ref = input.getDefiningOp<lm::RefOp>()) {
        reads = true;
        if (!layer)
          layer = layerOf(ref.getSymbol());
      }
    if (reads)
      continue;
    SmallVector<std::optional<int16_t>> users;
    for (Operation *user : launch->getUsers())
      users.push_back(known.lookup(user));
    if (!users.empty() && llvm::all_equal(users))
      layer = users.front();
  }
  std::vector<int16_t> layers;
  int16_t outside = before_layers, last = before_layers;
  for (Operation &op : step.getBody().front()) {
    if (isa<kernel::BarrierOp>(op)) {
      layers.push_back(last);
    } else if (auto launch = dyn_cast<kernel::LaunchOp>(op)) {
      const auto layer = known.lookup(launch);
      if (layer)
        outside = after_layers;
      last = layer.value_or(outside);
      layers.push_back(last);
    }
  }
  return layers;
}

llvm::Expected<LaunchTables> buildLaunches(flatbuffers::FlatBufferBuilder &buffer, ModuleOp planned,
                                           ArrayRef<ModuleOp> variants) {
  std::vector<std::vector<manifest::Tile>> tiles; // by kernel and variant
  for (ModuleOp variant : variants)
    for (auto [index, function] : llvm::enumerate(variant.getOps<kernel::FuncOp>())) {
      if (index == tiles.size())
        tiles.emplace_back();
      const Tile tile = function.getTile() ? kernel::tileFrom(*function.getTile()) : Tile();
      tiles[index].emplace_back(tile.token_tile, tile.streams, tile.key_tile);
    }
  std::vector<flatbuffers::Offset<manifest::Kernel>> kernels;
  llvm::StringMap<int16_t> number;
  for (auto function : planned.getOps<kernel::FuncOp>()) {
    auto spec = kernel::specOf(function);
    if (!spec)
      return spec.takeError();
    number[function.getSymName()] = static_cast<int16_t>(kernels.size());
    const CostTerms cost = costTerms(*spec);
    std::vector<uint32_t> columns;
    for (int32_t value : spec->outputs) {
      const KernelValue &output = spec->values[value];
      columns.push_back(output.kind == KernelValue::Kind::rows ? output.width : 0);
    }
    kernels.push_back(manifest::CreateKernelDirect(
        buffer, function.getSymName().str().c_str(), &tiles[kernels.size()],
        function.getMaxTokens() == 1, &columns, &cost.macs, &cost.weight_bytes, &cost.cache_bytes,
        &cost.activation_bytes));
  }
  std::vector<flatbuffers::Offset<manifest::Step>> steps;
  for (func::FuncOp step : kernel::stepsOf(planned)) {
    const std::vector<int16_t> layers = launchLayers(step);
    std::vector<manifest::Launch> launches;
    for (Operation &op : step.getBody().front()) {
      if (!isa<kernel::BarrierOp, kernel::LaunchOp>(op))
        continue;
      auto launch = dyn_cast<kernel::LaunchOp>(op);
      launches.emplace_back(launch ? number.lookup(launch.getCallee()) : int16_t{-1},
                            layers[launches.size()], launch && launch.getPerSequence());
    }
    auto buffers = buffersOf(step);
    if (!buffers)
      return buffers.takeError();
    steps.push_back(manifest::CreateStepDirect(buffer, step.getSymName().str().c_str(),
                                               static_cast<int32_t>(kernel::tokensOf(step)),
                                               &launches, &*buffers));
  }
  return LaunchTables{buffer.CreateVector(kernels), buffer.CreateVector(steps)};
}

} // namespace ingot
