#include "support/Files.h"

#include "support/Error.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Signals.h"
#include "llvm/Support/raw_ostream.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <mutex>
#include <sys/mman.h>
#include <unistd.h>

namespace fs = llvm::sys::fs;
namespace path = llvm::sys::path;

namespace ingot {

static llvm::StringRef folderOf(llvm::StringRef file) {
  llvm::StringRef parent = path::parent_path(file);
  return parent.empty() ? "." : parent;
}

/// Folders to remove when a signal ends the program: LLVM removes files only.
static std::array<std::atomic<char *>, 8> folders_on_signal;

static void endBySignal(int signal) {
  llvm::sys::RunInterruptHandlers(); // removes the files
  for (const std::atomic<char *> &folder : folders_on_signal)
    if (const char *name = folder.load())
      rmdir(name);
  std::signal(signal, SIG_DFL);
  raise(signal);
}

static void removeFolderOnSignal(llvm::StringRef folder) {
  static std::once_flag once;
  std::call_once(once, [] {
    for (int signal : {SIGHUP, SIGINT, SIGTERM})
      std::signal(signal, endBySignal);
  });
  char *name = strdup(folder.str().c_str());
  for (std::atomic<char *> &slot : folders_on_signal)
    if (char *none = nullptr; slot.compare_exchange_strong(none, name))
      return;
  free(name); // more at once than anything makes: that one would stay, empty
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
  llvm::sys::RemoveFileOnSignal(made); // LLVM's handlers are there from now on
  removeFolderOnSignal(made);
  return ScratchFolder(std::string(made));
}

ScratchFolder::~ScratchFolder() {
  if (folder.empty())
    return;
  fs::remove_directories(folder);
  for (std::atomic<char *> &slot : folders_on_signal)
    if (char *name = slot.load();
        name && folder == name && slot.compare_exchange_strong(name, nullptr))
      free(name);
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

static llvm::Error cannotWrite(llvm::StringRef path, int code) {
  return inputError(path, "",
                    "cannot write: " + std::error_code(code, std::generic_category()).message());
}

llvm::Expected<PlacedFile> PlacedFile::create(llvm::StringRef path, uint64_t bytes) {
  PlacedFile made(path.str(), -1, bytes);
  made.file = open(made.path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (made.file < 0 || ftruncate(made.file, static_cast<off_t>(bytes)))
    return cannotWrite(path, errno);
  return made;
}

PlacedFile::~PlacedFile() {
  if (file >= 0)
    ::close(file);
}

PlacedFile::PlacedFile(std::string path, int file, uint64_t bytes)
    : path(std::move(path)), file(file), pages(bytes / huge_page) {}

/// Small writes would be kept in small pages of the page cache, which whoever maps the file then
/// pays for one by one. A read of an advised mapping gets a huge page, where the file system has
/// those; the writes that follow fill it. Elsewhere this does nothing.
void PlacedFile::cacheInHugePages(uint64_t offset, uint64_t bytes) {
  for (uint64_t page = offset / huge_page; page * huge_page < offset + bytes; ++page) {
    if (page >= pages.size() || pages[page].exchange(true))
      continue;
    // An address that is a multiple of the page's size lies somewhere in twice its size.
    void *room = mmap(nullptr, 2 * huge_page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (room == MAP_FAILED)
      return;
    auto *at =
        reinterpret_cast<uint8_t *>(llvm::alignTo(reinterpret_cast<uint64_t>(room), huge_page));
    void *mapped = mmap(at, huge_page, PROT_READ, MAP_SHARED | MAP_FIXED, file,
                        static_cast<off_t>(page * huge_page));
    if (mapped != MAP_FAILED && !madvise(mapped, huge_page, MADV_HUGEPAGE))
      madvise(mapped, huge_page, MADV_POPULATE_READ);
    munmap(room, 2 * huge_page);
  }
}

void PlacedFile::write(uint64_t offset, llvm::ArrayRef<uint8_t> bytes) {
  cacheInHugePages(offset, bytes.size());
  while (!bytes.empty() && !failed()) {
    const ssize_t count = pwrite(file, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (count > 0) {
      bytes = bytes.drop_front(count);
      offset += count;
    } else if (count == 0 || errno != EINTR) {
      int none = 0;
      code.compare_exchange_strong(none, count ? errno : ENOSPC);
    }
  }
}

llvm::Error PlacedFile::close() {
  const int result = ::close(file);
  file = -1;
  if (failed())
    return cannotWrite(path, code);
  return result ? cannotWrite(path, errno) : llvm::Error::success();
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
