// The table of x86-64 machines.
//
// What is peculiar about them: the byte dot product of AVX-512 VNNI (vpdpbusd) takes unsigned times
// signed bytes, four to an i32 lane; without it, vpmaddubsw sums pairs into i16 with saturation,
// which is exact for codes of at most 4 bits over 8 steps (8 * 2 * 15 * 127 = 30,480). Wider codes
// go through i16 (vpmaddwd). AVX2 has 16 vector registers, AVX-512 has 32.
//
// Halide reaches vpdpbusd through its Zen 4 feature only; LLVM then generates code for the machine
// itself, so the other extensions of Zen 4 are not needed. AVX-VNNI has that instruction for 256
// bits (HalfVectors.h).
#include "targets/x86/X86Target.h"

#include "support/Error.h"
#include "targets/cpu/CpuTarget.h"
#include "targets/x86/HalfVectors.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/TargetParser/Host.h"

using namespace ingot;

namespace {

#define AVX2 "avx,avx2,bmi,bmi2,f16c,fma,lzcnt,movbe,popcnt"
#define AVX512 AVX2 ",avx512f,avx512bw,avx512cd,avx512dq,avx512vl"
#define VNNI AVX512 ",avx512vnni"
#define ICELAKE VNNI ",avx512bitalg,avx512ifma,avx512vbmi,avx512vbmi2,avx512vpopcntdq,gfni"
#define HALIDE_AVX2 "avx-avx2-f16c-fma-sse41"
#define HALIDE_AVX512 HALIDE_AVX2 "-avx512-avx512_skylake"
#define HALIDE_VNNI HALIDE_AVX512 "-avx512_cannonlake-avx512_zen4"

// Rates, of 512-bit vectors where vector_bits is 512: issue width, and ports from Agner Fog's
// microarchitecture manual and uops.info (VPMADDUBSW and VPMADDWD or VPDPBUSD, VFMADD, VPADDD,
// VMOVDQU). Zen 4 runs 512 bits in two halves; Cascade Lake and later have the second multiplier on
// port 5; Haswell multiplies integers on port 0 only. Clocks under vector load and the bandwidth of
// one core are those of typical servers: only their ratio matters, and only where weights stream.
// Intel's first-level cache has 10 to 16 lines on their way at once, its second 48: Sapphire Rapids
// reads half of its bandwidth with prefetchnta, 0.9 of it with prefetcht1. Zen 5 reads all of its
// bandwidth at one place, and half of it at 4; 8 KiB ahead gives 15 % more tokens/s than 2.
constexpr Rates zen5{8, 2, 4, 2, 1, 4.2, 43, 3, 1, 8192, 57, 0.1},
    zen4{6, 1, 2, 1, 0.5, 3.6, 20, 8}, sapphire_rapids{6, 2, 2, 2, 1, 2.8, 15, 6, 2, 2048, 28},
    golden_cove{6, 2, 3, 3, 2, 4.0, 20, 6, 2}, ice_lake{5, 2, 2, 2, 1, 2.7, 12, 6, 2},
    skylake{4, 2, 2, 2, 1, 2.5, 12, 6, 2}, zen3{6, 2, 4, 2, 1, 3.3, 22, 8, 1, 2048, 30},
    haswell{4, 1, 3, 2, 1, 3.0, 12, 6, 2};

/// Who does not know the machine reads at one place, and asks far ahead: by the first Zen 3 loses
/// 12 % and Zen 5 wins 40, by the second Zen 5 wins 38.
constexpr Rates anywhere(Rates rates) {
  rates.memory_streams = 3;
  rates.prefetch_bytes = 8192;
  return rates;
}

constexpr auto quads = ByteDot::mixed_quads, pairs = ByteDot::mixed_pairs;

constexpr TableLookup shuffles[] = {{"llvm.x86.ssse3.pshuf.b.128", 16},
                                    {"llvm.x86.avx2.pshuf.b", 32},
                                    {"llvm.x86.avx512.pshuf.b.512", 64}};

constexpr CpuMachine machines[] = {
    {"znver5", "AMD Zen 5", "avx512-vnni", "znver5", HALIDE_VNNI,
     ICELAKE ",avx512bf16,sse4a,avxvnni", 512, 32, quads, 48, 1024, 32768, zen5},
    {"znver4", "AMD Zen 4", "avx512-vnni", "znver4", HALIDE_VNNI, ICELAKE ",avx512bf16,sse4a", 512,
     32, quads, 32, 1024, 32768, zen4},
    {"sapphirerapids", "Intel Sapphire Rapids", "avx512-vnni", "sapphirerapids", HALIDE_VNNI,
     ICELAKE ",avx512bf16,avxvnni", 512, 32, quads, 48, 2048, 32768, sapphire_rapids},
    {"icelake-server", "Intel Ice Lake", "avx512-vnni", "icelake-server", HALIDE_VNNI, ICELAKE, 512,
     32, quads, 48, 1280, 32768, ice_lake},
    {"cascadelake", "Intel Cascade Lake", "avx512-vnni", "cascadelake", HALIDE_VNNI, VNNI, 512, 32,
     quads, 32, 1024, 32768, skylake},
    {"x86-64-v4-vnni", "any processor with AVX-512 (F, BW, CD, DQ, VL) and VNNI", "avx512-vnni",
     "icelake-server", HALIDE_VNNI, VNNI, 512, 32, quads, 32, 1024, 16384, anywhere(ice_lake)},
    {"x86-64-v4", "any processor with AVX-512 (F, BW, CD, DQ, VL)", "avx512", "skylake-avx512",
     HALIDE_AVX512, AVX512, 512, 32, pairs, 32, 1024, 16384, anywhere(skylake)},
    {"x86-64-v3-vnni", "any processor with AVX2, FMA, F16C and AVX-VNNI", "avx-vnni", "alderlake",
     HALIDE_VNNI, AVX2 ",avxvnni", 256, 16, quads, 32, 1024, 12288, anywhere(golden_cove)},
    {"znver3", "AMD Zen 3", "avx2", "znver3", HALIDE_AVX2, AVX2 ",sse4a,vaes,vpclmulqdq", 256, 16,
     pairs, 32, 512, 32768, zen3},
    {"x86-64-v3", "any processor with AVX2, FMA and F16C", "avx2", "haswell", HALIDE_AVX2, AVX2,
     256, 16, pairs, 32, 256, 8192, anywhere(haswell)},
};

/// Short names of levels in composed targets. The psABI's v4 has no VNNI, but kernels for it
/// without are hardly faster than those of v3: where somebody composes levels, v4 means the one
/// worth it.
constexpr std::pair<const char *, const char *> short_names[] = {
    {"v3", "x86-64-v3"}, {"v3-vnni", "x86-64-v3-vnni"}, {"v4", "x86-64-v4-vnni"}};

bool hostHas(const char *features) {
  static const llvm::StringMap<bool> host = llvm::sys::getHostCPUFeatures();
  for (llvm::StringRef feature : llvm::split(features, ','))
    if (!host.lookup(feature))
      return false;
  return true;
}

bool runsHere(const CpuMachine &machine) { return hostHas(machine.features); }

void finishKernel(const Machine &machine, llvm::Module &module) {
  if (machine.byte_dot == ByteDot::mixed_quads && machine.vector_bits < 512)
    halveDotProducts(module);
}

// Weights are a section of "large" data behind everything else: no displacement of 32 bits, which
// is what code and tables are reached with, goes across them.
const CpuFamily family{"x86_64-unknown-linux-gnu",
                       "x86-64-linux",
                       /*dot_by_lane=*/false,
                       /*word_pairs=*/true,
                       {"elf_x86_64", llvm::ELF::EM_X86_64, llvm::ELF::SHF_X86_64_LARGE, 4096, "",
                        "-zlrodata-after-bss", /*wide=*/true, /*c_library=*/true,
                        /*loading=*/nullptr,
                        /*flags=*/0, "libc.so.6"},
                       machines,
                       runsHere,
                       /*emulator=*/"",
                       short_names,
                       /*baseline=*/"",
                       /*matrix_feature=*/nullptr,
                       finishKernel,
                       shuffles};

} // namespace

std::vector<TargetName> ingot::x86TargetNames() {
  std::vector<TargetName> names = family.names();
  if (const CpuMachine *host = family.host())
    names.insert(names.begin(), {"host", std::string("this machine: ") + host->name, true});
  names.push_back(
      {"x86-64-v3+v4", "x86-64-v3 and x86-64-v4-vnni in one program, which picks", hostHas(AVX2)});
  return names;
}

std::string ingot::x86FullName(llvm::StringRef part) {
  if (part == "host")
    if (const CpuMachine *host = family.host())
      return host->name;
  return family.fullName(part);
}

llvm::Expected<std::unique_ptr<Target>> ingot::makeX86Target(llvm::StringRef name) {
  if (name == "host") {
    const CpuMachine *host = family.host();
    if (!host)
      return inputError("--target", "", "this processor lacks AVX2, FMA or F16C",
                        "name the machine that will run the program, e.g. --target=x86-64-v3");
    return std::make_unique<CpuTarget>(family, *host, "host (" + std::string(host->name) + ")");
  }
  return family.make(name);
}
