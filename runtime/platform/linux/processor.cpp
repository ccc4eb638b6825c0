// Linux: which cores this process may use.
#include "runtime/platform/linux/cores.h"
#include "runtime/platform/platform.h"

#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

namespace ingot::platform {
namespace {

/// The first number in a small file of /sys, -1 when there is none.
int32_t first_number(const char *path) {
  char text[64];
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0)
    return -1;
  const ssize_t count = read(file, text, sizeof text);
  close(file);
  int32_t value = -1;
  for (ssize_t i = 0; i < count && text[i] >= '0' && text[i] <= '9' && value < 100000000; ++i)
    value = (value < 0 ? 0 : value) * 10 + (text[i] - '0');
  return value;
}

/// The first number in a file of a hardware thread in /sys, -1 when there is none.
int32_t number_of(int32_t cpu, const char *file) {
  char path[96] = "/sys/devices/system/cpu/cpu";
  char digits[12];
  size_t length = 0;
  int32_t rest = cpu;
  do
    digits[length++] = static_cast<char>('0' + rest % 10);
  while (rest /= 10);
  char *at = path + strlen(path);
  while (length)
    *at++ = digits[--length];
  memcpy(at, file, strlen(file) + 1);
  return first_number(path);
}

/// The lowest-numbered hardware thread of the core that `cpu` belongs to; `cpu` when unknown.
int32_t core_of(int32_t cpu) {
  const int32_t first = number_of(cpu, "/topology/thread_siblings_list");
  return first < 0 ? cpu : first;
}

/// Cores' worth of time that the control group grants, rounded up; 0: no limit.
int32_t granted_cores() {
  char text[64];
  const int file = open("/sys/fs/cgroup/cpu.max", O_RDONLY | O_CLOEXEC);
  if (file < 0)
    return 0;
  const ssize_t count = read(file, text, sizeof text - 1);
  close(file);
  uint64_t numbers[2] = {0, 0};
  int32_t which = 0;
  for (ssize_t i = 0; i < count && which < 2; ++i) {
    if (text[i] >= '0' && text[i] <= '9')
      numbers[which] = numbers[which] * 10 + static_cast<uint64_t>(text[i] - '0');
    else if (text[i] == ' ')
      ++which;
    else if (text[i] == 'm') // "max"
      return 0;
    else
      break;
  }
  if (!numbers[0] || !numbers[1])
    return 0;
  return static_cast<int32_t>((numbers[0] + numbers[1] - 1) / numbers[1]);
}

} // namespace

int32_t equal_cores(const int32_t *capacities, int32_t count) {
  int32_t largest = 0, equal = 0;
  for (int32_t i = 0; i < count; ++i)
    largest = capacities[i] > largest ? capacities[i] : largest;
  for (int32_t i = 0; i < count; ++i)
    equal += capacities[i] >= largest / 2;
  return equal;
}

int32_t core_count() {
  constexpr int32_t limit = 4096;
  int32_t capacities[limit];
  unsigned char allowed[limit / 8] = {}, seen[limit / 8] = {};
  if (sched_getaffinity(0, sizeof allowed, reinterpret_cast<cpu_set_t *>(allowed)) != 0)
    return 1;
  int32_t cores = 0;
  for (int32_t cpu = 0; cpu < limit; ++cpu) {
    if (!(allowed[cpu / 8] >> (cpu % 8) & 1))
      continue;
    const int32_t core = core_of(cpu);
    if (core >= limit || (seen[core / 8] >> (core % 8) & 1))
      continue;
    seen[core / 8] = static_cast<unsigned char>(seen[core / 8] | 1 << (core % 8));
    // 1024: the fastest of the machine. Absent where all are alike.
    const int32_t capacity = number_of(cpu, "/cpu_capacity");
    capacities[cores++] = capacity < 0 ? 0 : capacity;
  }
  cores = equal_cores(capacities, cores);
  const int32_t granted = granted_cores();
  if (granted && granted < cores)
    cores = granted;
  return cores ? cores : 1;
}

} // namespace ingot::platform
