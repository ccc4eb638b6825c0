// The memory planner: no two buffers that live at the same time may overlap, whatever their sizes.
#include "passes/kernel/PlanMemory.h"

#include <gtest/gtest.h>

#include <random>

using ingot::PlannedBuffer;

TEST(PlanBuffers, ReusesSpaceOfTheDead) {
  std::vector<PlannedBuffer> buffers{{128, 0, 1}, {64, 1, 2}, {128, 2, 3}};
  EXPECT_EQ(ingot::planBuffers(buffers, 64), 192);
  EXPECT_EQ(buffers[0].offset, buffers[2].offset);
}

TEST(PlanBuffers, FillsAGapBetweenTheLiving) {
  std::vector<PlannedBuffer> buffers{{256, 0, 3}, {128, 0, 0}, {64, 0, 3}, {100, 1, 3}};
  EXPECT_EQ(ingot::planBuffers(buffers, 64), 256 + 128 + 64);
  EXPECT_EQ(buffers[3].offset, buffers[1].offset);
}

TEST(PlanBuffers, NothingAliveOverlapsForRandomLives) {
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    std::vector<PlannedBuffer> buffers(1 + random() % 60);
    int64_t most = 0, sum = 0;
    for (PlannedBuffer &buffer : buffers) {
      const int first = random() % 50;
      buffer = {int64_t(1 + random() % 5000), first, first + int(random() % 10)};
      sum += (buffer.bytes + 63) / 64 * 64;
    }
    for (int step = 0; step < 60; ++step) {
      int64_t alive = 0;
      for (const PlannedBuffer &b : buffers)
        alive += b.first <= step && step <= b.last ? b.bytes : 0;
      most = std::max(most, alive);
    }
    const int64_t end = ingot::planBuffers(buffers, 64);
    EXPECT_GE(end, most);
    EXPECT_LE(end, sum);
    for (const PlannedBuffer &a : buffers) {
      EXPECT_EQ(a.offset % 64, 0);
      EXPECT_LE(a.offset + a.bytes, end);
      for (const PlannedBuffer &b : buffers) {
        const bool together = &a != &b && a.first <= b.last && b.first <= a.last;
        EXPECT_FALSE(together && a.offset < b.offset + b.bytes && b.offset < a.offset + a.bytes);
      }
    }
  }
}
