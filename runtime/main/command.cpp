// What the modes share (command.h): error reports, the session, input.
#include "runtime/main/command.h"

#include "runtime/platform/host.h"

#include <string.h>

namespace ingot::runtime {

int fail(Command &command, const char *what, const char *detail, const char *help) {
  command.out.flush();
  command.errors.text("error: ");
  if (what)
    command.errors.text(what).text(": ");
  command.errors.text(detail).text("\n");
  if (help && *help)
    command.errors.text("help: ").text(help).text("\n");
  command.errors.flush();
  return exit_input;
}

int fail(Command &command, const char *what, ingot_status status) {
  return fail(command, what, ingot_status_string(status),
              status == INGOT_CONTEXT_FULL ? "shorten the text, or compile with a larger --context"
                                           : nullptr);
}

int open_session(Command &command, uint64_t max_text_bytes) {
  ingot_session_options options = ingot_default_session_options();
  options.threads = command.options->threads;
  if (command.options->batch)
    options.sequences = command.options->batch;
  if (max_text_bytes > options.max_text_bytes)
    options.max_text_bytes = max_text_bytes;
  // Tokenizing reads no weights and needs no threads.
  const Mode mode = command.options->mode;
  if (mode == Mode::tokenize || mode == Mode::detokenize) {
    options.threads = 1;
    options.prefault = 0;
  }
  const ingot_status status = ingot_session_create(command.program, &options, &command.session);
  if (status == INGOT_UNSUPPORTED_CPU) {
    char detail[160];
    Writer text(detail, sizeof detail - 1);
    text.text("this processor has no ").text(ingot_missing_feature(command.program));
    detail[text.used] = 0;
    return fail(command, nullptr, detail, "compile the model for another --target");
  }
  return status ? fail(command, "cannot start", status) : exit_ok;
}

int read_input(Command &command, const char *value, bool at_file, const char **text,
               uint64_t *bytes) {
  if (at_file) {
    if (int code = platform::map_file(value, text, bytes))
      return fail(command, value, platform::error_text(code));
    return exit_ok;
  }
  if (strcmp(value, "-") != 0) {
    *text = value;
    *bytes = strlen(value);
    return exit_ok;
  }
  constexpr uint64_t limit = 256u << 20; // committed as it is read
  auto *memory = static_cast<char *>(platform::map_memory(limit));
  if (!memory)
    return fail(command, "standard input", ingot_status_string(INGOT_NO_MEMORY));
  uint64_t used = 0;
  for (;;) {
    size_t count;
    const int code = platform::read_some(0, memory + used, limit - used, &count);
    if (code == platform::interrupted)
      continue;
    if (code)
      return fail(command, "standard input", platform::error_text(code));
    if (!count)
      break;
    used += count;
    if (used == limit)
      return fail(command, "standard input", "longer than 256 MiB");
  }
  *text = memory;
  *bytes = used;
  return exit_ok;
}

} // namespace ingot::runtime
