// 64-bit ARM as a target: NEON at least, with dot products of bytes where the machine has them.
#pragma once

#include "targets/Target.h"

namespace ingot {

std::vector<TargetName> aarch64TargetNames();
/// Null for a name that is not of this family.
llvm::Expected<std::unique_ptr<Target>> makeAArch64Target(llvm::StringRef name);
/// The machine that a part of a composed target means: "dotprod", or its name. Empty: unknown.
std::string aarch64FullName(llvm::StringRef part);

} // namespace ingot
