// What the processor is called.
#include "runtime/platform/platform.h"

#include <cpuid.h>
#include <string.h>

void ingot::platform::processor_name(char *out, size_t capacity) {
  if (!capacity)
    return;
  const char *name = "unknown";
  // The brand string: leaves 0x80000002 to 0x80000004, 16 bytes each.
  unsigned brand[13] = {};
  unsigned a, b, c, d;
  if (__get_cpuid(0x80000000u, &a, &b, &c, &d) && a >= 0x80000004u) {
    for (unsigned i = 0; i < 3; ++i)
      __get_cpuid(0x80000002u + i, &brand[4 * i], &brand[4 * i + 1], &brand[4 * i + 2],
                  &brand[4 * i + 3]);
    name = reinterpret_cast<const char *>(brand);
    while (*name == ' ')
      ++name;
  }
  size_t length = strlen(name);
  while (length && name[length - 1] == ' ')
    --length;
  if (length >= capacity)
    length = capacity - 1;
  memcpy(out, name, length);
  out[length] = 0;
}
