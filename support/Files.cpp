#include "support/Files.h"

#include "support/Error.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Signals.h"
#include "llvm/Support/raw_ostream.h"

namespace fs = llvm::sys::fs;
namespace path = llvm::sys::path;

namespace ingot {

static llvm::StringRef folderOf(llvm::StringRef file) {
  llvm::StringRef parent = path::parent_path(file);
  return parent.empty() ? "." : parent;
}

llvm::Expected<ScratchFolder> ScratchFolder::beside(llvm::StringRef output) {
  llvm::SmallString<128> model(folderOf(output)), made;
  path::append(model, "." + path::filename(output) + ".tmp");
  std::error_code error;
  for (int attempt = 0; attempt < 100; ++attempt) {
    fs::createUniquePath(model + "-%%%%%%%%", made, /*MakeAbsolute=*/false);
    error = fs::create_directory(made, /*IgnoreExisting=*/false);
    if (error != std::errc::file_exists)
      break;
  }
  if (error)
    return inputError(output, "", "cannot make a temporary folder beside it: " + error.message());
  llvm::sys::RemoveFileOnSignal(made);
  return ScratchFolder(std::string(made));
}

ScratchFolder::~ScratchFolder() {
  if (!folder.empty())
    fs::remove_directories(folder);
}

std::string ScratchFolder::file(llvm::StringRef name) const {
  llvm::SmallString<128> result(folder);
  path::append(result, name);
  llvm::sys::RemoveFileOnSignal(result);
  return std::string(result);
}

llvm::Error writeFile(llvm::StringRef path, llvm::StringRef bytes) {
  std::error_code error;
  llvm::raw_fd_ostream stream(path, error);
  if (!error) {
    stream << bytes;
    stream.close();
    error = stream.error();
    stream.clear_error();
  }
  return error ? inputError(path, "", "cannot write: " + error.message()) : llvm::Error::success();
}

llvm::Error publish(llvm::StringRef finished, llvm::StringRef path) {
  if (std::error_code error = fs::rename(finished, path))
    return inputError(path, "", "cannot put the result in place: " + error.message());
  return llvm::Error::success();
}

llvm::Error checkWritable(llvm::StringRef output) {
  if (fs::is_directory(output))
    return inputError(output, "", "is a folder", "give -o the name of the file to write");
  if (!fs::is_directory(folderOf(output)))
    return inputError(output, "", "folder '" + folderOf(output) + "' does not exist");
  if (fs::access(folderOf(output), fs::AccessMode::Write))
    return inputError(output, "", "no permission to write in '" + folderOf(output) + "'");
  return llvm::Error::success();
}

} // namespace ingot
