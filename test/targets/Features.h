// The features of a family's table, which the runtime must know.
#pragma once

#include "targets/Target.h"

#include "gtest/gtest.h"

namespace ingot::test {

/// A program refuses to start where the runtime does not know a feature that its code uses.
/// `known(name)`: the runtime of programs whose triple starts so does.
template <typename Known> void expectKnownFeatures(llvm::StringRef triple, Known known) {
  int machines = 0;
  for (const TargetName &name : targetNames()) {
    const auto target = llvm::cantFail(makeTarget(name.name));
    if (!llvm::StringRef(target->machine().triple).starts_with(triple))
      continue;
    ++machines;
    for (const std::string &feature : target->machine().features)
      EXPECT_TRUE(known(feature.c_str())) << name.name << " " << feature;
  }
  EXPECT_GT(machines, 0);
}

} // namespace ingot::test
