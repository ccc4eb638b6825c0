// 64-bit RISC-V as a target: RV64GC at least, with vectors where the machine has them.
#pragma once

#include "targets/Target.h"

namespace ingot {

std::vector<TargetName> riscv64TargetNames();
/// Null for a name that is not of this family.
llvm::Expected<std::unique_ptr<Target>> makeRiscV64Target(llvm::StringRef name);
/// The machine that a part of a composed target means: "v", or its name. Empty: unknown.
std::string riscv64FullName(llvm::StringRef part);

} // namespace ingot
