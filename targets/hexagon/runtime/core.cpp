// Hexagon: memory and the clock behind platform/platform.h. One thread: what waits for others has
// nobody to wait for.
#include "runtime/platform/platform.h"
#include "targets/hexagon/runtime/trap.h"

namespace ingot::platform {

using namespace hexagon;

void *map_memory(uint64_t bytes, uint64_t guard_bytes) {
  constexpr int32_t read_write = 3, private_anonymous_unreserved = 0x4022;
  const uint64_t total = bytes + guard_bytes;
  if (total < bytes || total > UINT32_MAX)
    return nullptr;
  const int32_t memory = trap(call_mmap, 0, static_cast<int32_t>(total), read_write,
                              private_anonymous_unreserved, -1, 0);
  if (failed(memory))
    return nullptr;
  if (guard_bytes)
    trap(call_mprotect, memory, static_cast<int32_t>(guard_bytes), 0);
  return reinterpret_cast<uint8_t *>(memory) + guard_bytes;
}

void unmap_memory(void *memory, uint64_t bytes, uint64_t guard_bytes) {
  if (memory)
    trap(call_munmap, address(static_cast<uint8_t *>(memory) - guard_bytes),
         static_cast<int32_t>(bytes + guard_bytes));
}

void prefer_huge_pages(const void *, uint64_t) {}
void populate(const void *, uint64_t) {}

bool start_thread(Thread *, void *, uint64_t, void *(*)(void *), void *) { return false; }
void join_thread(Thread) {}

void call_on_stack(void *stack, uint64_t bytes, void (*run)(void *), void *argument) {
  void *top = static_cast<uint8_t *>(stack) + bytes;
  // r16 keeps our stack pointer: `run` preserves it.
  register void *r0 asm("r0") = argument;
  asm volatile("r16 = r29\n\t"
               "r29 = %[top]\n\t"
               "callr %[run]\n\t"
               "r29 = r16"
               : "+r"(r0)
               : [run] "r"(run), [top] "r"(top)
               : "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "r12", "r13",
                 "r14", "r15", "r16", "r28", "r31", "p0", "p1", "p2", "p3", "sa0", "lc0", "sa1",
                 "lc1", "m0", "m1", "usr", "memory", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7",
                 "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15", "v16", "v17", "v18", "v19",
                 "v20", "v21", "v22", "v23", "v24", "v25", "v26", "v27", "v28", "v29", "v30", "v31",
                 "q0", "q1", "q2", "q3");
}

void wait_while_equal(const uint32_t *, uint32_t) {}
void wake_all(const uint32_t *) {}
void pause() {}
void yield() {}

uint64_t clock_ns() {
  constexpr int32_t monotonic = 1;
  uint32_t now[2] = {}; // seconds, nanoseconds
  trap(call_clock_gettime, monotonic, address(now));
  return now[0] * uint64_t{1000000000} + now[1];
}

int32_t core_count() { return 1; }

} // namespace ingot::platform
