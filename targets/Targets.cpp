// The registry of targets: a new one adds its line to `families`.
#include "targets/Target.h"

#include "support/Error.h"
#include "targets/x86/X86Target.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

using namespace ingot;

namespace {

/// A family lists its names and makes the ones it knows (null: not mine).
struct Family {
  std::vector<TargetName> (*names)();
  llvm::Expected<std::unique_ptr<Target>> (*make)(llvm::StringRef name);
};
constexpr Family families[] = {{x86TargetNames, makeX86Target}};

} // namespace

std::vector<TargetName> ingot::targetNames() {
  std::vector<TargetName> names;
  for (const Family &family : families)
    llvm::append_range(names, family.names());
  return names;
}

llvm::Expected<std::unique_ptr<Target>> ingot::makeTarget(llvm::StringRef name) {
  for (const Family &family : families) {
    llvm::Expected<std::unique_ptr<Target>> target = family.make(name);
    if (!target || *target)
      return target;
  }
  std::vector<std::string> known;
  for (const TargetName &target : targetNames())
    known.push_back(target.name);
  return inputError("--target", "", "unknown target '" + name + "'",
                    "known targets: " + llvm::join(known, ", "));
}
