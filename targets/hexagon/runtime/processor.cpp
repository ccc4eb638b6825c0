// Which Hexagon this is. A program cannot ask: the revision is in a register of the system. Whoever
// loads a program can, and refuses one for a later processor by the revision in its ELF header;
// else start.cpp says what is missing.
#include "runtime/platform/platform.h"

#include <string.h>

namespace ingot::platform {

void processor_name(char *out, size_t capacity) {
  if (!capacity)
    return;
  strncpy(out, "Hexagon", capacity - 1);
  out[capacity - 1] = 0;
}

/// What came to run here was let in by its loader.
bool has_feature(const char *name) {
  constexpr const char *all[] = {"v68", "hvxv68", "hvx-length128b"};
  for (const char *known : all)
    if (!strcmp(name, known))
      return true;
  return false;
}

} // namespace ingot::platform
