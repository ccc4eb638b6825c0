// Compiled kernels on disk, by the hash of what determines them. Safe to share between processes
// and to delete at any time.
#pragma once

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <optional>
#include <string>

namespace ingot {

class KernelCache {
public:
  /// An empty folder name turns the cache off. The folder is made when first written to.
  explicit KernelCache(std::string folder) : folder(std::move(folder)) {}
  /// $XDG_CACHE_HOME/ingot/kernels or ~/.cache/ingot/kernels; empty where there is no home.
  static std::string defaultFolder();

  /// The object stored for `key`, nothing if there is none or it is damaged.
  std::optional<std::string> get(llvm::StringRef key) const;
  /// Stores an object. Failing to is not an error: the cache only saves time.
  void put(llvm::StringRef key, llvm::StringRef object) const;

private:
  std::string path(llvm::StringRef key) const;
  std::string folder;
};

struct KernelSpec;
class Target;

/// The object of a kernel: from the cache, or compiled and put there.
llvm::Expected<std::string> compileKernelCached(const KernelSpec &spec, const Target &target,
                                                const KernelCache &cache);

} // namespace ingot
