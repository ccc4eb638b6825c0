// Streaming of generated text (stream.h).
#include "runtime/main/stream.h"

#include <string.h>

namespace ingot::runtime {

void TextStream::add(const char *data, size_t count) {
  while (held_count && count) {
    held[held_count++] = *data++;
    --count;
    // What is complete, or is not UTF-8 after all; the last byte may begin another sequence.
    const size_t complete = utf8_complete(held, held_count);
    pass(held, complete);
    held_count -= complete;
    memmove(held, held + complete, held_count);
  }
  const size_t complete = utf8_complete(data, count);
  pass(data, complete);
  for (size_t i = complete; i < count; ++i)
    held[held_count++] = data[i];
}

void TextStream::finish() {
  pass(held, held_count);
  held_count = 0;
}

void TextStream::pass(const char *data, size_t count) {
  if (!terminal) {
    out->bytes(data, count);
    return;
  }
  for (size_t i = 0; i < count; ++i) {
    const auto byte = static_cast<unsigned char>(data[i]);
    if ((byte >= 0x20 && byte != 0x7f) || byte == '\n' || byte == '\t')
      out->bytes(&data[i], 1);
  }
}

} // namespace ingot::runtime
