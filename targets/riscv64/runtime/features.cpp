#include "targets/riscv64/runtime/features.h"

#include "runtime/platform/platform.h"

#include <sys/auxv.h>

namespace ingot::platform::riscv64 {

/// HWCAP has a bit for each extension of one letter (Linux, arch/riscv/include/uapi/asm/hwcap.h).
bool has_feature(uint64_t hwcap, const char *name, bool *known) {
  const bool letter = name[0] >= 'a' && name[0] <= 'z' && !name[1];
  if (known)
    *known = letter;
  return letter && (hwcap >> (name[0] - 'a') & 1);
}

} // namespace ingot::platform::riscv64

#if defined(__riscv) // elsewhere only tests have this file
bool ingot::platform::has_feature(const char *name) {
  return riscv64::has_feature(getauxval(AT_HWCAP), name, nullptr);
}
#endif
