// Tiles that were measured, as a text file that can be read, committed and edited:
//
//   ingot-tiles 2
//   # any comment
//   machine znver3 on AMD EPYC
//   tile KEY tokens=4 streams=1 keys=0 code=4c53a3b0  # linear_960x576_u4g32_t192, 812.4 us; ...
//
// A `machine` line says for which processor (Machine::cpu) and on which one the tiles below it were
// found. KEY is the hash of what a kernel computes, and for which instructions; `code` begins the
// hash of how it was made. A tile for other code is a good one still, but measured anew by --tune.
#pragma once

#include "dialects/kernel/KernelSpec.h"

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <string>
#include <vector>

namespace ingot {

class Target;

struct MeasuredTile {
  std::string key; ///< tileKey
  Tile tile;
  std::string code; ///< tileCode
  std::string note; ///< for people: the kernel's name and what was measured
  int line = 0;     ///< in the file it was read from
};

struct TileSection {
  std::string target; ///< Machine::cpu
  std::string cpu;    ///< measured on: processorName()
  std::vector<MeasuredTile> tiles;
};

class TileFile {
public:
  /// Errors name the line. `may_be_missing`: then it is an empty one.
  static llvm::Expected<TileFile> read(const std::string &path, bool may_be_missing);
  static llvm::Expected<TileFile> parse(llvm::StringRef text, const std::string &name);

  /// The tile measured for `target` on `cpu`, else on any other processor; null: none.
  const MeasuredTile *find(llvm::StringRef target, llvm::StringRef cpu, llvm::StringRef key) const;
  /// As find, but on `cpu` only.
  const MeasuredTile *findHere(llvm::StringRef target, llvm::StringRef cpu,
                               llvm::StringRef key) const;
  /// Adds or replaces.
  void set(llvm::StringRef target, llvm::StringRef cpu, MeasuredTile tile);

  std::string text() const;
  /// Replaces the file at once, so that a kill leaves the old or the new one.
  llvm::Error write(const std::string &path) const;

private:
  std::vector<TileSection> sections;
};

/// The hashes that a kernel has in a file of tiles: of what it is, and of how it is made.
std::string tileKey(const KernelSpec &spec, const Target &target);
std::string tileCode(const KernelSpec &spec, const Target &target);
/// What this machine's processor calls itself.
std::string processorName();
/// "tokens=4 streams=1 keys=0"
std::string tileText(const Tile &tile);

} // namespace ingot
