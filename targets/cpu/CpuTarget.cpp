// What a processor answers to the passes: encodings, layouts, tiles.
#include "targets/cpu/CpuTarget.h"

#include "targets/BlockLayout.h"
#include "targets/ComposedTarget.h"
#include "targets/cpu/CostModel.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

using namespace ingot;

const CpuMachine *CpuFamily::find(llvm::StringRef name) const {
  const auto *found =
      llvm::find_if(machines, [&](const CpuMachine &machine) { return name == machine.name; });
  return found == machines.end() ? nullptr : found;
}

std::string CpuFamily::fullName(llvm::StringRef part) const {
  for (auto [name, machine] : short_names)
    if (part == name)
      return machine;
  const CpuMachine *machine = find(part);
  return machine ? machine->name : "";
}

const CpuMachine *CpuFamily::host() const {
  const auto *found = llvm::find_if(machines, runs_here);
  return found == machines.end() ? nullptr : found;
}

std::vector<TargetName> CpuFamily::names() const {
  std::vector<TargetName> names;
  for (const CpuMachine &machine : machines)
    names.push_back({machine.name, machine.description, runs_here(machine)});
  return names;
}

std::unique_ptr<Target> CpuFamily::make(llvm::StringRef name) const {
  const CpuMachine *machine = find(name);
  return machine ? std::make_unique<CpuTarget>(*this, *machine, name) : nullptr;
}

llvm::Expected<std::unique_ptr<Target>>
CpuFamily::makeAll(llvm::StringRef name, llvm::ArrayRef<const char *> machines) const {
  std::vector<std::unique_ptr<Target>> parts;
  for (const char *machine : machines)
    parts.push_back(make(machine));
  return composeTargets(name, std::move(parts));
}

CpuTarget::CpuTarget(const CpuFamily &family, const CpuMachine &row, llvm::StringRef name)
    : family(family), row(row) {
  description.name = name.str();
  description.triple = family.triple;
  description.isa = row.isa;
  description.cpu = row.cpu;
  for (llvm::StringRef feature : llvm::split(row.features, ','))
    description.features.push_back(feature.str());
  description.baseline = family.baseline;
  description.vector_bits = row.vector_bits;
  description.vector_registers = row.vector_registers;
  description.byte_dot = row.byte_dot;
  description.dot_by_lane = family.dot_by_lane;
  auto has = [&](const char *feature) {
    return feature && llvm::is_contained(description.features, feature);
  };
  description.byte_matrices = has(family.matrix_feature);
  description.half_products = has(family.half_feature);
  description.word_pairs = family.word_pairs;
  for (const TableLookup &lookup : family.table_lookups)
    if (8 * int64_t{lookup.bytes} <= row.vector_bits)
      description.table_lookups.push_back(lookup);
  description.l1_bytes = int64_t(row.l1_kib) << 10;
  description.l2_bytes = int64_t(row.l2_kib) << 10;
  description.l3_bytes = int64_t(row.l3_kib) << 10;
  description.near_bytes = int64_t(row.near_kib) << 10;
  description.rates = row.rates;
  if (!family.elf.wide)
    description.address_bytes = int64_t{3} << 30; // the rest is the system's
}

Encoding CpuTarget::legalEncoding(const Encoding &stored) const { return storedEncoding(stored); }

PackedLayout CpuTarget::packedLayout(const Encoding &encoding) const {
  return blockLayout(encoding);
}

/// Tiles whose innermost loop does not fit the registers are none: they spill at every step, and
/// what the cost model says of that has not been measured.
std::vector<Tile> CpuTarget::tileCandidates(const KernelSpec &spec) const {
  std::vector<Tile> tiles = cpu::tileCandidates(description, spec);
  KernelSpec tiled = spec;
  llvm::erase_if(tiles, [&](const Tile &tile) {
    tiled.tile = tile;
    return tile.token_tile > 1 &&
           cpu::registersInLoop(description, tiled) > description.vector_registers;
  });
  return tiles;
}

double CpuTarget::estimate(const KernelSpec &spec, int64_t tokens, int64_t position) const {
  return cpu::estimate(description, spec, tokens, position);
}

std::string CpuTarget::halideTarget() const {
  return std::string(family.halide) + "-" + row.halide +
         "-no_asserts-no_bounds_query-no_runtime-strict_float";
}

void CpuTarget::finishKernel(llvm::Module &module) const {
  if (family.finish_kernel)
    family.finish_kernel(description, module);
}

uint64_t CpuTarget::weightsReserve() const { return family.elf.page; }

llvm::Error CpuTarget::link(const LinkInputs &inputs) const {
  return cpu::linkElf(family.elf, inputs);
}

bool CpuTarget::linksShared() const { return family.elf.system_libraries; }

std::vector<std::string> CpuTarget::runtimeFiles() const { return cpu::runtimeFiles(family.elf); }

llvm::Error CpuTarget::linkLoadable(const std::vector<std::string> &objects,
                                    const std::string &output) const {
  return cpu::linkShared(family.elf, objects, output);
}

bool CpuTarget::runsHere() const { return family.runs_here(row); }

std::string CpuTarget::emulator() const {
  return row.emulated ? std::string(family.emulator) + " -cpu " + row.emulated : family.emulator;
}
