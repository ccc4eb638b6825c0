// What RISC-V processors say of themselves.
#include "targets/riscv64/runtime/features.h"
#include "test/targets/Features.h"

using namespace ingot;
using platform::riscv64::has_feature;

TEST(RiscV64Features, TheRuntimeKnowsEveryFeature) {
  test::expectKnownFeatures("riscv64", [](const char *name) {
    bool known = false;
    has_feature(0, name, &known);
    return known;
  });
}

TEST(RiscV64Features, AreLettersOfTheSystem) {
  constexpr uint64_t gc = 1 << 0 | 1 << 2 | 1 << 3 | 1 << 5 | 1 << 8 | 1 << 12;
  for (const char *name : {"m", "a", "f", "d", "c"})
    EXPECT_TRUE(has_feature(gc, name, nullptr)) << name;
  EXPECT_FALSE(has_feature(gc, "v", nullptr));
  EXPECT_TRUE(has_feature(gc | 1 << 21, "v", nullptr));
  for (const char *name : {"zvfh", "zfhmin", ""}) {
    bool known = true;
    EXPECT_FALSE(has_feature(~uint64_t(0), name, &known)) << name;
    EXPECT_FALSE(known) << name;
  }
}
