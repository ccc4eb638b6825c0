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
#include <ucontext.h>
#include <unistd.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22 // Linux 5.14
#endif

namespace ingot::platform {
namespace {

// A frame of a kernel may be larger than one guard page, and its first write may be far down.
constexpr uint64_t thread_guard_bytes = 1u << 20;
constexpr uint64_t page_bytes = 4096; // the least that Linux maps; larger pages only save calls

struct StackCall {
  void (*run)(void *);
  void *argument;
  ucontext_t back, there;
};

// makecontext passes ints: the pointer travels in two halves.
void stack_entry(unsigned low, unsigned high) {
  auto *call = reinterpret_cast<StackCall *>((static_cast<uint64_t>(high) << 32) | low);
  call->run(call->argument);
}

} // namespace

void *map_memory(uint64_t bytes, uint64_t guard_bytes) {
  const uint64_t total = bytes + guard_bytes;
  if (total < bytes)
    return nullptr;
  void *memory = mmap(nullptr, total, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED)
    return nullptr;
  if (guard_bytes)
    mprotect(memory, guard_bytes, PROT_NONE);
  return static_cast<uint8_t *>(memory) + guard_bytes;
}

void unmap_memory(void *memory, uint64_t bytes, uint64_t guard_bytes) {
  if (memory)
    munmap(static_cast<uint8_t *>(memory) - guard_bytes, bytes + guard_bytes);
}

bool start_thread(Thread *thread, void *(*run)(void *), void *argument) {
  pthread_attr_t attributes;
  if (pthread_attr_init(&attributes))
    return false;
  pthread_t made;
  const bool started = !pthread_attr_setstacksize(&attributes, step_stack_bytes) &&
                       !pthread_attr_setguardsize(&attributes, thread_guard_bytes) &&
                       !pthread_create(&made, &attributes, run, argument);
  pthread_attr_destroy(&attributes);
  if (started)
    thread->handle = static_cast<uint64_t>(made);
  return started;
}

void join_thread(Thread thread) { pthread_join(static_cast<pthread_t>(thread.handle), nullptr); }

void call_on_stack(void *stack, uint64_t bytes, void (*run)(void *), void *argument) {
  StackCall call{run, argument, {}, {}};
  getcontext(&call.there);
  call.there.uc_stack.ss_sp = stack;
  call.there.uc_stack.ss_size = bytes;
  call.there.uc_link = &call.back;
  const uint64_t address = reinterpret_cast<uint64_t>(&call);
  makecontext(&call.there, reinterpret_cast<void (*)()>(stack_entry), 2,
              static_cast<unsigned>(address), static_cast<unsigned>(address >> 32));
  swapcontext(&call.back, &call.there);
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
  const uint64_t begin = reinterpret_cast<uint64_t>(memory) & ~(page_bytes - 1);
  const uint64_t end = reinterpret_cast<uint64_t>(memory) + bytes;
  if (begin == end)
    return;
  auto *first = reinterpret_cast<uint8_t *>(begin);
  if (!madvise(first, end - begin, MADV_POPULATE_READ))
    return;
  // An older kernel: ask for read-ahead, then touch every page.
  madvise(first, end - begin, MADV_WILLNEED);
  for (uint64_t at = reinterpret_cast<uint64_t>(memory); at < end; at = (at | (page_bytes - 1)) + 1)
    (void)*reinterpret_cast<const volatile uint8_t *>(at);
}

} // namespace ingot::platform
