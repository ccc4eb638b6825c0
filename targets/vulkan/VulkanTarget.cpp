// The target of Vulkan devices. There is one for all of them: kernels ask for nothing that not
// every device has, but where they have a better form, and the program takes that when it starts.
//
// The program itself is one for x86-64 under Linux with glibc, which a Vulkan driver needs: it
// loads libvulkan.so.1 when it runs.
#include "targets/vulkan/VulkanTarget.h"

#include "support/Error.h"
#include "targets/BlockLayout.h"
#include "targets/cpu/LinkElf.h"
#include "targets/vulkan/Devices.h"
#include "targets/vulkan/runtime/device.h"

using namespace ingot;

namespace {

constexpr const char *name = "vulkan";

constexpr LoadingRecipe loading{"/lib64/ld-linux-x86-64.so.2", "glibc", "libingot_vulkan.a"};
// Weights are a section of "large" data behind everything else.
constexpr ElfRecipe elf{"elf_x86_64",
                        llvm::ELF::EM_X86_64,
                        llvm::ELF::SHF_X86_64_LARGE,
                        4096,
                        "",
                        "-zlrodata-after-bss",
                        /*wide=*/true,
                        /*c_library=*/true,
                        &loading,
                        /*flags=*/0,
                        "libc.so.6"};

class VulkanTarget final : public Target {
public:
  explicit VulkanTarget(const vulkan::Device *model = nullptr) : model(model) {
    description.name = model ? model->name : name;
    description.triple = "x86_64-unknown-linux-gnu";
    description.isa = "spirv";
    if (model) {
      description.rates.memory_gbps = description.rates.all_gbps = model->memory_gbps;
      description.rates.launch_nanoseconds = vulkan::launch_nanoseconds;
    }
  }

  const Machine &machine() const override { return description; }
  Encoding legalEncoding(const Encoding &stored) const override { return storedEncoding(stored); }
  PackedLayout packedLayout(const Encoding &encoding) const override {
    return blockLayout(encoding);
  }
  /// Kernels have one shape each (codegen/spirv), so that sums have one order.
  std::vector<Tile> tileCandidates(const KernelSpec &) const override { return {Tile{}}; }
  double estimate(const KernelSpec &spec, int64_t tokens, int64_t position) const override {
    return model ? vulkan::estimate(*model, spec, tokens, position) : 0;
  }
  std::vector<const Target *> models() const override;
  /// Decode takes the time that its bytes of weights take, whatever they are multiplied by; and
  /// rounded activations would decide by the last bit of a float, which no two devices share.
  Activations activations() const override { return Activations::f32; }
  llvm::ArrayRef<Activations> readableActivations() const override {
    static constexpr Activations all[] = {Activations::int8, Activations::f16, Activations::f32};
    return all;
  }
  int32_t prefillTokens() const override { return 192; }
  KernelForm kernelForm() const override { return KernelForm::spirv; }
  std::string device() const override { return "ingot_vulkan_device"; }
  uint64_t weightsReserve() const override { return elf.page; }
  llvm::Error link(const LinkInputs &inputs) const override { return cpu::linkElf(elf, inputs); }
  bool linksShared() const override { return elf.system_libraries; }
  std::vector<std::string> runtimeFiles() const override { return cpu::runtimeFiles(elf); }
  llvm::Error linkLoadable(const std::vector<std::string> &, const std::string &) const override {
    return inputError("", "target vulkan", "its kernels are no objects");
  }
  bool runsHere() const override {
    static const bool here = !platform::vulkan::missing();
    return here;
  }

private:
  Machine description;
  const vulkan::Device *model; ///< null: any device
};

std::vector<const Target *> VulkanTarget::models() const {
  static const std::vector<VulkanTarget> all = [] {
    std::vector<VulkanTarget> each;
    for (const vulkan::Device &device : vulkan::devices())
      each.emplace_back(&device);
    return each;
  }();
  std::vector<const Target *> found;
  for (const VulkanTarget &one : all)
    found.push_back(&one);
  return found;
}

} // namespace

std::vector<TargetName> ingot::vulkanTargetNames() {
  return {
      {name, "any device with Vulkan 1.1 (on x86-64 Linux with glibc)", VulkanTarget().runsHere()}};
}

std::string ingot::vulkanFullName(llvm::StringRef part) { return part == name ? name : ""; }

llvm::Expected<std::unique_ptr<Target>> ingot::makeVulkanTarget(llvm::StringRef wanted) {
  if (wanted == name)
    return std::make_unique<VulkanTarget>();
  return std::unique_ptr<Target>();
}
