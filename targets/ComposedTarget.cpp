// What is asked of the whole program is answered by the floor, the last part, but how to link it:
// everything else either agrees with it (checked here and in common...) or is asked of the
// variants.
#include "targets/ComposedTarget.h"

#include "support/Error.h"

#include "llvm/ADT/STLExtras.h"

namespace ingot {
namespace {

class ComposedTarget final : public Target {
public:
  ComposedTarget(llvm::StringRef name, std::vector<std::unique_ptr<Target>> parts)
      : parts(std::move(parts)), floor(*this->parts.back()), description(floor.machine()) {
    description.name = name.str();
  }

  const Machine &machine() const override { return description; }
  Encoding legalEncoding(const Encoding &stored) const override {
    return floor.legalEncoding(stored);
  }
  PackedLayout packedLayout(const Encoding &encoding) const override {
    return floor.packedLayout(encoding);
  }
  std::vector<Tile> tileCandidates(const KernelSpec &spec) const override {
    return floor.tileCandidates(spec);
  }
  double estimate(const KernelSpec &spec, int64_t tokens, int64_t position) const override {
    return floor.estimate(spec, tokens, position);
  }
  Activations activations() const override { return parts.front()->activations(); }
  bool multipliesHalves() const override {
    return llvm::all_of(parts, [](const auto &part) { return part->multipliesHalves(); });
  }
  int32_t prefillTokens() const override { return floor.prefillTokens(); }
  std::string halideTarget() const override { return floor.halideTarget(); }
  void schedule(ScheduleRequest &request) const override { floor.schedule(request); }
  uint64_t weightsReserve() const override { return floor.weightsReserve(); }
  /// By the best part: one whose kernels a device runs links what finds that device.
  llvm::Error link(const LinkInputs &inputs) const override { return parts.front()->link(inputs); }
  bool linksShared() const override { return parts.front()->linksShared(); }
  std::vector<std::string> runtimeFiles() const override { return parts.front()->runtimeFiles(); }
  llvm::Error linkLoadable(const std::vector<std::string> &objects,
                           const std::string &output) const override {
    return floor.linkLoadable(objects, output);
  }
  bool runsHere() const override {
    return llvm::any_of(parts, [](const auto &part) { return part->runsHere(); });
  }
  std::string emulator() const override { return parts.front()->emulator(); }
  std::vector<const Target *> variants() const override {
    std::vector<const Target *> all;
    for (const auto &part : parts)
      all.push_back(part.get());
    return all;
  }

private:
  std::vector<std::unique_ptr<Target>> parts;
  const Target &floor;
  Machine description;
};

/// Who packs or reads weights in another way than the last.
llvm::Error disagreement(const Target &variant, const Target &floor, llvm::StringRef what,
                         const Encoding &encoding) {
  return inputError("", "",
                    variant.machine().name + " and " + floor.machine().name + " " + what +
                        " weights of " + encoding.str() +
                        " differently, so they cannot share a program");
}

} // namespace

llvm::Expected<std::unique_ptr<Target>> composeTargets(llvm::StringRef name,
                                                       std::vector<std::unique_ptr<Target>> parts) {
  const Target &floor = *parts.back();
  for (size_t i = 0; i < parts.size(); ++i) {
    const Machine &machine = parts[i]->machine();
    for (size_t j = 0; j < i; ++j)
      if (machine.name == parts[j]->machine().name)
        return inputError("--target", name, machine.name + " is there twice");
    if (machine.triple != floor.machine().triple ||
        parts[i]->prefillTokens() != floor.prefillTokens() ||
        parts[i]->weightsReserve() != floor.weightsReserve())
      return inputError("--target", name,
                        machine.name + " and " + floor.machine().name +
                            " cannot share steps and weights");
  }
  return std::make_unique<ComposedTarget>(name, std::move(parts));
}

llvm::Expected<Encoding> commonLegalEncoding(const Target &target, const Encoding &stored) {
  const std::vector<const Target *> variants = target.variants();
  for (const Target *variant : variants) {
    const Encoding legal = variant->legalEncoding(stored);
    if (llvm::all_of(variants,
                     [&](const Target *other) { return other->legalEncoding(legal) == legal; }))
      return legal;
  }
  return disagreement(*variants.front(), *variants.back(), "read", stored);
}

llvm::Expected<PackedLayout> commonPackedLayout(const Target &target, const Encoding &encoding) {
  const std::vector<const Target *> variants = target.variants();
  const PackedLayout layout = variants.back()->packedLayout(encoding);
  for (const Target *variant : variants)
    if (!(variant->packedLayout(encoding) == layout))
      return disagreement(*variant, *variants.back(), "pack", encoding);
  return layout;
}

} // namespace ingot
