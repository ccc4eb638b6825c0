// What RISC-V processors say of themselves, apart from the asking, so that tests can pretend to be
// one.
#pragma once

#include <stdint.h>

namespace ingot::platform::riscv64 {

/// LLVM's spelling; `hwcap`: AT_HWCAP. `known` may be null; unknown features are ones that a
/// processor does not have.
bool has_feature(uint64_t hwcap, const char *name, bool *known);

} // namespace ingot::platform::riscv64
