// What the processor is called.
#include "runtime/platform/platform.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

namespace ingot::platform {
namespace {

/// Main ID register: implementer (bits 31 to 24) and part (15 to 4); from the processors' technical
/// reference manuals.
constexpr struct Part {
  uint32_t implementer, part;
  const char *name;
} parts[] = {
    {0x41, 0xd03, "Cortex-A53"},  {0x41, 0xd04, "Cortex-A35"},  {0x41, 0xd05, "Cortex-A55"},
    {0x41, 0xd07, "Cortex-A57"},  {0x41, 0xd08, "Cortex-A72"},  {0x41, 0xd09, "Cortex-A73"},
    {0x41, 0xd0a, "Cortex-A75"},  {0x41, 0xd0b, "Cortex-A76"},  {0x41, 0xd0c, "Neoverse N1"},
    {0x41, 0xd0d, "Cortex-A77"},  {0x41, 0xd40, "Neoverse V1"}, {0x41, 0xd41, "Cortex-A78"},
    {0x41, 0xd44, "Cortex-X1"},   {0x41, 0xd46, "Cortex-A510"}, {0x41, 0xd47, "Cortex-A710"},
    {0x41, 0xd48, "Cortex-X2"},   {0x41, 0xd49, "Neoverse N2"}, {0x41, 0xd4d, "Cortex-A715"},
    {0x41, 0xd4e, "Cortex-X3"},   {0x41, 0xd4f, "Neoverse V2"}, {0x41, 0xd80, "Cortex-A520"},
    {0x41, 0xd81, "Cortex-A720"}, {0x41, 0xd82, "Cortex-X4"},   {0x61, 0x022, "Apple M1"},
    {0x61, 0x023, "Apple M1"},
};

/// 0 when the system does not tell.
uint32_t main_id() {
  char text[32];
  const int file =
      open("/sys/devices/system/cpu/cpu0/regs/identification/midr_el1", O_RDONLY | O_CLOEXEC);
  if (file < 0)
    return 0;
  const ssize_t count = read(file, text, sizeof text);
  close(file);
  uint32_t value = 0;
  for (ssize_t i = 2; i < count; ++i) { // after "0x"
    const char c = text[i];
    if (c >= '0' && c <= '9')
      value = value << 4 | static_cast<uint32_t>(c - '0');
    else if (c >= 'a' && c <= 'f')
      value = value << 4 | static_cast<uint32_t>(c - 'a' + 10);
    else
      break;
  }
  return value;
}

} // namespace

void processor_name(char *out, size_t capacity) {
  if (!capacity)
    return;
  const uint32_t id = main_id();
  const char *name = "unknown";
  for (const Part &part : parts)
    if (id >> 24 == part.implementer && (id >> 4 & 0xfff) == part.part)
      name = part.name;
  strncpy(out, name, capacity - 1);
  out[capacity - 1] = 0;
}

} // namespace ingot::platform
