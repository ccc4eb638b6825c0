// Linux: memory, threads, futexes and the clock behind platform/platform.h. What takes instructions
// of a processor is in targets/NAME/runtime.
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

void wait_while_equal(const uint32_t *word, uint32_t value) {
  syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, nullptr, nullptr, 0);
}

void wake_all(const uint32_t *word) {
  syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1 << 30, nullptr, nullptr, 0);
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
