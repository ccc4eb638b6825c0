// Hexagon: files and terminal behind platform/host.h.
#include "runtime/platform/host.h"

#include "runtime/platform/platform.h"
#include "targets/hexagon/runtime/trap.h"

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

int open_file(const char *path, OpenFile *file) {
  constexpr int32_t close_on_exec = 02000000, from_end = 2;
  file->handle = trap(call_openat, here, address(path), close_on_exec);
  if (failed(file->handle))
    return -file->handle;
  // A folder can be opened, too, but not read.
  char byte = 0;
  int64_t end = 0;
  int code = code_of(trap(call_read, file->handle, address(&byte), 1));
  if (!code)
    code = code_of(trap(call_lseek, file->handle, 0, 0, address(&end), from_end));
  file->bytes = static_cast<uint64_t>(end);
  if (code)
    close_open_file(*file);
  return code;
}

int read_at(const OpenFile &file, uint64_t offset, void *data, size_t bytes) {
  constexpr int32_t from_start = 0, io_error = 5;
  int64_t place = 0;
  const int code = code_of(trap(call_lseek, file.handle, static_cast<int32_t>(offset >> 32),
                                static_cast<int32_t>(offset), address(&place), from_start));
  if (code)
    return code;
  for (auto *at = static_cast<uint8_t *>(data); bytes;) {
    size_t count = 0;
    const int problem = read_some(file.handle, at, bytes, &count);
    if (problem && problem != interrupted)
      return problem;
    if (!problem && !count)
      return io_error;
    at += count;
    bytes -= count;
  }
  return 0;
}

const void *map_open_file(const OpenFile &file) {
  constexpr int32_t read_only = 1, shared = 1;
  if (file.bytes > UINT32_MAX)
    return nullptr;
  const int32_t memory =
      trap(call_mmap, 0, static_cast<int32_t>(file.bytes), read_only, shared, file.handle, 0);
  return failed(memory) ? nullptr : reinterpret_cast<const void *>(memory);
}

void close_open_file(const OpenFile &file) { trap(call_close, file.handle); }

void unmap_file(const void *data, uint64_t bytes) {
  trap(call_munmap, address(data), static_cast<int32_t>(bytes));
}

size_t program_folder(char *out, size_t capacity) {
  const int32_t count = trap(call_readlinkat, here, address("/proc/self/exe"), address(out),
                             static_cast<int32_t>(capacity));
  size_t length = failed(count) ? 0 : static_cast<size_t>(count);
  if (length >= capacity)
    return 0;
  while (length && out[length - 1] != '/')
    --length;
  out[length] = 0;
  return length;
}

int map_file(const char *path, const char **data, uint64_t *bytes) {
  OpenFile file;
  int code = open_file(path, &file);
  if (code)
    return code;
  constexpr int out_of_memory = 12;
  *data = file.bytes ? static_cast<const char *>(map_open_file(file)) : "";
  *bytes = file.bytes;
  if (!*data)
    code = out_of_memory;
  close_open_file(file);
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
