// Hexagon: memory, threads and the clock behind platform/platform.h, as Linux and its emulators
// have them.
#include "runtime/platform/platform.h"
#include "targets/hexagon/runtime/trap.h"

extern "C" int32_t ingot_clone(int32_t flags, void *stack, uint32_t *tid);

// The new thread calls the function whose address is on its stack with the argument above it; its
// registers are ours. The system stores 0 at `tid` when it is gone, with its stack. (Which of the
// arguments after the third is that address depends on the architecture: both are.)
asm(".text\n"
    ".global ingot_clone\n"
    ".type ingot_clone,@function\n"
    "ingot_clone:\n"
    "  { r3 = r2\n"
    "    r4 = r2\n"
    "    r6 = #220 }\n"
    "  trap0(#1)\n"
    "  { p0 = cmp.eq(r0, #0); if (!p0.new) jumpr:nt r31 }\n"
    "  { r1:0 = memd(r29+#0)\n"
    "    r30 = #0 }\n"
    "  { r2 = r0\n"
    "    r0 = r1 }\n"
    "  callr r2\n"
    "  { r0 = #0\n"
    "    r6 = #93 }\n"
    "  trap0(#1)\n"
    ".size ingot_clone, . - ingot_clone\n");

namespace ingot::platform {

using namespace hexagon;

static_assert(call_clone == 220 && call_exit == 93);

namespace {

constexpr int32_t futex_wait = 0, futex_wake = 1, futex_private = 128;

/// What a thread finds at the upper end of its stack.
struct ThreadStart {
  void *(*run)(void *);
  void *argument;
  uint32_t tid, unused;
};

} // namespace

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

bool start_thread(Thread *thread, void *stack, uint64_t bytes, void *(*run)(void *),
                  void *argument) {
  // Memory, folders, files, signal handlers, semaphores and the process are ours, too; the system
  // says in `tid` when the thread is there, and when it is gone.
  constexpr int32_t vm = 0x100, fs = 0x200, files = 0x400, handlers = 0x800, process = 0x10000,
                    semaphores = 0x40000, parent_sets_tid = 0x100000, child_clears_tid = 0x200000;
  auto *start = reinterpret_cast<ThreadStart *>(static_cast<uint8_t *>(stack) + bytes) - 1;
  *start = {run, argument, 0, 0};
  const int32_t made = ingot_clone(vm | fs | files | handlers | process | semaphores |
                                       parent_sets_tid | child_clears_tid,
                                   start, &start->tid);
  thread->handle = reinterpret_cast<uintptr_t>(&start->tid);
  return !failed(made);
}

void join_thread(Thread thread) {
  const auto *tid = reinterpret_cast<const uint32_t *>(static_cast<uintptr_t>(thread.handle));
  // The system does not wake privately.
  while (const uint32_t still = __atomic_load_n(tid, __ATOMIC_ACQUIRE))
    trap(call_futex, address(tid), futex_wait, static_cast<int32_t>(still));
}

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

void wait_while_equal(const uint32_t *word, uint32_t value) {
  trap(call_futex, address(word), futex_wait | futex_private, static_cast<int32_t>(value));
}

void wake_all(const uint32_t *word) {
  trap(call_futex, address(word), futex_wake | futex_private, INT32_MAX);
}

void pause() { asm volatile("pause(#8)"); }
void yield() { trap(call_sched_yield); }

uint64_t clock_ns() {
  constexpr int32_t monotonic = 1;
  uint32_t now[2] = {}; // seconds, nanoseconds
  trap(call_clock_gettime, monotonic, address(now));
  return now[0] * uint64_t{1000000000} + now[1];
}

/// How many threads have vectors at once, which are fewer than cores, the system does not say; nor an
/// emulator, how many of its machine's cores are free. `--threads` does.
int32_t core_count() { return 1; }

} // namespace ingot::platform
