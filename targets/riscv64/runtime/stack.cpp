// Another stack, and a pause.
#include "runtime/platform/platform.h"

void ingot::platform::call_on_stack(void *stack, uint64_t bytes, void (*run)(void *),
                                    void *argument) {
  void *top = static_cast<uint8_t *>(stack) + bytes; // a multiple of 16
  // s1 keeps our stack pointer: `run` preserves it. Nothing here is in a vector register.
  register void *a0 asm("a0") = argument;
  asm volatile("mv s1, sp\n\t"
               "mv sp, %[top]\n\t"
               "jalr %[run]\n\t"
               "mv sp, s1"
               : "+r"(a0)
               : [run] "r"(run), [top] "r"(top)
               : "ra", "s1", "a1", "a2", "a3", "a4", "a5", "a6", "a7", "t0", "t1", "t2", "t3", "t4",
                 "t5", "t6", "ft0", "ft1", "ft2", "ft3", "ft4", "ft5", "ft6", "ft7", "ft8", "ft9",
                 "ft10", "ft11", "fa0", "fa1", "fa2", "fa3", "fa4", "fa5", "fa6", "fa7", "memory");
}

// `pause` of Zihintpause: a fence of nothing where it is not known.
void ingot::platform::pause() { asm volatile(".word 0x0100000f"); }
