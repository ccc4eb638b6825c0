// How a program without a C library asks the system for something: trap0(#1) with the number of the
// call in r6, as Linux and its emulators have it. The numbers are those of
// include/uapi/asm-generic/unistd.h, which Hexagon's Linux takes unchanged.
#pragma once

#include <stdint.h>

namespace ingot::platform::hexagon {

enum Call : int32_t {
  call_ioctl = 29,
  call_unlinkat = 35,
  call_renameat = 38,
  call_openat = 56,
  call_close = 57,
  call_lseek = 62,
  call_read = 63,
  call_write = 64,
  call_readlinkat = 78,
  call_exit = 93,
  call_exit_group = 94,
  call_futex = 98,
  call_clock_gettime = 113,
  call_sched_yield = 124,
  call_sigaction = 134,
  call_getpid = 172,
  call_munmap = 215,
  call_clone = 220,
  call_mmap = 222,
  call_mprotect = 226,
  call_getrandom = 278,
};

/// The result, or minus an error code.
inline int32_t trap(Call number, int32_t a = 0, int32_t b = 0, int32_t c = 0, int32_t d = 0,
                    int32_t e = 0, int32_t f = 0) {
  register int32_t r0 asm("r0") = a, r1 asm("r1") = b, r2 asm("r2") = c, r3 asm("r3") = d,
                      r4 asm("r4") = e, r5 asm("r5") = f, r6 asm("r6") = number;
  asm volatile("trap0(#1)"
               : "+r"(r0)
               : "r"(r1), "r"(r2), "r"(r3), "r"(r4), "r"(r5), "r"(r6)
               : "memory");
  return r0;
}

inline int32_t address(const void *memory) {
  return static_cast<int32_t>(reinterpret_cast<uintptr_t>(memory));
}

/// True for a result that is an error code.
inline bool failed(int32_t result) { return result < 0 && result >= -4095; }

} // namespace ingot::platform::hexagon
