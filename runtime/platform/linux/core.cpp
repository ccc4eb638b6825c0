// Linux: memory, threads, futexes and the clock behind platform/platform.h.
#include "runtime/platform/platform.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22 // Linux 5.14
#endif

namespace ingot::platform {
namespace {

constexpr uint64_t page_bytes = 4096; // the least that Linux maps; larger pages only save calls
constexpr uint64_t huge_page_bytes = 2u << 20;

} // namespace

void *map_memory(uint64_t bytes, uint64_t guard_bytes) {
  const uint64_t total = bytes + guard_bytes;
  if (total < bytes)
    return nullptr;
  void *memory = mmap(nullptr, total, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED)
    return nullptr;
  // Where huge pages are the system's default, one touched page would commit 2 MiB.
  madvise(memory, total, MADV_NOHUGEPAGE);
  if (guard_bytes)
    mprotect(memory, guard_bytes, PROT_NONE);
  return static_cast<uint8_t *>(memory) + guard_bytes;
}

void unmap_memory(void *memory, uint64_t bytes, uint64_t guard_bytes) {
  if (memory)
    munmap(static_cast<uint8_t *>(memory) - guard_bytes, bytes + guard_bytes);
}

void prefer_huge_pages(const void *memory, uint64_t bytes) {
  // Only whole ones: what lies beside would be committed, too.
  const auto begin = reinterpret_cast<uint64_t>(memory), end = begin + bytes;
  const uint64_t first = (begin + huge_page_bytes - 1) / huge_page_bytes * huge_page_bytes;
  const uint64_t last = end / huge_page_bytes * huge_page_bytes;
  if (first < last)
    madvise(reinterpret_cast<void *>(first), last - first, MADV_HUGEPAGE);
}

bool start_thread(Thread *thread, void *stack, uint64_t bytes, void *(*run)(void *),
                  void *argument) {
  pthread_attr_t attributes;
  if (pthread_attr_init(&attributes))
    return false;
  pthread_t made;
  const bool started = !pthread_attr_setstack(&attributes, stack, bytes) &&
                       !pthread_create(&made, &attributes, run, argument);
  pthread_attr_destroy(&attributes);
  if (started)
    thread->handle = static_cast<uint64_t>(made);
  return started;
}

void join_thread(Thread thread) { pthread_join(static_cast<pthread_t>(thread.handle), nullptr); }

// Not makecontext: it is not in every C library, and asks the kernel for the signal mask each time.
void call_on_stack(void *stack, uint64_t bytes, void (*run)(void *), void *argument) {
  void *top = static_cast<uint8_t *>(stack) + bytes; // a multiple of 16
#if defined(__x86_64__)
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
#elif defined(__aarch64__)
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
#else
#error "call_on_stack: this processor's is not written yet"
#endif
}

void wait_while_equal(const uint32_t *word, uint32_t value) {
  syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, nullptr, nullptr, 0);
}

void wake_all(const uint32_t *word) {
  syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1 << 30, nullptr, nullptr, 0);
}

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb");
#endif
}

void yield() { sched_yield(); }

uint64_t clock_ns() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000000000u + static_cast<uint64_t>(now.tv_nsec);
}

void populate(const void *memory, uint64_t bytes) {
  if (!bytes)
    return;
  auto *first = static_cast<const uint8_t *>(memory);
  const uint64_t before = reinterpret_cast<uint64_t>(memory) % page_bytes;
  auto *page = const_cast<uint8_t *>(first - before);
  if (!madvise(page, bytes + before, MADV_POPULATE_READ))
    return;
  // An older kernel: ask for read-ahead, then touch every page.
  madvise(page, bytes + before, MADV_WILLNEED);
  for (uint64_t at = 0; at < bytes; at += page_bytes)
    (void)*const_cast<const volatile uint8_t *>(first + at);
  (void)*const_cast<const volatile uint8_t *>(first + bytes - 1);
}

} // namespace ingot::platform
