// The registry and what targets answer to the passes.
#include "codegen/halide/Kernel.h"
#include "support/Error.h"
#include "targets/ComposedTarget.h"
#include "targets/Target.h"

#include "gtest/gtest.h"

#include <set>

using namespace ingot;

namespace {

Encoding integers(CodeKind code, int bits, uint32_t group, ScaleFormat scale,
                  ScaleFormat min = {}) {
  Encoding e;
  e.code = code;
  e.bits = uint8_t(bits);
  e.group_size = group;
  e.scale = scale;
  e.min = min;
  return e;
}
constexpr ScaleFormat half{CodeKind::f16, 0, false}, single{CodeKind::f32, 0, false};

std::vector<std::unique_ptr<Target>> allTargets() {
  std::vector<std::unique_ptr<Target>> targets;
  for (const TargetName &name : targetNames())
    targets.push_back(llvm::cantFail(makeTarget(name.name)));
  return targets;
}

TEST(Targets, EveryListedNameIsATarget) {
  std::set<std::string> names;
  for (const TargetName &name : targetNames()) {
    EXPECT_TRUE(names.insert(name.name).second) << name.name << " is listed twice";
    EXPECT_FALSE(name.description.empty());
    llvm::Expected<std::unique_ptr<Target>> target = makeTarget(name.name);
    ASSERT_TRUE(bool(target)) << llvm::toString(target.takeError());
    EXPECT_EQ((*target)->runsHere(), name.runs_here) << name.name;
  }
  for (const char *expected : {"x86-64-v3", "x86-64-v3-vnni", "x86-64-v4", "x86-64-v4-vnni",
                               "znver4", "aarch64-linux", "aarch64-android", "cortex-a53"})
    EXPECT_TRUE(names.count(expected)) << expected;
}

TEST(Targets, UnknownNamesListTheKnownOnes) {
  llvm::Expected<std::unique_ptr<Target>> target = makeTarget("x86-64-v2");
  ASSERT_FALSE(bool(target));
  llvm::handleAllErrors(target.takeError(), [](const InputError &error) {
    EXPECT_EQ(error.message, "unknown target 'x86-64-v2'");
    EXPECT_NE(error.help.find("x86-64-v3"), std::string::npos) << error.help;
  });
}

TEST(Targets, HostIsTheFirstMachineThatRunsHere) {
  std::string first;
  for (const TargetName &name : targetNames())
    if (name.runs_here && name.name != "host" && first.empty())
      first = name.name;
  llvm::Expected<std::unique_ptr<Target>> host = makeTarget("host");
  if (first.empty()) {
    EXPECT_FALSE(bool(host));
    llvm::consumeError(host.takeError());
    return;
  }
  ASSERT_TRUE(bool(host)) << llvm::toString(host.takeError());
  EXPECT_EQ((*host)->machine().name, "host (" + first + ")");
  EXPECT_EQ((*host)->machine().features, llvm::cantFail(makeTarget(first))->machine().features);
}

const ScaleFormat six{CodeKind::f16, 6, false}, eight{CodeKind::f16, 8, true};

TEST(Targets, LegalEncodingsHoldTheSameValues) {
  const ScaleFormat brain{CodeKind::bf16, 0, false};
  struct Case {
    Encoding stored, legal;
  } cases[] = {
      {integers(CodeKind::u, 4, 32, half, half), integers(CodeKind::u, 4, 32, half, half)},
      {integers(CodeKind::i, 8, 32, half), integers(CodeKind::i, 8, 32, half)},
      {integers(CodeKind::u, 4, 32, six, six), integers(CodeKind::u, 4, 32, six, six)},
      {integers(CodeKind::i, 6, 16, eight), integers(CodeKind::i, 6, 16, eight)},
      {integers(CodeKind::i, 8, 0, single), integers(CodeKind::i, 8, 0, single)},
      {integers(CodeKind::i, 4, 32, brain), integers(CodeKind::i, 4, 32, single)},
      {integers(CodeKind::u, 4, 32, half, single), integers(CodeKind::u, 4, 32, single, single)},
      {integers(CodeKind::i, 5, 32, half), integers(CodeKind::i, 5, 32, half)},
      {integers(CodeKind::u, 2, 16, half, half), integers(CodeKind::u, 2, 16, half, half)},
      {*Encoding::parse("iq4_nl, g32, f16"), *Encoding::parse("iq4_nl, g32, f16")},
      {*Encoding::parse("e2m1, g32, e8m0"), *Encoding::parse("e2m1, g32, e8m0")},
  };
  for (const auto &target : allTargets())
    for (const Case &c : cases) {
      const Encoding legal = target->legalEncoding(c.stored);
      EXPECT_TRUE(legal == c.legal) << target->machine().name << " bits " << int(c.stored.bits);
      EXPECT_TRUE(target->legalEncoding(legal) == legal);
    }
}

TEST(Targets, PackedLayoutsFitTheMachine) {
  for (const auto &target : allTargets()) {
    for (int bits = 2; bits <= 8; ++bits) {
      const PackedLayout layout =
          target->packedLayout(target->legalEncoding(integers(CodeKind::u, bits, 32, half, half)));
      EXPECT_EQ(layout.rows, 16);
      EXPECT_EQ(layout.k_inner, 4); // one layout, so that a program can carry several kernels
      const bool planes = bits == 2 || bits == 5 || bits == 6;
      EXPECT_EQ(layout.code_bits, planes ? bits : bits <= 4 ? 4 : 8);
      EXPECT_EQ(layout.scale_type, CodeKind::f16);
    }
    // A row's one scale: no group of whole steps is known.
    EXPECT_EQ(target->packedLayout(integers(CodeKind::i, 6, 0, half)).code_bits, 8);
    const PackedLayout powers = target->packedLayout(*Encoding::parse("e2m1, g32, e8m0"));
    EXPECT_EQ(powers.code_bits, 4);
    EXPECT_EQ(powers.scale_type, CodeKind::e8m0);
    Encoding real;
    real.code = CodeKind::bf16;
    real.bits = 16;
    EXPECT_TRUE(target->legalEncoding(real) == real);
    EXPECT_EQ(target->packedLayout(real).code_bits, 16);
    EXPECT_EQ(target->packedLayout(real).scale_type, CodeKind::none);
  }
}

TEST(Targets, TilesDivideThePaddingAndBoundTheStack) {
  for (const auto &target : allTargets())
    for (int32_t context : {512, 2048, 32768, 131072}) {
      KernelSpec spec;
      spec.max_tokens = 192;
      spec.context = context;
      spec.values.resize(2);
      spec.values[1].kind = KernelValue::Kind::matrix;
      KernelOp op;
      op.operands = {0, 1};
      for (KernelOp::Kind kind : {KernelOp::Kind::linear, KernelOp::Kind::attention}) {
        op.kind = kind;
        spec.ops = {op};
        const Tile tile = target->tile(spec);
        ASSERT_GE(tile.token_tile, 1);
        EXPECT_EQ(kTokenPadding % tile.token_tile, 0);
        // Scores and weights of a tile, in f32.
        if (kind == KernelOp::Kind::attention) {
          EXPECT_LE(int64_t(2) * 4 * context * tile.token_tile, 1 << 20);
        }
      }
      EXPECT_EQ(target->prefillTokens() % kTokenPadding, 0);
    }
}

//===--- Several in one program ------------------------------------------------------===//

std::vector<std::string> variantsOf(llvm::StringRef name) {
  std::vector<std::string> names;
  const auto target = llvm::cantFail(makeTarget(name));
  for (const Target *variant : target->variants())
    names.push_back(variant->machine().name);
  return names;
}

std::string errorOf(llvm::StringRef name) {
  auto target = makeTarget(name);
  return target ? "" : llvm::toString(target.takeError());
}

TEST(Composed, VariantsAreBestFirst) {
  using Names = std::vector<std::string>;
  EXPECT_EQ(variantsOf("znver3"), Names{"znver3"});
  EXPECT_EQ(variantsOf("x86-64-v3+v4"), (Names{"x86-64-v4-vnni", "x86-64-v3"}));
  EXPECT_EQ(variantsOf("x86-64-v3+vulkan"), (Names{"vulkan", "x86-64-v3"}));
  EXPECT_EQ(variantsOf("vulkan+v3+v4"), (Names{"vulkan", "x86-64-v4-vnni", "x86-64-v3"}));
  EXPECT_EQ(variantsOf("x86-64-v3+v3-vnni+v4"),
            (Names{"x86-64-v4-vnni", "x86-64-v3-vnni", "x86-64-v3"}));
  EXPECT_EQ(variantsOf("v4+v3"), (Names{"x86-64-v4-vnni", "x86-64-v3"}));
  EXPECT_EQ(variantsOf("x86-64-v3+x86-64-v4"), (Names{"x86-64-v4", "x86-64-v3"}));
  for (const char *name : {"aarch64-linux", "aarch64-android", "neon+i8mm+dotprod"})
    EXPECT_EQ(variantsOf(name), (Names{"aarch64-i8mm", "aarch64-dotprod", "aarch64-neon"}));
  EXPECT_EQ(variantsOf("neon+dotprod"), (Names{"aarch64-dotprod", "aarch64-neon"}));
  EXPECT_EQ(variantsOf("cortex-a53+neon+cortex-a76"),
            (Names{"cortex-a76", "cortex-a53", "aarch64-neon"}));
  EXPECT_EQ(variantsOf("x86-64-v3+znver4+znver3"), (Names{"znver4", "znver3", "x86-64-v3"}));
}

TEST(Composed, TheFloorAnswersForTheWhole) {
  const auto composed = llvm::cantFail(makeTarget("znver4+x86-64-v3"));
  const auto floor = llvm::cantFail(makeTarget("x86-64-v3"));
  EXPECT_EQ(composed->machine().name, "znver4+x86-64-v3");
  EXPECT_EQ(composed->machine().features, floor->machine().features);
  EXPECT_EQ(composed->runsHere(), floor->runsHere());
  EXPECT_EQ(composed->prefillTokens(), floor->prefillTokens());
  EXPECT_EQ(composed->weightsReserve(), floor->weightsReserve());
}

TEST(Composed, UnknownAndRepeatedPartsAreErrors) {
  EXPECT_EQ(errorOf("x86-64-v3+v9"), "--target: x86-64-v3+v9: unknown part 'v9'");
  EXPECT_EQ(errorOf("x86-64-v3+cortex-a53"),
            "--target: x86-64-v3+cortex-a53: unknown part 'cortex-a53'");
  EXPECT_EQ(errorOf("x86-64-v3+"), "--target: x86-64-v3+: unknown part ''");
  EXPECT_EQ(errorOf("x86-64-v3+v3"), "--target: x86-64-v3+v3: x86-64-v3 is there twice");
  EXPECT_EQ(errorOf("vulkan+v9"), "--target: vulkan+v9: unknown part 'v9'");
  EXPECT_EQ(errorOf("pdp11+v3"), "--target: unknown target 'pdp11+v3'");
  llvm::handleAllErrors(makeTarget("x86-64-v3+v9").takeError(), [](const InputError &error) {
    EXPECT_NE(error.help.find("x86-64-v4-vnni"), std::string::npos) << error.help;
  });
}

/// A target that packs as it is told.
class Packer final : public Target {
public:
  Packer(const char *name, int32_t k_inner, int32_t prefill = 192)
      : k_inner(k_inner), prefill(prefill) {
    description.name = name;
  }
  const Machine &machine() const override { return description; }
  Encoding legalEncoding(const Encoding &stored) const override {
    Encoding legal = stored;
    legal.bits = k_inner == 8 ? 8 : k_inner == 2 ? 4 : stored.bits;
    return legal;
  }
  PackedLayout packedLayout(const Encoding &) const override { return {16, k_inner}; }
  std::vector<Tile> tileCandidates(const KernelSpec &) const override { return {Tile()}; }
  double estimate(const KernelSpec &, int64_t, int64_t) const override { return 1; }
  llvm::Error linkLoadable(const std::vector<std::string> &, const std::string &) const override {
    return llvm::Error::success();
  }
  int32_t prefillTokens() const override { return prefill; }
  std::string halideTarget() const override { return ""; }
  void schedule(ScheduleRequest &) const override {}
  uint64_t weightsReserve() const override { return 0; }
  llvm::Error link(const LinkInputs &) const override { return llvm::Error::success(); }
  bool runsHere() const override { return k_inner == 4; }

private:
  Machine description;
  int32_t k_inner, prefill;
};

llvm::Expected<std::unique_ptr<Target>> composed(std::vector<Packer> packers) {
  std::vector<std::unique_ptr<Target>> parts;
  for (const Packer &packer : packers)
    parts.push_back(std::make_unique<Packer>(packer));
  return composeTargets("both", std::move(parts));
}

TEST(Composed, WeightsArePackedOnce) {
  const Encoding encoding = integers(CodeKind::u, 4, 32, half, half);
  auto same = llvm::cantFail(composed({{"new", 4}, {"old", 4}}));
  EXPECT_EQ(llvm::cantFail(commonPackedLayout(*same, encoding)).k_inner, 4);
  EXPECT_TRUE(llvm::cantFail(commonLegalEncoding(*same, encoding)) == encoding);
  auto other = llvm::cantFail(composed({{"new", 4}, {"newish", 4}, {"old", 2}}));
  EXPECT_EQ(llvm::toString(commonPackedLayout(*other, encoding).takeError()),
            "new and old pack weights of u4, g32, f16+f16 differently, so they cannot share a "
            "program");
  EXPECT_TRUE(other->runsHere());
  auto wide = llvm::cantFail(composed({{"old", 4}, {"wide", 8}})); // which both read
  EXPECT_EQ(llvm::cantFail(commonLegalEncoding(*wide, encoding)).bits, 8);
  auto wider = llvm::cantFail(composed({{"new", 8}, {"old", 2}}));
  EXPECT_EQ(llvm::toString(commonLegalEncoding(*wider, encoding).takeError()),
            "new and old read weights of u4, g32, f16+f16 differently, so they cannot share a "
            "program");
  EXPECT_FALSE(wider->runsHere());
  EXPECT_EQ(llvm::toString(composed({{"new", 4}, {"old", 4, 96}}).takeError()),
            "--target: both: new and old cannot share steps and weights");
}

} // namespace
