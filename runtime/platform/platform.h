// What the runtime needs of a machine: memory, threads, waiting, a clock, the processor's name. A
// port implements these functions and nothing else of the core; a machine without an operating
// system runs one thread and leaves the waits empty. What only the command-line program needs
// (files, terminal, signals) is apart, in platform/host.h.
//
// Thread rule: every function may be called from any thread.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace ingot::platform {

/// Kernels keep their scratch on the stack: every thread that runs a step has this many bytes,
/// reserved, and committed only where touched.
constexpr uint64_t step_stack_bytes = 16u << 20;

/// Zeroed, page-aligned memory, committed page by page when first touched (never more than the page
/// that is touched), with an inaccessible `guard_bytes` (a multiple of 64 KiB, or 0) below it.
/// nullptr when the system refuses.
void *map_memory(uint64_t bytes, uint64_t guard_bytes = 0);
void unmap_memory(void *memory, uint64_t bytes, uint64_t guard_bytes = 0);
/// Lets [memory, memory + bytes) be committed in the largest pages that fit inside it. A hint.
void prefer_huge_pages(const void *memory, uint64_t bytes);

struct Thread {
  uint64_t handle; ///< meaning is the platform's
};
/// Starts `run(argument)` on a new thread and the stack [stack, stack + bytes). False when refused.
bool start_thread(Thread *thread, void *stack, uint64_t bytes, void *(*run)(void *),
                  void *argument);
void join_thread(Thread thread);

/// Calls `run(argument)` on the stack [stack, stack + bytes) and comes back to this one. (Not
/// makecontext: it is not in every C library, and asks the kernel for the signal mask each time.)
void call_on_stack(void *stack, uint64_t bytes, void (*run)(void *), void *argument);

/// Sleeps while *word == value (may wake early); wake_all wakes every thread that sleeps on `word`.
void wait_while_equal(const uint32_t *word, uint32_t value);
void wake_all(const uint32_t *word);

/// One round of a spin loop; and: let another thread have this core.
void pause();
void yield();

/// Nanoseconds of a clock that never goes back.
uint64_t clock_ns();

/// Makes [memory, memory + bytes), which a file backs, resident and mapped. A hint.
void populate(const void *memory, uint64_t bytes);

/// Physical cores that this process may use, at least 1.
int32_t core_count();
/// The processor's name with a terminating 0, "unknown" when there is none to be had.
void processor_name(char *out, size_t capacity);
/// True when processor and system have the feature (LLVM's spelling: "avx512vnni"): code that uses
/// it runs. False for features that this platform does not know: rather no start than a crash.
bool has_feature(const char *name);

} // namespace ingot::platform
