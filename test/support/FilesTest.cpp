// PlacedFile: writes in any order, zeros between, errors at the end. ScratchFolder: leaves nothing.
#include "support/Files.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/MemoryBuffer.h"
#include <gtest/gtest.h>

#include <csignal>
#include <sys/resource.h>
#include <unistd.h>

using namespace ingot;

namespace {

llvm::ArrayRef<uint8_t> bytesOf(llvm::StringRef text) {
  return {reinterpret_cast<const uint8_t *>(text.data()), text.size()};
}

TEST(PlacedFile, IsZeroWhereNothingIsWritten) {
  llvm::SmallString<128> path;
  ASSERT_FALSE(llvm::sys::fs::createTemporaryFile("placed", "", path));
  llvm::FileRemover remover(path);
  auto file = PlacedFile::create(path, 10);
  ASSERT_TRUE(static_cast<bool>(file)) << llvm::toString(file.takeError());
  file->write(6, bytesOf("cd"));
  file->write(1, bytesOf("ab"));
  EXPECT_FALSE(file->failed());
  llvm::Error error = file->close();
  ASSERT_FALSE(static_cast<bool>(error)) << llvm::toString(std::move(error));
  auto buffer = llvm::MemoryBuffer::getFile(path);
  ASSERT_TRUE(static_cast<bool>(buffer));
  EXPECT_EQ((*buffer)->getBuffer(), llvm::StringRef("\0ab\0\0\0cd\0\0", 10));
}

TEST(PlacedFile, SaysWhatTheSystemSaid) {
  auto none = PlacedFile::create("/no such folder/file", 1);
  ASSERT_FALSE(static_cast<bool>(none));
  EXPECT_NE(llvm::toString(none.takeError()).find("No such file"), std::string::npos);

  llvm::SmallString<128> path;
  ASSERT_FALSE(llvm::sys::fs::createTemporaryFile("placed", "", path));
  llvm::FileRemover remover(path);
  auto file = PlacedFile::create(path, 10);
  ASSERT_TRUE(static_cast<bool>(file));
  rlimit before{}, small{};
  getrlimit(RLIMIT_FSIZE, &before);
  small = before;
  small.rlim_cur = 20;
  auto handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  file->write(100, bytesOf("a"));
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_TRUE(file->failed());
  file->write(0, bytesOf("a")); // the first error stays
  EXPECT_NE(llvm::toString(file->close()).find("File too large"), std::string::npos);
}

TEST(ScratchFolder, LeavesNothing) {
  llvm::SmallString<128> parent;
  ASSERT_FALSE(llvm::sys::fs::createUniqueDirectory("scratch", parent));
  const std::string output = (parent + "/output").str();
  auto fill = [&] {
    auto folder = ScratchFolder::beside(output);
    if (!folder || writeFile(folder->file("file"), "text"))
      _exit(1);
    return std::move(*folder);
  };
  fill();
  EXPECT_FALSE(llvm::sys::fs::remove(parent)); // it was empty
  ASSERT_FALSE(llvm::sys::fs::create_directory(parent));
  for (int signal : {SIGTERM, SIGINT}) {
    EXPECT_EXIT(
        {
          ScratchFolder folder = fill();
          raise(signal);
        },
        testing::KilledBySignal(signal), "");
  }
  EXPECT_FALSE(llvm::sys::fs::remove(parent));
}

} // namespace
