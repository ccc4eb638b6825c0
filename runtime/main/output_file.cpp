#include "runtime/main/output_file.h"

#include "runtime/platform/host.h"

namespace ingot::runtime {

int OutputFile::open(Command &command, const char *option, const char *name) {
  path = name;
  Writer text(temporary, sizeof temporary - 1);
  text.text(path).text(".").number(static_cast<int64_t>(platform::process_id())).text(".tmp");
  if (text.error)
    return fail(command, option, "the file's name is too long");
  temporary[text.used] = 0;
  if (int code = platform::create_file(temporary, &file))
    return fail(command, path, platform::error_text(code));
  return exit_ok;
}

int OutputFile::close(Command &command, int error, bool discard) {
  const int closed = platform::close_file(file);
  if (!error)
    error = closed;
  if (!error && !discard)
    error = platform::rename_file(temporary, path);
  if (error || discard)
    platform::remove_file(temporary);
  return error ? fail(command, path, platform::error_text(error)) : exit_ok;
}

} // namespace ingot::runtime
