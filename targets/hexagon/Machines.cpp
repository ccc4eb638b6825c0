// The table of Hexagon machines.
#include "targets/cpu/CpuTarget.h"
#include "targets/hexagon/HexagonTarget.h"
#include "targets/hexagon/Kernels.h"
#include "targets/hexagon/Schedules.h"

#include "llvm/ADT/STLExtras.h"

using namespace ingot;

namespace {

// A packet a cycle has 4 instructions, of which 2 multiply bytes (vrmpy: 128 products) and one
// loads.
constexpr Rates v68{4, 2, 4, 1, 1, 1.2, 8};

// The vector memory (VTCM) of a Snapdragon 888 (SM8350) has 4 MiB: LiteRT's table of Qualcomm's
// processors (litert/vendors/qualcomm/core/schema/soc_table.cc).
constexpr CpuMachine machines[] = {
    {"hexagon-v68", "Hexagon V68 with HVX (Snapdragon 888)", "hvx", "hexagonv68", "hvx_128-hvx_v68",
     "v68,hvxv68,hvx-length128b", 1024, 32, ByteDot::mixed_quads, 32, 1024, 0, v68, nullptr, 4096},
};

// The compiler itself runs on another family.
bool runsHere(const CpuMachine &) { return false; }

const CpuFamily family{"hexagon-unknown-linux-musl",
                       "hexagon-32-noos",
                       /*dot_by_lane=*/false,
                       /*word_pairs=*/true,
                       {"hexagonelf", llvm::ELF::EM_HEXAGON, 0, 65536, "hexagon", nullptr,
                        /*wide=*/false, /*c_library=*/false},
                       machines,
                       runsHere,
                       "qemu-hexagon -cpu v67",
                       {}};

class HexagonTarget final : public CpuTarget {
public:
  HexagonTarget(const CpuFamily &family, const CpuMachine &row, llvm::StringRef name)
      : CpuTarget(family, row, name) {}

  std::string kernelCode(const KernelSpec &spec) const override {
    return hexagon::kernelCode(spec, description);
  }
  NearUse nearUse(const KernelSpec &spec, int64_t tokens) const override {
    return hexagon::nearUse(spec, description, tokens);
  }
  void schedule(ScheduleRequest &request) const override { hexagon::schedule(request); }
  /// Sums are those of other machines in all but the last bits, which decide codes of 8 bits often.
  Activations activations() const override { return Activations::int16; }
  llvm::ArrayRef<Activations> readableActivations() const override {
    return Target::readableActivations(); // no halves
  }
  int32_t prefillTokens() const override { return 3 * kTokenPadding; }
  /// What the functions of the runtime have: 4 tokens, or as many as there are.
  std::vector<Tile> tileCandidates(const KernelSpec &spec) const override {
    std::vector<Tile> tiles = CpuTarget::tileCandidates(spec);
    llvm::erase_if(tiles, [](const Tile &tile) { return tile.token_tile > 4 || tile.streams > 1; });
    return {tiles.back()};
  }
  /// The vector unit is a program's as long as it runs.
  std::vector<std::string> needlessCalls() const override {
    return {"halide_qurt_hvx_lock", "halide_qurt_hvx_unlock_as_destructor"};
  }
};

} // namespace

std::vector<TargetName> ingot::hexagonTargetNames() { return family.names(); }

std::string ingot::hexagonFullName(llvm::StringRef part) { return family.fullName(part); }

llvm::Expected<std::unique_ptr<Target>> ingot::makeHexagonTarget(llvm::StringRef name) {
  if (const CpuMachine *machine = family.find(name))
    return std::make_unique<HexagonTarget>(family, *machine, name);
  return std::unique_ptr<Target>();
}
