// The link recipe of Linux: one ELF file. Programs are static unless they have libraries to load.
#pragma once

#include "targets/Target.h"

#include "llvm/BinaryFormat/ELF.h"

namespace ingot {

/// Of programs that load libraries when they run, and so are linked with the system's C library.
struct LoadingRecipe {
  const char *loader; ///< the program interpreter
  const char *folder; ///< of that C library, in LinkInputs::runtime_folder
  const char *device; ///< the archive that loads libraries, beside the runtime
};

/// What one architecture's ELF files are like.
struct ElfRecipe {
  const char *emulation; ///< ld.lld -m
  uint16_t machine;      ///< e_machine
  uint64_t weight_flags; ///< of the weights' section, besides SHF_ALLOC
  /// The largest page that systems of this architecture have. Also what is left free at the front
  /// of the weights' file: ELF header and padding up to the page on which weights start. In memory
  /// they lie as far behind a huge page as in the file.
  uint64_t page;
  const char *folder; ///< of the runtime and the C library, in LinkInputs::runtime_folder
  /// The linker's option that puts the weights behind everything else; null where it has none: then
  /// a script does.
  const char *option;
  bool wide = true;      ///< addresses have 64 bits
  bool c_library = true; ///< musl and libgcc are linked; else the runtime has what it wants of them
  const LoadingRecipe *loading = nullptr; ///< null: programs are static
  uint32_t flags = 0;                     ///< e_flags that say the ABI of an object without code
  /// What shared libraries find loaded or have the system load: its C library, and what belongs to
  /// that; names apart by spaces. Null: the system has no shared libraries.
  const char *system_libraries = nullptr;
  /// An archive of functions that this C library calls otherwise than ours, or lacks; or null.
  const char *system_names = nullptr;
};

namespace cpu {

/// Errors: what the linker said, or what the system said of `inputs.weights`.
llvm::Error linkElf(const ElfRecipe &recipe, const LinkInputs &inputs);

/// What linkElf takes of LinkInputs::runtime_folder, for any form.
std::vector<std::string> runtimeFiles(const ElfRecipe &recipe);

/// A shared object of `objects`, for dlopen.
llvm::Error linkShared(const ElfRecipe &recipe, const std::vector<std::string> &objects,
                       const std::string &output);

} // namespace cpu
} // namespace ingot
