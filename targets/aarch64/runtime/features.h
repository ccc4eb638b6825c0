// What AArch64 processors say of themselves, apart from the asking, so that tests can pretend to be
// one.
#pragma once

#include <stdint.h>

namespace ingot::platform::aarch64 {

/// AT_HWCAP and AT_HWCAP2: what both the processor and the system have.
struct Processor {
  uint64_t hwcap, hwcap2;
};

/// LLVM's spelling. `known` may be null; unknown features are ones that a processor does not have.
bool has_feature(const Processor &processor, const char *name, bool *known);

} // namespace ingot::platform::aarch64
