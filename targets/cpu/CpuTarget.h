// What families of processors with vector registers share: a machine is a row of its family's
// table, and everything else follows from it.
#pragma once

#include "targets/Target.h"
#include "targets/cpu/LinkElf.h"

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/STLExtras.h"

namespace ingot {

/// One processor (or level of an architecture) as plain data.
struct CpuMachine {
  const char *name, *description;
  const char *isa;      ///< Machine::isa
  const char *cpu;      ///< Machine::cpu
  const char *halide;   ///< Halide's features, joined by '-'
  const char *features; ///< LLVM's names of what the code needs, joined by ','
  int32_t vector_bits, vector_registers;
  ByteDot byte_dot;
  int32_t l1_kib, l2_kib, l3_kib;
  Rates rates;
  const char *emulated = nullptr; ///< as the emulator calls it; null: it does not know this one
  int32_t near_kib = 0;           ///< Machine::near_bytes
};

/// What the machines of one table share.
struct CpuFamily {
  const char *triple;           ///< Machine::triple
  const char *halide;           ///< architecture and system as Halide spells them: "x86-64-linux"
  bool dot_by_lane, word_pairs; ///< as in Machine
  ElfRecipe elf;
  llvm::ArrayRef<CpuMachine> machines; ///< best first: the host is the first one that runs here
  bool (*runs_here)(const CpuMachine &machine);
  const char *emulator; ///< a program: Target::emulator
  /// What parts of a composed target may be called instead: {"v3", "x86-64-v3"}.
  llvm::ArrayRef<std::pair<const char *, const char *>> short_names;
  const char *baseline = ""; ///< Machine::baseline
  /// The feature of machines that have Machine::byte_matrices; null: none does.
  const char *matrix_feature = nullptr;
  /// Target::finishKernel; null: nothing is left to do.
  void (*finish_kernel)(const Machine &machine, llvm::Module &module) = nullptr;
  /// Those of Machine::table_lookups that fit its vectors; narrowest first.
  llvm::ArrayRef<TableLookup> table_lookups = {};
  /// The feature of machines that have Machine::half_products; null: none does.
  const char *half_feature = nullptr;

  /// Null when the table has no such name.
  const CpuMachine *find(llvm::StringRef name) const;
  /// The name in the table that a part of a composed target means. Empty: unknown.
  std::string fullName(llvm::StringRef part) const;
  /// The first machine that runs here; null when none does.
  const CpuMachine *host() const;
  std::vector<TargetName> names() const;
  /// The target for a machine of the table; null where there is no such name.
  std::unique_ptr<Target> make(llvm::StringRef name) const;
  /// Several of them in one program.
  llvm::Expected<std::unique_ptr<Target>> makeAll(llvm::StringRef name,
                                                  llvm::ArrayRef<const char *> machines) const;
};

/// Weights of steps of at most 8 tokens come from memory, like those of one token, so they pass
/// once, group by group, by all tokens (SchedulesLinear.cpp).
inline bool weightsPassOnce(const KernelSpec &spec, DotForm form) {
  return spec.max_tokens <= 8 && form != DotForm::floats;
}

class CpuTarget : public Target {
public:
  CpuTarget(const CpuFamily &family, const CpuMachine &row, llvm::StringRef name);

  const Machine &machine() const override { return description; }
  Encoding legalEncoding(const Encoding &stored) const override;
  PackedLayout packedLayout(const Encoding &encoding) const override;
  std::vector<Tile> tileCandidates(const KernelSpec &spec) const override;
  double estimate(const KernelSpec &spec, int64_t tokens, int64_t position) const override;
  llvm::ArrayRef<Activations> readableActivations() const override { return allActivations; }
  bool multipliesHalves() const override {
    return llvm::is_contained(readableActivations(), Activations::f16);
  }
  int32_t prefillTokens() const override { return 192; }
  std::string halideTarget() const override;
  void finishKernel(llvm::Module &module) const override;
  void schedule(ScheduleRequest &request) const override;
  uint64_t weightsReserve() const override;
  llvm::Error link(const LinkInputs &inputs) const override;
  bool linksShared() const override;
  std::vector<std::string> runtimeFiles() const override;
  llvm::Error linkLoadable(const std::vector<std::string> &objects,
                           const std::string &output) const override;
  bool runsHere() const override;
  std::string emulator() const override;

protected:
  const CpuFamily &family;
  const CpuMachine &row;
  Machine description;
};

} // namespace ingot
