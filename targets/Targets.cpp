// The registry of targets: a new one adds its line to `families`.
#include "targets/Target.h"

#include "support/Error.h"
#include "targets/ComposedTarget.h"
#include "targets/aarch64/AArch64Target.h"
#include "targets/hexagon/HexagonTarget.h"
#include "targets/riscv64/RiscV64Target.h"
#include "targets/vulkan/VulkanTarget.h"
#include "targets/x86/X86Target.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

#include <optional>

using namespace ingot;

namespace {

/// A family lists its names, best first, and makes the ones it knows (null: not mine). `full` gives
/// the listed name of a part of a composed target, which may be "host" or short; empty: not mine.
struct Family {
  std::vector<TargetName> (*names)();
  llvm::Expected<std::unique_ptr<Target>> (*make)(llvm::StringRef name);
  std::string (*full)(llvm::StringRef part);
  bool device = false; ///< its kernels run on a device, beside those for processors of any family
};
constexpr Family families[] = {
    {x86TargetNames, makeX86Target, x86FullName},
    {aarch64TargetNames, makeAArch64Target, aarch64FullName},
    {hexagonTargetNames, makeHexagonTarget, hexagonFullName},
    {vulkanTargetNames, makeVulkanTarget, vulkanFullName, /*device=*/true},
    {riscv64TargetNames, makeRiscV64Target, riscv64FullName},
};

/// Null when the first part for a processor is not of this family. Parts for devices come first:
/// the others are there for machines that have none.
llvm::Expected<std::unique_ptr<Target>> compose(const Family &family, llvm::StringRef name) {
  std::vector<std::string> listed;
  for (const TargetName &target : family.names())
    listed.push_back(target.name);
  std::vector<std::pair<size_t, std::string>> parts; // by rank
  std::vector<std::unique_ptr<Target>> made;
  for (llvm::StringRef part : llvm::split(name, '+')) {
    const auto *device = llvm::find_if(
        families, [&](const Family &one) { return one.device && !one.full(part).empty(); });
    if (device != std::end(families) && !family.device) {
      auto target = device->make(device->full(part));
      if (!target)
        return target.takeError();
      made.push_back(std::move(*target));
      continue;
    }
    const std::string full = family.full(part);
    if (full.empty() && parts.empty())
      return std::unique_ptr<Target>();
    if (full.empty())
      return inputError("--target", name, "unknown part '" + part + "'",
                        "known targets: " + llvm::join(listed, ", "));
    parts.emplace_back(llvm::find(listed, full) - listed.begin(), full);
  }
  if (parts.empty())
    return std::unique_ptr<Target>();
  llvm::sort(parts);
  for (const auto &[rank, full] : parts) {
    auto target = family.make(full);
    if (!target)
      return target.takeError();
    made.push_back(std::move(*target));
  }
  return composeTargets(name, std::move(made));
}

} // namespace

Activations ingot::defaultActivations(llvm::StringRef name) {
  auto target = makeTarget(name);
  if (target)
    return (*target)->activations();
  llvm::consumeError(target.takeError());
  return Activations::int8;
}

llvm::Error ingot::checkActivations(const Target &target, Activations activations) {
  for (const Target *variant : target.variants())
    if (!llvm::is_contained(variant->readableActivations(), activations)) {
      std::string known;
      for (Activations one : variant->readableActivations())
        known += (known.empty() ? "" : ", ") + toString(one).str();
      return inputError("", ("--activations " + toString(activations)).str(),
                        "kernels for " + variant->machine().name + " do not read that",
                        "--activations " + known);
    }
  return llvm::Error::success();
}

int32_t ingot::pairSteps(const Machine &machine, const Encoding &encoding) {
  // Codes as they are multiplied: stored ones, or numbers of a table.
  const bool numbers = encoding.table != CodeTable::none && signedCodes(machine);
  const int32_t largest = numbers ? std::max(encoding.maxCode(), -encoding.minCode())
                                  : encoding.maxCode() - encoding.minCode();
  int32_t steps = 8;
  while (steps > 1 && 2 * steps * largest * activationCodeLimit(8) > INT16_MAX)
    steps /= 2;
  return steps;
}

DotForm ingot::dotForm(const Machine &machine, const Encoding &encoding, const KernelValue &x) {
  if (x.kind == KernelValue::Kind::rows)
    return DotForm::floats;
  if (x.holdsHalves())
    return DotForm::halves;
  if (x.codeBits() == 16)
    return DotForm::widened_pairs;
  const bool pairs = machine.byte_dot == ByteDot::mixed_pairs;
  if (!pairs && machine.byte_dot != ByteDot::lanes)
    return DotForm::quads;
  const int32_t steps = pairSteps(machine, encoding);
  if (steps < (pairs ? 2 : 8))
    return DotForm::widened_pairs;
  return pairs ? DotForm::saturating_pairs : DotForm::lanes;
}

Tile Target::tile(const KernelSpec &spec) const {
  // Steps of many tokens are full, but for a prompt's last, which has any number.
  std::vector<int64_t> tokens{spec.max_tokens};
  if (spec.max_tokens > kTokenPadding)
    tokens.insert(tokens.end(), {spec.max_tokens / 2 + 1, spec.max_tokens / 4 + 1});
  KernelSpec tiled = spec;
  std::optional<double> least;
  Tile best;
  for (const Tile &tile : tileCandidates(spec)) {
    tiled.tile = tile;
    double time = 0;
    for (int64_t count : tokens)
      time += estimate(tiled, count, typicalPosition(spec));
    if (!least || time < *least)
      least = time, best = tile;
  }
  return best;
}

std::vector<TargetName> ingot::targetNames() {
  std::vector<TargetName> names;
  for (const Family &family : families)
    llvm::append_range(names, family.names());
  return names;
}

llvm::Expected<std::unique_ptr<Target>> ingot::makeTarget(llvm::StringRef name) {
  for (const Family &family : families) {
    llvm::Expected<std::unique_ptr<Target>> target =
        name.contains('+') ? compose(family, name) : family.make(name);
    if (!target || *target)
      return target;
  }
  std::vector<std::string> known;
  for (const TargetName &target : targetNames())
    known.push_back(target.name);
  return inputError("--target", "", "unknown target '" + name + "'",
                    "known targets: " + llvm::join(known, ", "));
}
