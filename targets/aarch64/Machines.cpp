// The table of AArch64 machines.
//
// What is peculiar about them: dot products of bytes (sdot, udot: four to an i32 lane) take codes
// and activations of one signedness, so codes are made signed. Without them, smull and smlal sum
// products of bytes lane by lane into i16, which is exact for codes of at most 4 bits over 16 steps
// (16 * 15 * 127 = 30,480). FEAT_I8MM has products of matrices of bytes, of two tokens at once
// (MatrixProducts.h). There is no sum of pairs of i16 products either. All have 32 registers
// of 128 bits.
//
// Halide takes conversions of half precision for the whole of FEAT_FP16, but every machine has
// those; LLVM then generates code for the machine itself.
#include "targets/aarch64/AArch64Target.h"
#include "targets/aarch64/HalfProducts.h"
#include "targets/aarch64/MatrixProducts.h"

#include "targets/cpu/CpuTarget.h"

using namespace ingot;

namespace {

#define DOTPROD "neon,dotprod"
#define FHM ",fullfp16,fp16fml"
#define I8MM DOTPROD ",i8mm,bf16" FHM
#define HALIDE_NEON "arm_fp16"
#define HALIDE_DOTPROD HALIDE_NEON "-arm_dot_prod"

constexpr auto lanes = ByteDot::lanes, quads = ByteDot::signed_quads;

// Rates, of 128-bit vectors: issue width, and the throughput of SDOT or SMLAL and FMLA, ADD, LDR Q
// and STR Q from Arm's software optimization guides (Cortex-A53: its pipes are 64 bits wide) and,
// for Apple, from Dougall Johnson's measurements. Clocks and the bandwidth of one core are those of
// typical devices: only their ratio matters, and only where weights stream.
constexpr Rates cortex_a53{2, 1, 1, 0.5, 0.5, 1.4, 3}, cortex_a76{4, 2, 2, 2, 2, 2.4, 10},
    cortex_a78{6, 2, 2, 2, 2, 2.4, 12}, neoverse_n1{4, 2, 2, 2, 2, 2.8, 12},
    cortex_x2{8, 4, 4, 3, 2, 2.9, 20}, neoverse_v1{8, 4, 4, 3, 2, 2.6, 16},
    apple_m1{8, 4, 4, 3, 2, 3.2, 50};

constexpr TableLookup tables[] = {{"llvm.aarch64.neon.tbl1.v16i8", 16}};

constexpr CpuMachine machines[] = {
    {"apple-m1", "Apple M1", "dotprod", "apple-m1", HALIDE_DOTPROD, DOTPROD FHM, 128, 32, quads,
     128, 12288, 8192, apple_m1},
    {"neoverse-v1", "Arm Neoverse V1 (Graviton 3)", "i8mm", "neoverse-v1", HALIDE_DOTPROD, I8MM,
     128, 32, quads, 64, 1024, 32768, neoverse_v1, "max"},
    {"cortex-x2", "Arm Cortex-X2", "i8mm", "cortex-x2", HALIDE_DOTPROD, I8MM, 128, 32, quads, 64,
     1024, 8192, cortex_x2},
    {"aarch64-i8mm", "any 64-bit ARM processor with products of byte matrices", "i8mm",
     "neoverse-v1", HALIDE_DOTPROD, DOTPROD ",i8mm" FHM, 128, 32, quads, 64, 1024, 8192,
     neoverse_v1, "max"},
    {"neoverse-n1", "Arm Neoverse N1 (Graviton 2, Altra)", "dotprod", "neoverse-n1", HALIDE_DOTPROD,
     DOTPROD, 128, 32, quads, 64, 1024, 32768, neoverse_n1, "neoverse-n1"},
    {"cortex-a78", "Arm Cortex-A78", "dotprod", "cortex-a78", HALIDE_DOTPROD, DOTPROD, 128, 32,
     quads, 64, 512, 4096, cortex_a78},
    {"cortex-a76", "Arm Cortex-A76 (Raspberry Pi 5)", "dotprod", "cortex-a76", HALIDE_DOTPROD,
     DOTPROD, 128, 32, quads, 64, 512, 2048, cortex_a76, "cortex-a76"},
    {"aarch64-dotprod", "any 64-bit ARM processor with dot products", "dotprod", "cortex-a76",
     HALIDE_DOTPROD, DOTPROD, 128, 32, quads, 64, 512, 2048, cortex_a76, "cortex-a76"},
    {"cortex-a53", "Arm Cortex-A53 (Raspberry Pi 3)", "neon", "cortex-a53", HALIDE_NEON, "neon",
     128, 32, lanes, 32, 512, 0, cortex_a53, "cortex-a53"},
    {"aarch64-neon", "any 64-bit ARM processor", "neon", "cortex-a53", HALIDE_NEON, "neon", 128, 32,
     lanes, 32, 512, 0, cortex_a53, "cortex-a53"},
};

constexpr std::pair<const char *, const char *> short_names[] = {
    {"neon", "aarch64-neon"}, {"dotprod", "aarch64-dotprod"}, {"i8mm", "aarch64-i8mm"}};

// The compiler itself runs on another family.
bool runsHere(const CpuMachine &) { return false; }

void finishKernel(const Machine &machine, llvm::Module &module) {
  if (machine.byte_matrices)
    multiplyMatrices(module);
  if (machine.half_products)
    multiplyHalves(module);
}

// Pages may have 64 KiB. Code and tables are reached within 4 GiB.
const CpuFamily family{"aarch64-unknown-linux-gnu",
                       "arm-64-linux",
                       /*dot_by_lane=*/true,
                       /*word_pairs=*/false,
                       {"aarch64linux", llvm::ELF::EM_AARCH64, 0, 65536, "aarch64-linux", nullptr,
                        /*wide=*/true, /*c_library=*/true, /*loading=*/nullptr, /*flags=*/0,
                        "libc.so.6"},
                       machines,
                       runsHere,
                       "qemu-aarch64",
                       short_names,
                       /*baseline=*/"",
                       "i8mm",
                       finishKernel,
                       tables,
                       "fp16fml"};

/// The same with Android's C library, which only shared libraries are linked with.
const CpuFamily android = [] {
  CpuFamily with = family;
  with.elf.system_libraries = "libc.so";
  with.elf.system_names = "libingot_android.a";
  return with;
}();

/// What both names stand for.
constexpr const char *linux_name = "aarch64-linux", *android_name = "aarch64-android",
                     *all_parts[] = {"aarch64-i8mm", "aarch64-dotprod", "aarch64-neon"};

} // namespace

std::vector<TargetName> ingot::aarch64TargetNames() {
  std::vector<TargetName> names = family.names();
  names.push_back(
      {linux_name, "aarch64-i8mm, -dotprod and -neon in one program, which picks", false});
  names.push_back({android_name,
                   "the same program, which Android's shell runs, or a library for its apps",
                   false});
  return names;
}

std::string ingot::aarch64FullName(llvm::StringRef part) { return family.fullName(part); }

llvm::Expected<std::unique_ptr<Target>> ingot::makeAArch64Target(llvm::StringRef name) {
  if (name == linux_name || name == android_name)
    return (name == android_name ? android : family).makeAll(name, all_parts);
  return family.make(name);
}
