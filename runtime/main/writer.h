// Text and JSON output without the C library's streams: a buffer in front of a file, or a buffer
// alone.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace ingot::runtime {

struct Writer {
  char *buffer;
  size_t capacity, used = 0;
  int file;      ///< -1: memory only; what does not fit sets `error`
  int error = 0; ///< the first error of a write (platform/host.h); later output is dropped

  Writer(char *buffer, size_t capacity, int file = -1)
      : buffer(buffer), capacity(capacity), file(file) {}

  Writer &bytes(const void *data, size_t count);
  Writer &text(const char *zero_terminated);
  Writer &number(int64_t value);
  Writer &grouped(uint64_t value); ///< 1,234,567
  /// `decimals` <= 9 digits after the point, rounded half up; "nan", "inf" and "-inf" as such.
  Writer &fixed(double value, int decimals);
  /// The shortest of at most 9 significant digits: 1e-05, 10000, 0.5. JSON's grammar for finite
  /// values.
  Writer &real(double value);
  /// A JSON string with quotes. Bytes that are not UTF-8 become U+FFFD.
  Writer &json_string(const char *data, size_t count);
  Writer &json_string(const char *zero_terminated);
  /// Writes the buffer to the file. Returns `error`.
  int flush();
};

/// Length of the UTF-8 sequence that starts at data[0] (count > 0): 1..4; 0 when it is a valid
/// beginning that needs more bytes; -1 when it is not UTF-8 (surrogates, overlong forms and values
/// above U+10FFFF included: Unicode 15, table 3-7).
int utf8_length(const char *data, size_t count);

/// How many of the first bytes can be shown: all but an incomplete sequence at the end.
size_t utf8_complete(const char *data, size_t count);

} // namespace ingot::runtime
