#include "targets/x86/runtime/features.h"

#include "runtime/platform/platform.h"

#include <atomic>
#include <cpuid.h>
#include <string.h>

namespace ingot::platform::x86 {
namespace {

// What the system must save for an instruction not to fault (SDM volume 1, 13.1): the upper halves
// of the AVX registers; masks, upper halves and upper sixteen of AVX-512.
constexpr uint64_t none = 0, ymm = 0x6, zmm = 0xe6;

struct Feature {
  const char *name;
  Word word;
  int32_t bit;
  uint64_t saved;
} constexpr features[] = {
    {"sse2", leaf1_d, 26, none},
    {"sse3", leaf1_c, 0, none},
    {"ssse3", leaf1_c, 9, none},
    {"fma", leaf1_c, 12, ymm},
    {"sse4.1", leaf1_c, 19, none},
    {"sse4.2", leaf1_c, 20, none},
    {"movbe", leaf1_c, 22, none},
    {"popcnt", leaf1_c, 23, none},
    {"avx", leaf1_c, 28, ymm},
    {"f16c", leaf1_c, 29, ymm},
    {"bmi", leaf7_b, 3, none},
    {"avx2", leaf7_b, 5, ymm},
    {"bmi2", leaf7_b, 8, none},
    {"avx512f", leaf7_b, 16, zmm},
    {"avx512dq", leaf7_b, 17, zmm},
    {"avx512ifma", leaf7_b, 21, zmm},
    {"avx512cd", leaf7_b, 28, zmm},
    {"avx512bw", leaf7_b, 30, zmm},
    {"avx512vl", leaf7_b, 31, zmm},
    {"avx512vbmi", leaf7_c, 1, zmm},
    {"avx512vbmi2", leaf7_c, 6, zmm},
    {"gfni", leaf7_c, 8, none},
    {"vaes", leaf7_c, 9, ymm},
    {"vpclmulqdq", leaf7_c, 10, ymm},
    {"avx512vnni", leaf7_c, 11, zmm},
    {"avx512bitalg", leaf7_c, 12, zmm},
    {"avx512vpopcntdq", leaf7_c, 14, zmm},
    {"avxvnni", leaf7_1_a, 4, ymm},
    {"avx512bf16", leaf7_1_a, 5, zmm},
    {"lzcnt", extended1_c, 5, none},
    {"sse4a", extended1_c, 6, none},
};

} // namespace

Processor this_processor() {
  Processor processor = {};
  uint32_t *words = processor.words;
  unsigned a, b, c, d;
  if (__get_cpuid(1, &a, &b, &c, &d)) {
    words[leaf1_c] = c;
    words[leaf1_d] = d;
    if (c >> 27 & 1) { // OSXSAVE: there is an XCR0 to read
      unsigned low, high;
      asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
      processor.saved = static_cast<uint64_t>(high) << 32 | low;
    }
  }
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
    words[leaf7_b] = b;
    words[leaf7_c] = c;
    if (a >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d))
      words[leaf7_1_a] = a;
  }
  if (__get_cpuid(0x80000001u, &a, &b, &c, &d))
    words[extended1_c] = c;
  return processor;
}

static bool has(const Processor &processor, const Feature &feature) {
  return processor.words[feature.word] >> feature.bit & 1 &&
         (processor.saved & feature.saved) == feature.saved;
}

bool has_feature(const Processor &processor, const char *name, bool *known) {
  for (const Feature &feature : features)
    if (!strcmp(feature.name, name)) {
      if (known)
        *known = true;
      return has(processor, feature);
    }
  if (known)
    *known = false;
  return false;
}

/// Which of `features` are there. Asked once: in a virtual machine each CPUID takes microseconds.
static uint64_t present() {
  constexpr uint64_t asked = uint64_t{1} << 63;
  static_assert(sizeof features / sizeof *features < 63);
  static std::atomic<uint64_t> answer{0};
  uint64_t bits = answer.load(std::memory_order_relaxed);
  if (bits)
    return bits;
  const Processor processor = this_processor();
  bits = asked;
  for (size_t i = 0; i < sizeof features / sizeof *features; ++i)
    bits |= static_cast<uint64_t>(has(processor, features[i])) << i;
  answer.store(bits, std::memory_order_relaxed);
  return bits;
}

} // namespace ingot::platform::x86

bool ingot::platform::has_feature(const char *name) {
  using namespace x86;
  for (size_t i = 0; i < sizeof features / sizeof *features; ++i)
    if (!strcmp(features[i].name, name))
      return present() >> i & 1;
  return false;
}
