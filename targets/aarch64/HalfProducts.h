// Products of half-precision numbers that are added to floats (FEAT_FHM).
#pragma once

namespace llvm {
class Module;
} // namespace llvm

namespace ingot {

/// Replaces fused multiply-adds of floats that were halves by `fmlal` and `fmlal2`: the same bits.
void multiplyHalves(llvm::Module &module);

} // namespace ingot
