// Writes the header of a file of weights (Split.h).
#include "codegen/link/Split.h"

#include "runtime/core/weights.h"
#include "support/Error.h"

#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/raw_ostream.h"

namespace ingot {

llvm::Expected<std::string> sealWeights(const std::string &path, uint64_t reserve, uint64_t bytes) {
  using namespace runtime;
  namespace fs = llvm::sys::fs;
  if (reserve < sizeof(WeightsHeader))
    return inputError("--split", "", "programs for this target keep their weights themselves");
  // In pieces, so that no more of a large file is mapped at a time.
  constexpr uint64_t piece = 32 << 20;
  WeightsHasher hasher;
  for (uint64_t at = 0; at < bytes; at += piece) {
    auto read = llvm::MemoryBuffer::getFileSlice(path, std::min(piece, bytes - at), reserve + at);
    if (!read)
      return inputError(path, "", read.getError().message());
    hasher.add(reinterpret_cast<const uint8_t *>((*read)->getBufferStart()),
               (*read)->getBufferSize());
  }
  WeightsHeader header{{}, weights_version, 0, reserve, bytes, hasher.finish(), {}};
  memcpy(header.magic, weights_magic, sizeof header.magic);
  header.check = header.checked();
  std::error_code error;
  llvm::raw_fd_ostream stream(path, error, fs::CD_OpenExisting, fs::FA_Write, fs::OF_None);
  if (!error) {
    stream.write(reinterpret_cast<const char *>(&header), sizeof header);
    stream.close();
    error = stream.error();
    stream.clear_error();
  }
  if (error)
    return inputError(path, "", "cannot write: " + error.message());
  std::string text;
  llvm::raw_string_ostream(text) << llvm::format_hex_no_prefix(header.hash.words[0], 16)
                                 << llvm::format_hex_no_prefix(header.hash.words[1], 16);
  return text;
}

} // namespace ingot
