// A file that appears complete or not at all: it is written beside its name and renamed.
#pragma once

#include "runtime/main/command.h"

namespace ingot::runtime {

struct OutputFile {
  const char *path = nullptr;
  int file = -1;
  char temporary[4096];

  /// `option` is what named the file. Returns an exit code.
  int open(Command &command, const char *option, const char *path);
  /// Closes the file and gives it its name, unless `error` (an error of a write) or `discard` says
  /// otherwise: then no file is left. Returns an exit code.
  int close(Command &command, int error, bool discard);
};

} // namespace ingot::runtime
