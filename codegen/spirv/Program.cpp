#include "codegen/spirv/Program.h"

#include "codegen/spirv/Kernel.h"
#include "dialects/kernel/Spec.h"
#include "runtime/core/device.h"
#include "runtime/device_generated.h"
#include "support/Error.h"

#include <map>

using namespace mlir;

namespace ingot::spirv {
namespace {

static_assert(int(device::Space_arena) == int(kernel::BufferUse::Space::arena) &&
              int(device::Space_weights) == int(kernel::BufferUse::Space::weights) &&
              int(device::Space_tokens) == int(kernel::BufferUse::Space::tokens) &&
              int(device::Space_logits) == int(kernel::BufferUse::Space::logits) &&
              int(device::Space_cache) == int(kernel::BufferUse::Space::cache) &&
              int(device::Space_scratch) > int(device::Space_cache));

/// A kernel of a launch: its name, and whether it is for each sequence of a step.
using KernelName = std::pair<std::string, bool>;

KernelName nameOf(kernel::LaunchOp launch) {
  return {launch.getCallee().str(), launch.getPerSequence()};
}

/// Where kernels have their scratch: each has its own, for the most tokens that a step has.
struct Scratch {
  struct Place {
    uint64_t offset = 0, each = 0, bytes = 0;
  };
  std::map<KernelName, Place> places;
  uint64_t bytes = 0;
};

llvm::Expected<Scratch> planScratch(ModuleOp planned) {
  Scratch scratch;
  for (func::FuncOp step : kernel::stepsOf(planned))
    for (auto launch : step.getOps<kernel::LaunchOp>()) {
      auto [found, added] = scratch.places.try_emplace(nameOf(launch));
      if (added) {
        auto spec = kernel::specOf(kernel::calleeOf(launch));
        if (!spec)
          return spec.takeError();
        found->second.each = uint64_t(scratchBytes(*spec));
      }
      found->second.bytes =
          std::max(found->second.bytes, found->second.each * uint64_t(kernel::tokensOf(step)));
    }
  for (auto &[name, place] : scratch.places) {
    place.offset = scratch.bytes;
    scratch.bytes += llvm::alignTo(place.bytes, 256);
  }
  return scratch;
}

class ProgramBuilder {
public:
  explicit ProgramBuilder(ModuleOp planned) : planned(planned) {}

  llvm::Expected<std::string> build() {
    auto planned_scratch = planScratch(planned);
    if (!planned_scratch)
      return planned_scratch.takeError();
    scratch = std::move(*planned_scratch);
    std::vector<flatbuffers::Offset<device::Step>> steps;
    for (func::FuncOp step : kernel::stepsOf(planned))
      if (llvm::Error error = addStep(step, steps))
        return std::move(error);
    auto all_kernels = buffer.CreateVector(kernels);
    auto all_steps = buffer.CreateVector(steps);
    device::FinishCodeBuffer(buffer, device::CreateCode(buffer, all_kernels, all_steps));
    return std::string(reinterpret_cast<const char *>(buffer.GetBufferPointer()), buffer.GetSize());
  }

private:
  llvm::Expected<uint16_t> kernelOf(kernel::LaunchOp launch) {
    const bool each = launch.getPerSequence();
    auto found = known.find(nameOf(launch));
    if (found != known.end())
      return found->second;
    auto spec = kernel::specOf(kernel::calleeOf(launch));
    if (!spec)
      return spec.takeError();
    std::vector<flatbuffers::Offset<device::Form>> forms;
    for (const Features &features : formsOf(*spec)) {
      auto kernel = compileKernel(*spec, each, features);
      if (!kernel)
        return kernel.takeError();
      forms.push_back(createForm(buffer, features, *kernel));
    }
    const std::string name = spec->name + (each ? ".each" : "");
    const size_t arguments =
        kernelInterface(*spec).arguments.size() + (scratchBytes(*spec) ? 1 : 0);
    const auto number = static_cast<uint16_t>(kernels.size());
    kernels.push_back(
        device::CreateKernelDirect(buffer, name.c_str(), &forms, static_cast<uint8_t>(arguments)));
    known[nameOf(launch)] = number;
    return number;
  }

  llvm::Error addStep(func::FuncOp step, std::vector<flatbuffers::Offset<device::Step>> &steps) {
    std::vector<flatbuffers::Offset<device::Launch>> launches;
    bool barrier = false;
    for (Operation &op : step.getBody().front()) {
      barrier |= isa<kernel::BarrierOp>(op);
      auto launch = dyn_cast<kernel::LaunchOp>(op);
      if (!launch)
        continue;
      auto uses = kernel::bufferUses(launch);
      if (!uses)
        return uses.takeError();
      auto kernel = kernelOf(launch);
      if (!kernel)
        return kernel.takeError();
      std::vector<device::Argument> arguments;
      for (const kernel::BufferUse &use : *uses)
        arguments.emplace_back(use.offset, use.bytes, static_cast<device::Space>(use.space));
      const Scratch::Place &place = scratch.places[nameOf(launch)];
      if (place.bytes)
        arguments.emplace_back(place.offset, place.bytes, device::Space_scratch);
      launches.push_back(device::CreateLaunchDirect(buffer, *kernel, barrier, &arguments));
      barrier = false;
    }
    steps.push_back(device::CreateStepDirect(buffer, step.getSymName().str().c_str(),
                                             static_cast<int32_t>(kernel::tokensOf(step)),
                                             &launches));
    return llvm::Error::success();
  }

  ModuleOp planned;
  flatbuffers::FlatBufferBuilder buffer;
  std::vector<flatbuffers::Offset<device::Kernel>> kernels;
  std::map<KernelName, uint16_t> known;
  Scratch scratch;
};

} // namespace

flatbuffers::Offset<device::Form> createForm(flatbuffers::FlatBufferBuilder &buffer,
                                             const Features &features, const DeviceKernel &kernel) {
  auto number = [](int64_t value) { return static_cast<uint32_t>(value); };
  const Grid &grid = kernel.grid;
  return device::CreateFormDirect(
      buffer, features.bits(), &kernel.words, number(kernel.shared_bytes), number(grid.y),
      number(grid.tokens_each), number(grid.more_tokens), number(grid.keys_each));
}

llvm::Expected<uint64_t> scratchBytes(ModuleOp planned) {
  auto scratch = planScratch(planned);
  if (!scratch)
    return scratch.takeError();
  return scratch->bytes;
}

llvm::Expected<std::string> compileProgram(ModuleOp planned) {
  return ProgramBuilder(planned).build();
}

} // namespace ingot::spirv
