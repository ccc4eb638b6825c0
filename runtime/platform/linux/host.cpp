// Linux: files, terminal, signals and processes behind platform/host.h.
#include "runtime/platform/host.h"

#include "runtime/platform/platform.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

namespace ingot::platform {
namespace {

void (*interrupt_handler)() = nullptr;

void on_signal(int) { interrupt_handler(); }

/// A file of /proc, or as much as fits, with a 0 behind it; empty when there is none.
void read_proc(const char *path, char *out, size_t capacity) {
  size_t used = 0;
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  for (ssize_t count = 1; file >= 0 && count > 0 && used < capacity - 1;) {
    count = read(file, out + used, capacity - 1 - used);
    used += count > 0 ? static_cast<size_t>(count) : 0;
  }
  if (file >= 0)
    close(file);
  out[used] = 0;
}

/// Bytes of the line "KEY:   123 kB"; 0 when there is none.
uint64_t bytes_of(const char *text, const char *key) {
  // memmem, which the tokenizer has anyway.
  const char *at = static_cast<const char *>(memmem(text, strlen(text), key, strlen(key)));
  if (!at)
    return 0;
  at += strlen(key);
  while (*at == ' ' || *at == '\t')
    ++at;
  uint64_t kibibytes = 0;
  for (; *at >= '0' && *at <= '9'; ++at)
    kibibytes = kibibytes * 10 + static_cast<uint64_t>(*at - '0');
  return kibibytes * 1024;
}

} // namespace

static_assert(interrupted == EINTR);

const char *error_text(int code) { return strerror(code); }

int write_all(int file, const void *data, size_t bytes) {
  auto *at = static_cast<const uint8_t *>(data);
  while (bytes) {
    const ssize_t count = write(file, at, bytes);
    if (count < 0 && errno != EINTR)
      return errno;
    if (count > 0) {
      at += count;
      bytes -= static_cast<size_t>(count);
    }
  }
  return 0;
}

int read_some(int file, void *data, size_t bytes, size_t *count) {
  const ssize_t got = read(file, data, bytes);
  *count = got > 0 ? static_cast<size_t>(got) : 0;
  return got < 0 ? errno : 0;
}

int map_file(const char *path, const char **data, uint64_t *bytes) {
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0)
    return errno;
  struct stat status;
  int code = 0;
  *data = "";
  *bytes = 0;
  if (fstat(file, &status)) {
    code = errno;
  } else if (S_ISDIR(status.st_mode)) {
    code = EISDIR;
  } else if (!S_ISREG(status.st_mode)) {
    code = EINVAL;
  } else if (status.st_size > 0) {
    void *memory =
        mmap(nullptr, static_cast<size_t>(status.st_size), PROT_READ, MAP_PRIVATE, file, 0);
    if (memory == MAP_FAILED) {
      code = errno;
    } else {
      *data = static_cast<const char *>(memory);
      *bytes = static_cast<uint64_t>(status.st_size);
    }
  }
  close(file);
  return code;
}

int open_file(const char *path, OpenFile *file) {
  const int handle = open(path, O_RDONLY | O_CLOEXEC);
  if (handle < 0)
    return errno;
  struct stat status;
  int code = fstat(handle, &status) ? errno : 0;
  if (!code && !S_ISREG(status.st_mode))
    code = S_ISDIR(status.st_mode) ? EISDIR : EINVAL;
  if (code) {
    close(handle);
    return code;
  }
  posix_fadvise(handle, 0, 0, POSIX_FADV_RANDOM); // no read-ahead
  *file = {handle, static_cast<uint64_t>(status.st_size)};
  return 0;
}

int read_at(const OpenFile &file, uint64_t offset, void *data, size_t bytes) {
  auto *at = static_cast<uint8_t *>(data);
  while (bytes) {
    const ssize_t count = pread(file.handle, at, bytes, static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR)
      continue;
    if (count <= 0)
      return count ? errno : EIO;
    at += count;
    offset += static_cast<uint64_t>(count);
    bytes -= static_cast<size_t>(count);
  }
  return 0;
}

const void *map_open_file(const OpenFile &file) {
  posix_fadvise(file.handle, 0, 0, POSIX_FADV_NORMAL);
  void *memory =
      mmap(nullptr, static_cast<size_t>(file.bytes), PROT_READ, MAP_SHARED, file.handle, 0);
  return memory == MAP_FAILED ? nullptr : memory;
}

void close_open_file(const OpenFile &file) { close(file.handle); }

void unmap_file(const void *data, uint64_t bytes) {
  if (data)
    munmap(const_cast<void *>(data), static_cast<size_t>(bytes));
}

size_t program_folder(char *out, size_t capacity) {
  const ssize_t count = readlink("/proc/self/exe", out, capacity - 1);
  size_t used =
      count > 0 && static_cast<size_t>(count) < capacity - 1 ? static_cast<size_t>(count) : 0;
  while (used && out[used - 1] != '/')
    --used;
  out[used] = 0;
  return used;
}

int create_file(const char *path, int *file) {
  *file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  return *file < 0 ? errno : 0;
}

int close_file(int file) { return close(file) ? errno : 0; }

int rename_file(const char *from, const char *to) { return rename(from, to) ? errno : 0; }

void remove_file(const char *path) { unlink(path); }

bool is_terminal(int file) { return isatty(file); }

void on_interrupt(void (*handler)()) {
  interrupt_handler = handler;
  struct sigaction action = {};
  action.sa_handler = on_signal; // without SA_RESTART: a read at the prompt ends
  sigaction(SIGINT, &action, nullptr);
}

uint64_t process_id() { return static_cast<uint64_t>(getpid()); }

uint64_t entropy() {
  uint64_t value;
  if (getrandom(&value, sizeof value, 0) != sizeof value)
    value = clock_ns() ^ process_id() << 32;
  return value;
}

MemoryUse memory_use() {
  char text[4096];
  read_proc("/proc/self/status", text, sizeof text);
  // Not getrusage's: that begins with what the process was before exec, its parent's memory.
  MemoryUse use{bytes_of(text, "\nVmHWM:"),
                bytes_of(text, "\nRssAnon:") + bytes_of(text, "\nVmSwap:")};
  // Counted page by page, where those above are sums that may lag by some pages a core.
  read_proc("/proc/self/smaps_rollup", text, sizeof text); // Linux 4.14
  if (*text)
    use.anonymous = bytes_of(text, "\nAnonymous:") + bytes_of(text, "\nSwap:");
  return use;
}

int time_to_first_byte(char *const *arguments, uint64_t *nanoseconds) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC))
    return errno;
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  const uint64_t begin = clock_ns();
  pid_t child;
  int code = posix_spawn(&child, "/proc/self/exe", &actions, nullptr, arguments, environ);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  if (!code) {
    char byte;
    size_t count = 0;
    while ((code = read_some(ends[0], &byte, 1, &count)) == interrupted) {
    }
    *nanoseconds = clock_ns() - begin;
    if (!code && !count)
      code = ECHILD; // it ended without a word
    while (waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  close(ends[0]);
  return code;
}

} // namespace ingot::platform
