// What the runtime asks of a C library by names that Android's does not have: two functions.
//
// The runtime's objects are made with musl's headers. On 64-bit ARM, the structures that it hands
// to the C library (stat, timespec, pthread_attr_t) are in musl as in Android's.
#include <stddef.h>

extern "C" {

int *__errno(void);
/// Where `errno` is.
int *__errno_location(void) { return __errno(); }

int memcmp(const void *, const void *, size_t);
/// What LLVM makes of comparisons with memcmp whose order does not matter.
int bcmp(const void *a, const void *b, size_t count) { return memcmp(a, b, count); }
}
