// Hexagon: files and terminal behind platform/host.h.
#include "runtime/platform/host.h"

#include "runtime/platform/hexagon/trap.h"
#include "runtime/platform/platform.h"

namespace ingot::platform {

using namespace hexagon;

namespace {

constexpr int32_t here = -100; // AT_FDCWD: paths are relative to the working folder

int code_of(int32_t result) { return failed(result) ? -result : 0; }

} // namespace

/// Of include/uapi/asm-generic/errno-base.h, those that files and memory meet.
const char *error_text(int code) {
  switch (code) {
  case 1:
    return "Operation not permitted";
  case 2:
    return "No such file or directory";
  case 4:
    return "Interrupted system call";
  case 5:
    return "I/O error";
  case 9:
    return "Bad file descriptor";
  case 12:
    return "Out of memory";
  case 13:
    return "Permission denied";
  case 17:
    return "File exists";
  case 20:
    return "Not a directory";
  case 21:
    return "Is a directory";
  case 22:
    return "Invalid argument";
  case 27:
    return "File too large";
  case 28:
    return "No space left on device";
  case 30:
    return "Read-only file system";
  case 32:
    return "Broken pipe";
  case 38:
    return "Function not implemented";
  }
  return "the system refuses";
}

int write_all(int file, const void *data, size_t bytes) {
  auto *at = static_cast<const uint8_t *>(data);
  while (bytes) {
    const int32_t count = trap(call_write, file, address(at), static_cast<int32_t>(bytes));
    if (failed(count) && -count != interrupted)
      return -count;
    if (count > 0) {
      at += count;
      bytes -= static_cast<size_t>(count);
    }
  }
  return 0;
}

int read_some(int file, void *data, size_t bytes, size_t *count) {
  const int32_t got = trap(call_read, file, address(data), static_cast<int32_t>(bytes));
  *count = failed(got) ? 0 : static_cast<size_t>(got);
  return code_of(got);
}

int map_file(const char *path, const char **data, uint64_t *bytes) {
  constexpr int32_t close_on_exec = 02000000, read_only = 1, mapped_private = 2, from_end = 2;
  const int32_t file = trap(call_openat, here, address(path), close_on_exec);
  if (failed(file))
    return -file;
  *data = "";
  *bytes = 0;
  // A folder can be opened, too, but not read.
  char byte = 0;
  int code = code_of(trap(call_read, file, address(&byte), 1));
  int64_t end = 0;
  if (!code)
    code = code_of(trap(call_lseek, file, 0, 0, address(&end), from_end));
  if (!code && end > 0) {
    const int32_t memory =
        trap(call_mmap, 0, static_cast<int32_t>(end), read_only, mapped_private, file, 0);
    code = code_of(memory);
    if (!code) {
      *data = reinterpret_cast<const char *>(memory);
      *bytes = static_cast<uint64_t>(end);
    }
  }
  trap(call_close, file);
  return code;
}

int create_file(const char *path, int *file) {
  constexpr int32_t write_create_truncate_close_on_exec = 02001101;
  *file = trap(call_openat, here, address(path), write_create_truncate_close_on_exec, 0666);
  return code_of(*file);
}

int close_file(int file) { return code_of(trap(call_close, file)); }

int rename_file(const char *from, const char *to) {
  return code_of(trap(call_renameat, here, address(from), here, address(to)));
}

void remove_file(const char *path) { trap(call_unlinkat, here, address(path)); }

bool is_terminal(int file) {
  constexpr int32_t get_attributes = 0x5401; // TCGETS
  uint32_t attributes[16];                   // more than struct termios
  return !failed(trap(call_ioctl, file, get_attributes, address(attributes)));
}

/// A program ends at Ctrl-C: signal handlers want a trampoline that only a C library has.
void on_interrupt(void (*)()) {}

uint64_t process_id() { return static_cast<uint64_t>(trap(call_getpid)); }

uint64_t entropy() {
  uint64_t value = 0;
  if (trap(call_getrandom, address(&value), sizeof value) != sizeof value)
    value = clock_ns() ^ process_id() << 32;
  return value;
}

/// Nobody counts pages here.
MemoryUse memory_use() { return {0, 0}; }

int time_to_first_byte(char *const *, uint64_t *) {
  constexpr int not_implemented = 38;
  return not_implemented;
}

} // namespace ingot::platform
