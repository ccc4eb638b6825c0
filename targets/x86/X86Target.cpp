// What an x86-64 target answers to the passes: encodings, layouts, tiles.
#include "targets/x86/X86Target.h"

#include "support/Error.h"
#include "targets/x86/CostModel.h"
#include "targets/x86/LinkElf.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

using namespace ingot;

X86Target::X86Target(const X86Machine &row, llvm::StringRef name) : row(row) {
  description.name = name.str();
  description.triple = "x86_64-unknown-linux-gnu";
  description.isa = row.isa;
  description.cpu = row.cpu;
  for (llvm::StringRef feature : llvm::split(row.features, ','))
    description.features.push_back(feature.str());
  description.vector_bits = row.vector_bits;
  description.vector_registers = row.vector_registers;
  description.dot_saturates = row.dot_saturates;
  description.l1_bytes = int64_t(row.l1_kib) << 10;
  description.l2_bytes = int64_t(row.l2_kib) << 10;
  description.l3_bytes = int64_t(row.l3_kib) << 10;
  description.rates = row.rates;
}

/// Integer codes keep their bits; scales become one float per group: f16 where the stored ones are
/// f16, f32 otherwise (two-level scales are products that f16 cannot hold). A matrix has one scale
/// type for scales and mins.
Encoding X86Target::legalEncoding(const Encoding &stored) const {
  Encoding legal = stored;
  if (stored.isFloat())
    return legal;
  auto wide = [](const ScaleFormat &scale) {
    return scale.type != CodeKind::none && (scale.sub_bits || scale.type != CodeKind::f16);
  };
  const CodeKind type = wide(stored.scale) || wide(stored.min) ? CodeKind::f32 : CodeKind::f16;
  legal.scale = {type, 0, false};
  if (!stored.symmetric())
    legal.min = {type, 0, false};
  return legal;
}

PackedLayout X86Target::packedLayout(const Encoding &encoding) const {
  PackedLayout layout;
  if (encoding.isFloat()) {
    layout.k_inner = 1;
    layout.code_bits = encoding.code == CodeKind::f32 ? 32 : 16;
    layout.scale_type = CodeKind::none;
    return layout;
  }
  layout.k_inner = 4; // two pairs, or what vpdpbusd takes: one layout for all
  layout.code_bits = encoding.bits <= 4 ? 4 : 8;
  layout.scale_type = encoding.scale.type;
  return layout;
}

/// Tiles whose innermost loop does not fit the registers are none: they spill at every step, and
/// what the cost model says of that has not been measured.
std::vector<Tile> X86Target::tileCandidates(const KernelSpec &spec) const {
  std::vector<Tile> tiles = x86::tileCandidates(spec);
  KernelSpec tiled = spec;
  llvm::erase_if(tiles, [&](const Tile &tile) {
    tiled.tile = tile;
    return tile.token_tile > 1 &&
           x86::registersInLoop(description, tiled) > description.vector_registers;
  });
  return tiles;
}

double X86Target::estimate(const KernelSpec &spec, int64_t tokens, int64_t position) const {
  return x86::estimate(description, spec, tokens, position);
}

std::string X86Target::halideTarget() const {
  return std::string("x86-64-linux-") + row.halide +
         "-no_asserts-no_bounds_query-no_runtime-strict_float";
}

uint64_t X86Target::weightsReserve() const { return x86::weights_reserve; }

llvm::Error X86Target::link(const LinkInputs &inputs) const { return x86::linkElf(inputs); }

llvm::Error X86Target::linkLoadable(const std::vector<std::string> &objects,
                                    const std::string &output) const {
  return x86::linkShared(objects, output);
}

llvm::Expected<std::unique_ptr<Target>> ingot::makeX86Target(llvm::StringRef name) {
  if (name == "host") {
    const X86Machine *host = x86HostMachine();
    if (!host)
      return inputError("--target", "", "this processor lacks AVX2, FMA or F16C",
                        "name the machine that will run the program, e.g. --target=x86-64-v3");
    return std::make_unique<X86Target>(*host, "host (" + std::string(host->name) + ")");
  }
  for (const X86Machine &machine : x86Machines())
    if (name == machine.name)
      return std::make_unique<X86Target>(machine, name);
  return std::unique_ptr<Target>();
}
