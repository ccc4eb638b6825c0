// What the command-line program needs of its host: files, terminal, signals, processes. Functions
// that can fail return 0 or an error code that `error_text` explains.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace ingot::platform {

/// Static text such as "No such file or directory".
const char *error_text(int code);

/// Writes all of `data`.
int write_all(int file, const void *data, size_t bytes);
/// Reads at most `bytes`: *count is 0 at the end of the file. `interrupted` when a signal came
/// first.
int read_some(int file, void *data, size_t bytes, size_t *count);
constexpr int interrupted = 4;

/// Maps a whole file read-only. An empty file gives a pointer that must not be read.
int map_file(const char *path, const char **data, uint64_t *bytes);
/// A file that is read in places: nothing else of it is, until it is mapped.
struct OpenFile {
  int handle;
  uint64_t bytes;
};
int open_file(const char *path, OpenFile *file);
int read_at(const OpenFile &file, uint64_t offset, void *data, size_t bytes);
/// All of it, read-only and shared with whoever maps it, too; null when the system refuses.
const void *map_open_file(const OpenFile &file);
void close_open_file(const OpenFile &file);
void unmap_file(const void *data, uint64_t bytes);
/// The folder that this program was started from, with a final '/' and a 0 behind it. Returns its
/// length, 0 when it is not known.
size_t program_folder(char *out, size_t capacity);
/// Creates or empties a file for writing.
int create_file(const char *path, int *file);
/// Closes and says what the last writes met.
int close_file(int file);
/// `to` is replaced in one step; it is the old file or the new one, never a part.
int rename_file(const char *from, const char *to);
void remove_file(const char *path);

bool is_terminal(int file);
/// Calls `handler` (async-signal-safe) on Ctrl-C instead of ending the program.
void on_interrupt(void (*handler)());

uint64_t process_id();
/// A number that differs from run to run.
uint64_t entropy();

/// What this process keeps in memory.
struct MemoryUse {
  uint64_t peak_resident; ///< the most until now, pages of mapped files included
  uint64_t anonymous;     ///< now: pages that no file backs, those in swap included
};
MemoryUse memory_use();

/// Starts this program again with `arguments` (0-terminated; [0] is its name), and measures the
/// time from there to the first byte that it writes to its standard output; then waits for its end.
int time_to_first_byte(char *const *arguments, uint64_t *nanoseconds);

} // namespace ingot::platform
