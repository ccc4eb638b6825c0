// Codes that stand for the numbers of a table. Halide knows no instruction for that, so kernels
// call a function that nobody defines, number by number, and once they are LLVM's, vectors of its
// calls become what the machine has (Machine::table_lookups), or loads of the table.
#pragma once

#include "Halide.h"

#include "llvm/ADT/ArrayRef.h"

namespace llvm {
class Module;
} // namespace llvm

namespace ingot {

struct Machine;

/// table[index] of 16 numbers, for u8 indices below 16: i8, or as u8 how far each is above `least`.
Halide::Expr lookUp(llvm::ArrayRef<int8_t> table, Halide::Expr index);
Halide::Expr lookUpAbove(llvm::ArrayRef<int8_t> table, int least, Halide::Expr index);

/// Defines all calls that those have become.
void lowerLookups(llvm::Module &module, const Machine &machine);

} // namespace ingot
