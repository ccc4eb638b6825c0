// Writer (writer.h): formatting of numbers and JSON by hand, UTF-8 boundaries.
#include "runtime/main/writer.h"

#include "runtime/platform/host.h"

#include <string.h>

namespace ingot::runtime {

Writer &Writer::bytes(const void *data, size_t count) {
  auto *at = static_cast<const char *>(data);
  while (count && !error) {
    if (used == capacity) {
      if (file < 0) {
        error = -1;
        break;
      }
      flush();
      continue;
    }
    const size_t part = count < capacity - used ? count : capacity - used;
    memcpy(buffer + used, at, part);
    used += part;
    at += part;
    count -= part;
  }
  return *this;
}

Writer &Writer::text(const char *zero_terminated) {
  return bytes(zero_terminated, strlen(zero_terminated));
}

static size_t digits_of(uint64_t value, char *out) { // least significant first
  size_t count = 0;
  do
    out[count++] = static_cast<char>('0' + value % 10);
  while (value /= 10);
  return count;
}

/// Rounds half up; 0 <= value < 2^63.
static uint64_t to_nearest(long double value) {
  const auto whole = static_cast<uint64_t>(value);
  return whole + (value - static_cast<long double>(whole) >= 0.5L);
}

Writer &Writer::number(int64_t value) {
  char digits[20];
  if (value < 0)
    bytes("-", 1);
  size_t count = digits_of(
      value < 0 ? 0 - static_cast<uint64_t>(value) : static_cast<uint64_t>(value), digits);
  while (count)
    bytes(&digits[--count], 1);
  return *this;
}

Writer &Writer::grouped(uint64_t value) {
  char digits[20];
  size_t count = digits_of(value, digits);
  while (count) {
    bytes(&digits[--count], 1);
    if (count && count % 3 == 0)
      bytes(",", 1);
  }
  return *this;
}

Writer &Writer::fixed(double value, int decimals) {
  if (value != value)
    return text("nan");
  if (value < 0 || (value == 0 && __builtin_signbit(value))) {
    if (value < 0)
      bytes("-", 1);
    value = -value;
  }
  if (value > 1e300)
    return text("inf");
  uint64_t scale = 1;
  for (int i = 0; i < decimals; ++i)
    scale *= 10;
  if (value >= 9e18 / static_cast<double>(scale))
    return real(value);
  const uint64_t scaled =
      to_nearest(static_cast<long double>(value) * static_cast<long double>(scale));
  number(static_cast<int64_t>(scaled / scale));
  if (decimals) {
    bytes(".", 1);
    for (uint64_t unit = scale / 10; unit; unit /= 10) {
      const char digit = static_cast<char>('0' + scaled / unit % 10);
      bytes(&digit, 1);
    }
  }
  return *this;
}

Writer &Writer::real(double value) {
  if (!__builtin_isfinite(value))
    return text(value != value ? "nan" : value < 0 ? "-inf" : "inf");
  if (value < 0) {
    bytes("-", 1);
    value = -value;
  }
  if (value == 0)
    return text("0");
  constexpr int significant = 9;
  long double scaled = static_cast<long double>(value);
  int exponent = 0; // value = scaled * 10^exponent, 1 <= scaled < 10
  while (scaled >= 10) {
    scaled /= 10;
    ++exponent;
  }
  while (scaled < 1) {
    scaled *= 10;
    --exponent;
  }
  uint64_t whole = to_nearest(scaled * 1e8L);
  if (whole >= 1000000000) {
    whole /= 10;
    ++exponent;
  }
  char digits[20];
  size_t count = digits_of(whole, digits), last = 0;
  while (last + 1 < count && digits[last] == '0')
    ++last;
  if (exponent >= -5 && exponent < significant) {
    if (exponent < 0) {
      text("0.");
      for (int i = -1; i > exponent; --i)
        bytes("0", 1);
    }
    for (size_t i = count; i-- > 0;) {
      const int power = exponent - static_cast<int>(count - 1 - i); // of this digit
      if (power < 0 && i < last)
        break;
      if (power == -1 && exponent >= 0)
        bytes(".", 1);
      bytes(&digits[i], 1);
    }
    return *this;
  }
  bytes(&digits[count - 1], 1);
  if (last < count - 1)
    bytes(".", 1);
  for (size_t i = count - 1; i-- > last;)
    bytes(&digits[i], 1);
  bytes("e", 1);
  return number(exponent);
}

Writer &Writer::json_string(const char *data, size_t count) {
  bytes("\"", 1);
  while (count) {
    const int length = utf8_length(data, count);
    const auto byte = static_cast<unsigned char>(*data);
    if (length <= 0) {
      text("\\ufffd");
    } else if (byte == '"' || byte == '\\') {
      const char escaped[2] = {'\\', *data};
      bytes(escaped, 2);
    } else if (byte < 0x20 || byte == 0x7f) {
      const char hex[] = "0123456789abcdef";
      const char escaped[6] = {'\\', 'u', '0', '0', hex[byte >> 4], hex[byte & 15]};
      if (byte == '\n')
        text("\\n");
      else if (byte == '\t')
        text("\\t");
      else
        bytes(escaped, 6);
    } else {
      bytes(data, static_cast<size_t>(length));
    }
    const size_t step = length > 0 ? static_cast<size_t>(length) : 1;
    data += step;
    count -= step;
  }
  return bytes("\"", 1);
}

Writer &Writer::json_string(const char *zero_terminated) {
  return json_string(zero_terminated, strlen(zero_terminated));
}

int Writer::flush() {
  if (file >= 0 && !error && used)
    error = platform::write_all(file, buffer, used);
  if (file >= 0)
    used = 0;
  return error;
}

int utf8_length(const char *data, size_t count) {
  const auto *at = reinterpret_cast<const unsigned char *>(data);
  const unsigned lead = at[0];
  if (lead < 0x80)
    return 1;
  const int length = lead >= 0xc2 && lead <= 0xdf   ? 2
                     : lead >= 0xe0 && lead <= 0xef ? 3
                     : lead >= 0xf0 && lead <= 0xf4 ? 4
                                                    : -1;
  if (length < 0)
    return -1;
  for (int i = 1; i < length; ++i) {
    if (static_cast<size_t>(i) == count)
      return 0;
    unsigned low = 0x80, high = 0xbf;
    if (i == 1) {
      low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : low;
      high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : high;
    }
    if (at[i] < low || at[i] > high)
      return -1;
  }
  return length;
}

size_t utf8_complete(const char *data, size_t count) {
  for (size_t back = 1; back <= 3 && back <= count; ++back)
    if (utf8_length(data + count - back, back) == 0)
      return count - back;
  return count;
}

} // namespace ingot::runtime
