// Writing files so that nobody ever sees half of one.
#pragma once

#include "llvm/ADT/ArrayRef.h"
#include "llvm/Support/Error.h"

#include <string>

namespace ingot {

/// A folder for intermediate files, made beside `output` so that the result can be renamed into
/// place; removed with everything in it when the object dies or a signal ends the program.
class ScratchFolder {
public:
  static llvm::Expected<ScratchFolder> beside(llvm::StringRef output);
  ScratchFolder(ScratchFolder &&other) noexcept : folder(std::move(other.folder)) {
    other.folder.clear();
  }
  ~ScratchFolder();
  /// Path of a file in the folder; removed on a signal.
  std::string file(llvm::StringRef name) const;

private:
  explicit ScratchFolder(std::string folder) : folder(std::move(folder)) {}
  std::string folder;
};

/// Writes `bytes` to `path`. The error names the path and says what the system said.
llvm::Error writeFile(llvm::StringRef path, llvm::StringRef bytes);

/// Moves a finished file to its name, replacing what was there at once and completely.
llvm::Error publish(llvm::StringRef finished, llvm::StringRef path);

/// Fails before any work is done where `output` could not be written: no folder, no permission, a
/// directory of that name.
llvm::Error checkWritable(llvm::StringRef output);

} // namespace ingot
