// Another stack, and a pause.
#include "runtime/platform/platform.h"

void ingot::platform::call_on_stack(void *stack, uint64_t bytes, void (*run)(void *),
                                    void *argument) {
  void *top = static_cast<uint8_t *>(stack) + bytes; // a multiple of 16
  // rbx keeps our stack pointer: `run` preserves it.
  asm volatile("movq %%rsp, %%rbx\n\t"
               "movq %[top], %%rsp\n\t"
               "callq *%[run]\n\t"
               "movq %%rbx, %%rsp"
               : "+D"(argument), [run] "+r"(run), [top] "+r"(top)
               :
               : "rax", "rbx", "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "memory", "cc", "st",
                 "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)", "mm0", "mm1", "mm2",
                 "mm3", "mm4", "mm5", "mm6", "mm7", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5",
                 "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
                 "xmm15");
}

void ingot::platform::pause() { __builtin_ia32_pause(); }
