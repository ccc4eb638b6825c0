// What the runtime and the compiler want of a C library, where there is none: memory and strings.
// Words are moved eight bytes at a time where addresses allow it.
#include <stddef.h>
#include <stdint.h>

namespace {

using Word = uint64_t __attribute__((may_alias));

bool aligned(const void *a, const void *b) {
  return !((reinterpret_cast<uintptr_t>(a) | reinterpret_cast<uintptr_t>(b)) % sizeof(Word));
}

} // namespace

extern "C" {

void *memcpy(void *__restrict to, const void *__restrict from, size_t bytes) {
  auto *out = static_cast<uint8_t *>(to);
  auto *in = static_cast<const uint8_t *>(from);
  if (aligned(out, in))
    for (; bytes >= sizeof(Word); bytes -= sizeof(Word), out += sizeof(Word), in += sizeof(Word))
      *reinterpret_cast<Word *>(out) = *reinterpret_cast<const Word *>(in);
  for (; bytes; --bytes)
    *out++ = *in++;
  return to;
}

/// clang calls it for copies of whole words between addresses that are probably aligned.
void *__hexagon_memcpy_likely_aligned_min32bytes_mult8bytes(void *to, const void *from,
                                                            size_t bytes) {
  return memcpy(to, from, bytes);
}

void *memmove(void *to, const void *from, size_t bytes) {
  auto *out = static_cast<uint8_t *>(to);
  auto *in = static_cast<const uint8_t *>(from);
  if (out <= in || out >= in + bytes) {
    for (; bytes; --bytes)
      *out++ = *in++;
  } else {
    while (bytes--)
      out[bytes] = in[bytes];
  }
  return to;
}

void *memset(void *to, int value, size_t bytes) {
  auto *out = static_cast<uint8_t *>(to);
  const auto byte = static_cast<uint8_t>(value);
  if (aligned(out, out)) {
    const Word word = byte * (~uint64_t{0} / 255);
    for (; bytes >= sizeof(Word); bytes -= sizeof(Word), out += sizeof(Word))
      *reinterpret_cast<Word *>(out) = word;
  }
  for (; bytes; --bytes)
    *out++ = byte;
  return to;
}

int memcmp(const void *a, const void *b, size_t bytes) {
  auto *left = static_cast<const uint8_t *>(a), *right = static_cast<const uint8_t *>(b);
  for (; bytes; --bytes, ++left, ++right)
    if (*left != *right)
      return *left < *right ? -1 : 1;
  return 0;
}

int bcmp(const void *a, const void *b, size_t bytes) { return memcmp(a, b, bytes); }

void *memchr(const void *text, int value, size_t bytes) {
  auto *at = static_cast<const uint8_t *>(text);
  for (; bytes; --bytes, ++at)
    if (*at == static_cast<uint8_t>(value))
      return const_cast<uint8_t *>(at);
  return nullptr;
}

void *memmem(const void *text, size_t bytes, const void *wanted, size_t wanted_bytes) {
  auto *at = static_cast<const uint8_t *>(text);
  for (; bytes >= wanted_bytes; --bytes, ++at)
    if (!memcmp(at, wanted, wanted_bytes))
      return const_cast<uint8_t *>(at);
  return nullptr;
}

size_t strlen(const char *text) {
  size_t length = 0;
  while (text[length])
    ++length;
  return length;
}

size_t strnlen(const char *text, size_t most) {
  size_t length = 0;
  while (length < most && text[length])
    ++length;
  return length;
}

int strncmp(const char *a, const char *b, size_t most) {
  for (; most; --most, ++a, ++b)
    if (*a != *b || !*a)
      return static_cast<uint8_t>(*a) - static_cast<uint8_t>(*b);
  return 0;
}

int strcmp(const char *a, const char *b) { return strncmp(a, b, SIZE_MAX); }

char *strchr(const char *text, int value) {
  for (;; ++text) {
    if (*text == static_cast<char>(value))
      return const_cast<char *>(text);
    if (!*text)
      return nullptr;
  }
}

char *strncpy(char *to, const char *from, size_t most) {
  size_t at = 0;
  for (; at < most && from[at]; ++at)
    to[at] = from[at];
  for (; at < most; ++at)
    to[at] = 0;
  return to;
}

} // extern "C"
