// What x86-64 processors say of themselves (test/runtime/VariantsTest.cpp has more).
#include "targets/x86/runtime/features.h"
#include "test/targets/Features.h"

using namespace ingot;

TEST(X86Features, TheRuntimeKnowsEveryFeature) {
  test::expectKnownFeatures("x86_64", [](const char *name) {
    bool known = false;
    platform::x86::has_feature({}, name, &known);
    return known;
  });
}
