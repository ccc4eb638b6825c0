#include "codegen/cache/KernelCache.h"

#include "codegen/halide/Kernel.h"
#include "support/Hash.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

namespace ingot {

constexpr size_t hash_digits = 32;

std::string KernelCache::defaultFolder() {
  llvm::SmallString<128> folder;
  if (!llvm::sys::path::cache_directory(folder))
    return "";
  llvm::sys::path::append(folder, "ingot", "kernels");
  return std::string(folder);
}

std::string KernelCache::path(llvm::StringRef key) const {
  llvm::SmallString<128> result(folder);
  llvm::sys::path::append(result, hashBytes(key) + ".o");
  return std::string(result);
}

// An entry is the hash of the object, then the object.
std::optional<std::string> KernelCache::get(llvm::StringRef key) const {
  if (folder.empty())
    return std::nullopt;
  auto buffer = llvm::MemoryBuffer::getFile(path(key), /*IsText=*/false, false);
  if (!buffer || (*buffer)->getBufferSize() < hash_digits)
    return std::nullopt;
  const llvm::StringRef content = (*buffer)->getBuffer();
  const llvm::StringRef object = content.drop_front(hash_digits);
  if (hashBytes(object) != content.take_front(hash_digits))
    return std::nullopt;
  return object.str();
}

void KernelCache::put(llvm::StringRef key, llvm::StringRef object) const {
  if (folder.empty() || llvm::sys::fs::create_directories(folder))
    return;
  auto temporary = llvm::sys::fs::TempFile::create(path(key) + ".%%%%%%%%");
  if (!temporary)
    return llvm::consumeError(temporary.takeError());
  llvm::raw_fd_ostream stream(temporary->FD, /*shouldClose=*/false);
  stream << hashBytes(object) << object;
  stream.flush();
  const bool failed = stream.has_error();
  stream.clear_error();
  llvm::consumeError(failed ? temporary->discard() : temporary->keep(path(key)));
}

llvm::Expected<std::string> compileKernelCached(const KernelSpec &spec, const Target &target,
                                                const KernelCache &cache) {
  // The symbol is part of the object, so it is part of the key.
  const std::string key = spec.name + "\n" + kernelKey(spec, target);
  if (std::optional<std::string> object = cache.get(key))
    return std::move(*object);
  llvm::Expected<std::string> object = compileKernel(spec, target);
  if (object)
    cache.put(key, *object);
  return object;
}

} // namespace ingot
