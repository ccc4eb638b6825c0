// Another stack, and a pause.
#include "runtime/platform/platform.h"

void ingot::platform::call_on_stack(void *stack, uint64_t bytes, void (*run)(void *),
                                    void *argument) {
  void *top = static_cast<uint8_t *>(stack) + bytes; // a multiple of 16
  // x19 keeps our stack pointer: `run` preserves it, and the lower halves of v8 to v15.
  register void *x0 asm("x0") = argument;
  asm volatile("mov x19, sp\n\t"
               "mov sp, %[top]\n\t"
               "blr %[run]\n\t"
               "mov sp, x19"
               : "+r"(x0)
               : [run] "r"(run), [top] "r"(top)
               : "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13",
                 "x14", "x15", "x16", "x17", "x18", "x19", "x30", "memory", "cc", "v0", "v1", "v2",
                 "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15",
                 "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25", "v26", "v27",
                 "v28", "v29", "v30", "v31");
}

void ingot::platform::pause() { asm volatile("isb"); }
