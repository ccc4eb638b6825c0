// What AArch64 processors say of themselves.
#include "targets/aarch64/runtime/features.h"
#include "test/targets/Features.h"

using namespace ingot;
using platform::aarch64::has_feature;

TEST(AArch64Features, TheRuntimeKnowsEveryFeature) {
  test::expectKnownFeatures("aarch64", [](const char *name) {
    bool known = false;
    has_feature({}, name, &known);
    return known;
  });
}

TEST(AArch64Features, AreBitsOfTheSystem) {
  const platform::aarch64::Processor old{1 << 1, 0}, dots{1 << 1 | 1 << 20, 0}, all{~0u, ~0u};
  EXPECT_TRUE(has_feature(old, "neon", nullptr));
  EXPECT_FALSE(has_feature(old, "dotprod", nullptr));
  EXPECT_TRUE(has_feature(dots, "dotprod", nullptr));
  EXPECT_FALSE(has_feature(dots, "i8mm", nullptr));
  EXPECT_TRUE(has_feature(all, "i8mm", nullptr));
  EXPECT_FALSE(has_feature(all, "sve9", nullptr));
}
