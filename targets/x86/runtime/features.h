// What x86 processors say of themselves, apart from the asking, so that tests can pretend to be
// one.
#pragma once

#include <stdint.h>

namespace ingot::platform::x86 {

/// The registers of CPUID that name features (Intel SDM volume 2, CPUID; AMD APM volume 3, E.3).
enum Word { leaf1_c, leaf1_d, leaf7_b, leaf7_c, leaf7_1_a, extended1_c, word_count };

struct Processor {
  uint32_t words[word_count];
  uint64_t saved; ///< XCR0: the registers that the system saves
};

/// The processor that this runs on. Executes nothing that not every x86-64 has.
Processor this_processor();

/// LLVM's spelling. `known` may be null; unknown features are ones that a processor does not have.
bool has_feature(const Processor &processor, const char *name, bool *known);

} // namespace ingot::platform::x86
