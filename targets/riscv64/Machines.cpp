// The table of RISC-V machines.
//
// What is peculiar about them: vectors have no dot product of bytes; vwmacc multiplies bytes and
// adds the products lane by lane to i16, which is exact for codes of at most 4 bits over 16 steps
// (16 * 15 * 127 = 30,480). There is no sum of pairs of i16 products either. The V extension
// promises 32 registers of at least 128 bits: code is for exactly that, four registers to 16 lanes,
// and gives the same bits where they are wider. Machines without it compute lane by lane.
//
// Halide's own code for V is made for vectors of one exact length, in registers whose length code
// does not know. What it says for ARM without NEON is instructions of no machine in particular, of
// vectors of known length, which LLVM's code generator makes V's of (codegen/halide/Compile.cpp
// gives it triple and data layout). Half precision is then converted by integer arithmetic, which
// is exact: V does not promise more.
#include "targets/riscv64/RiscV64Target.h"

#include "targets/cpu/CpuTarget.h"

using namespace ingot;

namespace {

#define GC "m,a,f,d,c"
#define HALIDE "no_neon"
#define QEMU_V "rv64,v=true,vext_spec=v1.0,vlen=128"

constexpr auto lanes = ByteDot::lanes;

// Rates, of vectors of vector_bits: not measured, no such machine was at hand. Issue width and
// units as vendors describe them (SpacemiT X60: two issues in order; SiFive U74: the same, one
// FPU), of whose clocks and memory only the ratio matters.
constexpr Rates spacemit_x60{2, 1, 1, 1, 1, 1.6, 3}, sifive_u74{2, 1, 2, 1, 1, 1.5, 2};

constexpr CpuMachine machines[] = {
    {"spacemit-x60", "SpacemiT X60 (Banana Pi F3)", "rvv", "spacemit-x60", HALIDE, GC ",v", 128, 32,
     lanes, 32, 512, 0, spacemit_x60, QEMU_V},
    {"riscv64-v", "any 64-bit RISC-V processor with vectors (RVA23, RV64GCV)", "rvv",
     "spacemit-x60", HALIDE, GC ",v", 128, 32, lanes, 32, 512, 0, spacemit_x60, QEMU_V},
    {"riscv64-gc", "any 64-bit RISC-V processor that runs Linux (RV64GC)", "gc", "sifive-u74",
     HALIDE, GC, 32, 32, lanes, 32, 2048, 0, sifive_u74, "rv64"},
};

constexpr std::pair<const char *, const char *> short_names[] = {{"v", "riscv64-v"},
                                                                 {"gc", "riscv64-gc"}};

// The compiler itself runs on another family.
bool runsHere(const CpuMachine &) { return false; }

// Floats travel in registers: objects say so, or the linker refuses them.
const CpuFamily family{"riscv64-unknown-linux-gnu",
                       "arm-64-linux",
                       /*dot_by_lane=*/false,
                       /*word_pairs=*/false,
                       {"elf64lriscv", llvm::ELF::EM_RISCV, 0, 4096, "riscv64-linux", nullptr,
                        /*wide=*/true, /*c_library=*/true, /*loading=*/nullptr,
                        llvm::ELF::EF_RISCV_RVC | llvm::ELF::EF_RISCV_FLOAT_ABI_DOUBLE,
                        "libm.so.6 libc.so.6"},
                       machines,
                       runsHere,
                       "qemu-riscv64",
                       short_names,
                       "+m,+a,+f,+d,+c"};

/// What the name stands for.
constexpr const char *linux_name = "riscv64-linux", *all_parts[] = {"riscv64-v", "riscv64-gc"};

} // namespace

std::vector<TargetName> ingot::riscv64TargetNames() {
  std::vector<TargetName> names = family.names();
  names.push_back({linux_name, "riscv64-v and riscv64-gc in one program, which picks", false});
  return names;
}

std::string ingot::riscv64FullName(llvm::StringRef part) { return family.fullName(part); }

llvm::Expected<std::unique_ptr<Target>> ingot::makeRiscV64Target(llvm::StringRef name) {
  if (name == linux_name)
    return family.makeAll(name, all_parts);
  return family.make(name);
}
