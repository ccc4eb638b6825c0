#include "codegen/Variants.h"

#include "dialects/kernel/Kernel.h"
#include "passes/Passes.h"
#include "support/Error.h"

#include "mlir/Pass/PassManager.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;

namespace ingot {
namespace {

void renameKernels(ModuleOp module, StringRef suffix) {
  auto renamed = [&](StringRef name) { return (name + suffix).str(); };
  for (auto function : module.getOps<kernel::FuncOp>())
    function.setSymName(renamed(function.getSymName()));
  module.walk([&](kernel::LaunchOp launch) { launch.setCallee(renamed(launch.getCallee())); });
}

} // namespace

/// "x86-64-v3" -> "_x86_64_v3": fit for every assembler, and what a profiler shows.
std::string variantSuffix(StringRef machine, size_t machines) {
  std::string suffix = machines > 1 ? ("_" + machine).str() : "";
  for (char &c : suffix)
    if (!llvm::isAlnum(c))
      c = '_';
  return suffix;
}

llvm::Expected<std::vector<Variant>> makeVariants(ModuleOp lowered, const Target &target) {
  const std::vector<const Target *> targets = target.variants();
  std::vector<Variant> variants;
  for (const Target *one : targets) {
    Variant &variant = variants.emplace_back();
    variant.target = one;
    variant.module = lowered.clone();
    if (targets.size() == 1)
      break; // it was lowered for this one
    variant.suffix = variantSuffix(one->machine().name, targets.size());
    PassManager manager(lowered.getContext());
    manager.addPass(createKernelTile({one->machine().name}));
    if (failed(manager.run(*variant.module)))
      return inputError("", "target " + one->machine().name, "kernel-tile failed");
    renameKernels(*variant.module, variant.suffix);
  }
  return variants;
}

} // namespace ingot
