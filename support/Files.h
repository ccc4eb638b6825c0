// Writing files so that nobody ever sees half of one.
#pragma once

#include "llvm/ADT/ArrayRef.h"
#include "llvm/Support/Error.h"

#include <atomic>
#include <string>
#include <vector>

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

/// A huge page of memory: what PlacedFile has the page cache keep, and what addresses must agree
/// with offsets in the file modulo, so that it can be mapped.
constexpr uint64_t huge_page = 2 << 20;

/// A file of known size that is written in any order, by several threads at once; zero where
/// nothing is written.
class PlacedFile {
public:
  static llvm::Expected<PlacedFile> create(llvm::StringRef path, uint64_t bytes);
  PlacedFile(PlacedFile &&other) noexcept
      : path(std::move(other.path)), file(other.file), code(other.code.load()),
        pages(std::move(other.pages)) {
    other.file = -1;
  }
  ~PlacedFile();
  /// What goes wrong is kept for `close`; nothing is written after that.
  void write(uint64_t offset, llvm::ArrayRef<uint8_t> bytes);
  bool failed() const { return code != 0; }
  llvm::Error close();

private:
  PlacedFile(std::string path, int file, uint64_t bytes);
  void cacheInHugePages(uint64_t offset, uint64_t bytes);
  std::string path;
  int file;
  std::atomic<int> code{0};             ///< the first errno
  std::vector<std::atomic<bool>> pages; ///< huge pages of the file that the system was asked for
};

/// Moves a finished file to its name, replacing what was there at once and completely.
llvm::Error publish(llvm::StringRef finished, llvm::StringRef path);

/// Fails before any work is done where `output` could not be written: no folder, no permission, a
/// directory of that name.
llvm::Error checkWritable(llvm::StringRef output);

} // namespace ingot
