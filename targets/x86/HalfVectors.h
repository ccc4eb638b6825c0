// Dot products of 256 bits (AVX-VNNI) in place of those of 512.
#pragma once

namespace llvm {
class Module;
} // namespace llvm

namespace ingot {

/// Halide knows vpdpbusd and vpdpwssd as instructions of AVX-512 alone, and makes them of 16 sums
/// whatever vectors a machine has; LLVM does not take them apart. Each becomes one of its lower 8
/// sums and one of its upper 8.
void halveDotProducts(llvm::Module &module);

} // namespace ingot
