// The memory planner behind kernel-plan-memory, apart from IR so that it can be tested alone.
#pragma once

#include "llvm/ADT/ArrayRef.h"

#include <cstdint>
#include <vector>

namespace ingot {

/// A buffer that is in use from step `first` to step `last`, both included.
struct PlannedBuffer {
  int64_t bytes;
  int32_t first, last;
  int64_t offset = 0; ///< set by planBuffers
};

/// Gives every buffer the lowest offset, a multiple of `alignment`, at which it overlaps no buffer
/// that is in use at the same time; larger buffers choose first ("greedy by size", Pisarchyk & Lee
/// 2020, section 4.3). Returns the end of the highest buffer.
int64_t planBuffers(llvm::MutableArrayRef<PlannedBuffer> buffers, int64_t alignment);

} // namespace ingot
