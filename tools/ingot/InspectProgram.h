// ingot inspect of compiled programs, apart from that of model files.
#pragma once

#include "tools/ingot/Commands.h"

#include "llvm/Object/ObjectFile.h"

namespace ingot {

/// "92.08 MiB"
std::string mebibytes(uint64_t bytes);

llvm::Error inspectProgram(const llvm::object::ObjectFile &object, const InspectOptions &options);

} // namespace ingot
