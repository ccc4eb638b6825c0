#include "targets/aarch64/runtime/features.h"

#include "runtime/platform/platform.h"

#include <string.h>
#include <sys/auxv.h>

namespace ingot::platform::aarch64 {

/// Bits of HWCAP and HWCAP2 (Linux, Documentation/arch/arm64/elf_hwcaps.rst).
constexpr struct Feature {
  const char *name;
  bool second;
  int32_t bit;
} features[] = {
    {"fp-armv8", false, 0}, {"neon", false, 1},      {"lse", false, 8},
    {"rdm", false, 12},     {"fullfp16", false, 10}, {"dotprod", false, 20},
    {"fp16fml", false, 23}, {"i8mm", true, 13},      {"bf16", true, 14},
};

bool has_feature(const Processor &processor, const char *name, bool *known) {
  for (const Feature &feature : features)
    if (!strcmp(feature.name, name)) {
      if (known)
        *known = true;
      return (feature.second ? processor.hwcap2 : processor.hwcap) >> feature.bit & 1;
    }
  if (known)
    *known = false;
  return false;
}

} // namespace ingot::platform::aarch64

#if defined(__aarch64__) // elsewhere only tests have this file
bool ingot::platform::has_feature(const char *name) {
  return aarch64::has_feature({getauxval(AT_HWCAP), getauxval(AT_HWCAP2)}, name, nullptr);
}
#endif
