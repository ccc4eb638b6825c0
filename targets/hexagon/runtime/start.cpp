// Where a program starts: there is no C library to do it. The system leaves argc and argv on the
// stack; everything else there is nobody's.
//
// A program cannot ask for the processor's revision (processor.cpp). Where it runs on an earlier
// one and comes to an instruction that is missing there, it says so.
#include "targets/hexagon/runtime/trap.h"

int main(int argc, char **argv);

namespace {

using namespace ingot::platform::hexagon;

[[noreturn]] void refuse_processor(int) {
  static constexpr char message[] =
      "error: this processor has not all the instructions that kernels for hexagon-v68 need\n"
      "help: compile the model for another --target\n";
  constexpr int32_t error_file = 2, bad_input = 1;
  trap(call_write, error_file, address(message), sizeof message - 1);
  trap(call_exit_group, bad_input);
  __builtin_trap();
}

/// The kernel's struct sigaction: the handler first, and nothing that is not 0 behind it.
struct Action {
  void (*handler)(int);
  uint32_t others[5];
};

void catch_illegal_instructions() {
  constexpr int32_t illegal_instruction = 4, mask_bytes = 8;
  const Action action{refuse_processor, {}};
  trap(call_sigaction, illegal_instruction, address(&action), 0, mask_bytes);
}

} // namespace

extern "C" {

[[noreturn]] void ingot_start(int32_t *stack) {
  catch_illegal_instructions();
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
