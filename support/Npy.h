// NumPy's .npy files (format 1.0;
// https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html).
#pragma once

#include "llvm/Support/Error.h"
#include "llvm/Support/raw_ostream.h"

#include <cstdint>
#include <string>
#include <vector>

namespace ingot {

/// Header of a little-endian float32 array [rows, columns] in C order.
std::string npyHeader(int64_t rows, int64_t columns);

struct FloatArray {
  int64_t rows = 0, columns = 0;
  std::vector<float> data;
};
/// Reads what npyHeader describes, and nothing else.
llvm::Expected<FloatArray> readNpy(llvm::StringRef path);

/// Parses `1,2,3` or `@FILE` (ids apart by commas or white space).
llvm::Expected<std::vector<int32_t>> parseTokens(llvm::StringRef text);

} // namespace ingot
