// What the processor is called.
#include "runtime/platform/platform.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/// "uarch : VENDOR,NAME" in /proc/cpuinfo, where the system's device tree tells.
void ingot::platform::processor_name(char *out, size_t capacity) {
  if (!capacity)
    return;
  char text[1024];
  const int file = open("/proc/cpuinfo", O_RDONLY | O_CLOEXEC);
  const ssize_t count = file < 0 ? 0 : read(file, text, sizeof text - 1);
  if (file >= 0)
    close(file);
  text[count > 0 ? count : 0] = 0;
  const char *name = "unknown";
  if (char *line = strstr(text, "\nuarch")) {
    char *at = line + strlen("\nuarch");
    while (*at == '\t' || *at == ' ' || *at == ':')
      ++at;
    char *end = at;
    while (*end && *end != '\n')
      ++end;
    *end = 0;
    name = at;
  }
  strncpy(out, name, capacity - 1);
  out[capacity - 1] = 0;
}
