// Qualcomm's Hexagon DSP with HVX as a target: vectors of 128 bytes, dot products of bytes,
// addresses of 32 bits, no floats in vectors.
#pragma once

#include "targets/Target.h"

namespace ingot {

std::vector<TargetName> hexagonTargetNames();
/// Null for a name that is not of this family.
llvm::Expected<std::unique_ptr<Target>> makeHexagonTarget(llvm::StringRef name);
/// The machine that a part of a composed target means: its name. Empty: unknown.
std::string hexagonFullName(llvm::StringRef part);

} // namespace ingot
