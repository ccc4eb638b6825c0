// Where a program starts: there is no C library to do it. The system leaves argc and argv on the
// stack; everything else there is nobody's.
#include "targets/hexagon/runtime/trap.h"

int main(int argc, char **argv);

extern "C" {

[[noreturn]] void ingot_start(int32_t *stack) {
  using namespace ingot::platform::hexagon;
  trap(call_exit_group, main(stack[0], reinterpret_cast<char **>(stack + 1)));
  __builtin_trap();
}

asm(".section .text.start,\"ax\",@progbits\n"
    ".global _start\n"
    ".type _start,@function\n"
    "_start:\n"
    "  { r0 = r29\n"
    "    r30 = #0 }\n"
    "  r29 = and(r29, #-16)\n"
    "  call ingot_start\n"
    ".size _start, . - _start\n"
    ".text\n");

} // extern "C"
