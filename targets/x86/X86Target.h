// x86-64 as a target: AVX2 with FMA and F16C at least, AVX-512 with VNNI at best.
#pragma once

#include "targets/Target.h"

#include "llvm/ADT/ArrayRef.h"

namespace ingot {

/// One processor (or level of the psABI) as plain data.
struct X86Machine {
  const char *name, *description;
  const char *isa;      ///< Machine::isa
  const char *cpu;      ///< Machine::cpu
  const char *halide;   ///< Halide's features, joined by '-'
  const char *features; ///< LLVM's names of what the code needs, joined by ','
  int32_t vector_bits, vector_registers;
  bool dot_saturates;
  int32_t l1_kib, l2_kib, l3_kib;
  Rates rates;
};

/// Best first: the host is the first one whose features it has.
llvm::ArrayRef<X86Machine> x86Machines();
/// The first machine of the table that runs here; null when none does.
const X86Machine *x86HostMachine();

/// Weights of steps of at most 8 tokens come from memory, like those of one token, so they pass
/// once, group by group, by all tokens (SchedulesLinear.cpp).
inline bool weightsPassOnce(const KernelSpec &spec, DotForm form) {
  return spec.max_tokens <= 8 && form != DotForm::floats;
}

class X86Target final : public Target {
public:
  X86Target(const X86Machine &row, llvm::StringRef name);

  const Machine &machine() const override { return description; }
  Encoding legalEncoding(const Encoding &stored) const override;
  PackedLayout packedLayout(const Encoding &encoding) const override;
  std::vector<Tile> tileCandidates(const KernelSpec &spec) const override;
  double estimate(const KernelSpec &spec, int64_t tokens, int64_t position) const override;
  int32_t prefillTokens() const override { return 192; }
  std::string halideTarget() const override;
  void schedule(ScheduleRequest &request) const override;
  uint64_t weightsReserve() const override;
  llvm::Error link(const LinkInputs &inputs) const override;
  llvm::Error linkLoadable(const std::vector<std::string> &objects,
                           const std::string &output) const override;
  bool runsHere() const override;

private:
  const X86Machine &row;
  Machine description;
};

std::vector<TargetName> x86TargetNames();
/// Null for a name that is not of this family.
llvm::Expected<std::unique_ptr<Target>> makeX86Target(llvm::StringRef name);
/// The machine that a part of a composed target means: "host", "v4", or its name. Empty: unknown.
std::string x86FullName(llvm::StringRef part);

} // namespace ingot
