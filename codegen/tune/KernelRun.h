// A kernel in this process, and memory for it to work on: what measuring one needs.
#pragma once

#include "dialects/kernel/KernelSpec.h"

#include "llvm/ADT/ArrayRef.h"
#include "llvm/Support/Error.h"

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

namespace ingot {

/// A shared object (Target::linkLoadable) and the kernel in it.
class LoadedKernel {
public:
  static llvm::Expected<LoadedKernel> load(const std::string &path, const std::string &symbol);
  LoadedKernel(LoadedKernel &&other) noexcept
      : handle(std::exchange(other.handle, nullptr)), function(other.function) {}
  LoadedKernel &operator=(LoadedKernel &&) = delete;
  ~LoadedKernel();

  const void *address() const { return function; }
  /// Computes slices [begin, begin + extent); `hosts`: where each argument starts (Kernel.h).
  void call(int32_t begin, int32_t extent, int32_t tokens, int32_t position,
            llvm::ArrayRef<uint8_t *> hosts) const;

private:
  LoadedKernel(void *handle, void *function) : handle(handle), function(function) {}
  void *handle, *function;
};

/// Part of a kernel's work: some slices, with one of the copies of the weights.
struct Window {
  int32_t begin = 0, extent = 0, copy = 0;
};

/// The buffers of a kernel, filled with numbers that could be a model's: no NaN, codes and sums in
/// their ranges. Weights are there in several copies, `weight_bytes` in all or more, so that a
/// kernel that goes through the copies finds none of them in a cache, as in a step.
class KernelMemory {
public:
  KernelMemory(const KernelSpec &spec, int64_t weight_bytes);

  /// All windows of `extent` slices, copy by copy.
  std::vector<Window> windows(int32_t extent) const;
  int32_t slices() const { return slice_count; }
  void run(const LoadedKernel &kernel, const Window &window, int32_t tokens, int32_t position);
  /// Makes results recognizable as not written.
  void spoilOutputs();
  /// What the outputs hold for the first `tokens` tokens, padding left out.
  std::string outputs(int32_t tokens) const;

private:
  struct Free {
    void operator()(uint8_t *pointer) const { std::free(pointer); }
  };
  struct Buffer {
    std::unique_ptr<uint8_t, Free> data;
    int64_t bytes = 0; ///< of one copy
    int64_t step = 0;  ///< from copy to copy; 0: there is one
  };
  void fill(int32_t value);

  const KernelSpec spec;
  KernelInterface interface;
  std::vector<Buffer> buffers; ///< one an argument
  int32_t slice_count = 0, copies = 1;
};

} // namespace ingot
