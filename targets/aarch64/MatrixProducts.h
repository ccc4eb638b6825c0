// Products of small matrices of bytes (smmla, of FEAT_I8MM) in place of dot products (sdot).
#pragma once

namespace llvm {
class Module;
} // namespace llvm

namespace ingot {

/// Where the same codes meet the activations of two tokens, 8 elements of 2 rows are multiplied by
/// those of both at once. Sums are of integers: the results are the same. Codes that are unpacked
/// to memory for that alone are stored in the order that the instruction takes.
void multiplyMatrices(llvm::Module &module);

} // namespace ingot
