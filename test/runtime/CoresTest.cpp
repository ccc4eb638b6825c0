// Which cores share the work.
#include "runtime/platform/linux/cores.h"

#include "gtest/gtest.h"

using ingot::platform::equal_cores;

namespace {

template <int32_t N> int32_t equal(const int32_t (&capacities)[N]) {
  return equal_cores(capacities, N);
}

TEST(Cores, LittleOnesStayOut) {
  EXPECT_EQ(equal({0, 0, 0, 0}), 4); // not known
  EXPECT_EQ(equal({1024, 1024}), 2);
  EXPECT_EQ(equal({250, 250, 250, 250, 760, 760, 760, 1024}), 4);
  EXPECT_EQ(equal({380, 380, 1024}), 1);
  EXPECT_EQ(equal({1024}), 1);
}

} // namespace
