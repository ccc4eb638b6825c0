// x86-64 as a target: AVX2 with FMA and F16C at least, AVX-512 with VNNI at best.
#pragma once

#include "targets/Target.h"

namespace ingot {

std::vector<TargetName> x86TargetNames();
/// Null for a name that is not of this family.
llvm::Expected<std::unique_ptr<Target>> makeX86Target(llvm::StringRef name);
/// The machine that a part of a composed target means: "host", "v4", or its name. Empty: unknown.
std::string x86FullName(llvm::StringRef part);

} // namespace ingot
