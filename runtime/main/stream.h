// Text that arrives token by token: a token may end inside a UTF-8 sequence.
#pragma once

#include "runtime/main/writer.h"

namespace ingot::runtime {

/// Passes text on to a writer, holding back the beginning of a sequence until the rest of it comes.
/// For a terminal it drops control characters (a model must not send escape sequences there),
/// except new line and tab.
class TextStream {
public:
  TextStream(Writer *out, bool terminal) : out(out), terminal(terminal) {}

  void add(const char *data, size_t count);
  /// Passes on what is held back, complete or not.
  void finish();

private:
  void pass(const char *data, size_t count);

  Writer *out;
  bool terminal;
  char held[4];
  size_t held_count = 0; ///< 0..3 between calls
};

} // namespace ingot::runtime
