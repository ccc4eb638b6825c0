// The instructions that AArch64 machines' kernels are made of.
#include "test/codegen/halide/Code.h"

using namespace ingot;
using namespace ingot::test;

namespace {

// A group is 8 steps of 4 elements of 16 rows: registers of 16 codes.
constexpr int steps = 8, registers = 4;

TEST(AArch64Code, DotProductsTakeFourElementsOfEachRow) {
  for (const char *name : {"cortex-a76", "cortex-a78", "apple-m1"})
    for (const Encoding &encoding : {u4, i8}) {
      const auto target = targetNamed(name);
      const std::string one = assembly(linearSpec(*target, encoding, 1), *target);
      EXPECT_EQ(count(one, "sdot"), steps * registers) << name;
      const KernelSpec spec = linearSpec(*target, encoding, 192);
      const std::string many = assembly(spec, *target);
      EXPECT_EQ(count(many, "sdot"), steps * registers * spec.tile.token_tile) << name;
      EXPECT_GT(spec.tile.token_tile, 1) << name;
      for (const std::string &text : {one, many}) {
        for (const char *other : {"smull", "smlal", "mul\t", "mla\t", "madd\tw", "ldrb", "ldrsb"})
          EXPECT_EQ(count(text, other), 0) << name << " " << other;
      }
    }
}

/// The code between labels that has `mnemonic`.
std::vector<std::string> blocksWith(llvm::StringRef text, llvm::StringRef mnemonic) {
  std::vector<std::string> blocks(1);
  for (llvm::StringRef line : llvm::split(text, '\n')) {
    if (line.starts_with("."))
      blocks.emplace_back();
    blocks.back() += (line + "\n").str();
  }
  llvm::erase_if(blocks, [&](const std::string &block) { return !test::count(block, mnemonic); });
  return blocks;
}

TEST(AArch64Code, MatrixProductsTakeTwoTokens) {
  for (const char *name : {"aarch64-i8mm", "neoverse-v1", "cortex-x2"})
    for (const Encoding &encoding : {u4, i8}) {
      const auto target = targetNamed(name);
      const std::string one = assembly(linearSpec(*target, encoding, 1), *target);
      EXPECT_EQ(count(one, "sdot"), steps * registers) << name;
      EXPECT_EQ(count(one, "smmla"), 0) << name;
      const KernelSpec spec = linearSpec(*target, encoding, 192);
      const std::string many = assembly(spec, *target);
      EXPECT_EQ(spec.tile.token_tile % 2, 0) << name;
      EXPECT_EQ(count(many, "smmla"), steps * registers * spec.tile.token_tile / 2) << name;
      for (const char *other : {"sdot", "smull", "smlal", "mla\t", "madd\tw", "ldrb", "ldrsb"})
        EXPECT_EQ(count(many, other), 0) << name << " " << other;
      // Codes are zipped when they are unpacked, not for every tile; activations, 4 times a pair of
      // tokens.
      for (const std::string &block : blocksWith(many, "smmla"))
        for (llvm::StringRef line : llvm::split(block, '\n'))
          EXPECT_FALSE(line.contains("zip") && line.contains(".4s")) << name << line.str();
    }
}

TEST(AArch64Code, WithoutDotProductsBytesAreMultipliedLaneByLane) {
  const auto target = targetNamed("cortex-a53");
  for (int32_t tokens : {1, 192}) {
    // One token: a group in a straight line. A tile: a loop over 2 steps. Two halves a register.
    const KernelSpec narrow = linearSpec(*target, u4, tokens),
                     wide = linearSpec(*target, i8, tokens);
    auto products = [&](const KernelSpec &spec) {
      return 2 * registers * (tokens == 1 ? steps : 2 * spec.tile.token_tile);
    };
    const std::string four = assembly(narrow, *target), eight = assembly(wide, *target);
    EXPECT_EQ(count(four, "smlal") + count(four, "smull"), products(narrow));
    EXPECT_EQ(count(eight, "smull"), products(wide));
    EXPECT_EQ(count(eight, "sadalp") + count(eight, "saddlp"), products(wide));
    for (const std::string &text : {four, eight})
      for (const char *other :
           {"sdot", "udot", "mul\tv", "mla\t", "sxtl", "sshll", "ldrb", "ldrsb"})
        EXPECT_EQ(count(text, other), 0) << other;
  }
}

/// Keys and values are read as pairs, and every element is multiplied and added by one instruction.
TEST(AArch64Code, AttentionMultipliesAndAddsAtOnce) {
  for (const char *name : {"cortex-a53", "cortex-a76"})
    for (int32_t tokens : {1, 192}) {
      const auto target = targetNamed(name);
      const std::string text = assembly(attentionSpec(*target, tokens, 2048, CodeKind::i), *target);
      EXPECT_GE(count(text, "smlal"), 32) << name;
      EXPECT_GE(count(text, "ld2"), 2) << name;
      EXPECT_EQ(count(text, "smull"), 0) << name;
      EXPECT_EQ(count(text, "addp"), 0) << name;
    }
}

/// Halves are multiplied as they are, those of activations from the lane of a register, and nothing
/// is widened but scales.
TEST(AArch64Code, HalvesAreMultipliedWhereTheyAre) {
  const Encoding f16 = floats(CodeKind::f16);
  constexpr int group = 32, at_once = 8; // elements of a group; of a turn of the loop
  for (const char *name : {"aarch64-i8mm", "neoverse-v1", "cortex-x2", "apple-m1"})
    for (const Encoding &encoding : {f16, u4, i8})
      for (int32_t tokens : {1, 192}) {
        const auto target = targetNamed(name);
        const KernelSpec spec = halvesSpec(*target, encoding, tokens);
        const bool many = tokens > 1, straight = !many && encoding.isFloat();
        EXPECT_EQ(spec.tile.token_tile > 1, many) << name;
        const std::string text = assembly(spec, *target);
        EXPECT_EQ(count(text, "fmlal"),
                  registers * spec.tile.token_tile * (straight ? group : at_once))
            << name << " " << tokens;
        for (llvm::StringRef line : llvm::split(text, '\n'))
          if (line.contains("fmlal"))
            EXPECT_TRUE(line.contains(".h[")) << name << " " << line.str();
        const int numbers = encoding.isFloat() ? 0 : encoding.symmetric() ? 1 : 2;
        EXPECT_LE(count(text, "fcvtl"), 2 * registers * numbers) << name << " " << tokens;
        for (const char *other : {"fcvt\t", "fmadd", "ldrb", "ldrh", "fmla\tv0.8h"})
          EXPECT_EQ(count(text, other), 0) << name << " " << tokens << " " << other;
        // Of several streams and of the order in which they meet, one code is unpacked once.
        if (!encoding.isFloat())
          EXPECT_LE(count(text, "ucvtf") + count(text, "scvtf"), 2 * group + 24) << name;
      }
  const auto without = targetNamed("cortex-a76");
  for (const Encoding &encoding : {f16, u4})
    for (int32_t tokens : {1, 192}) {
      const std::string text = assembly(halvesSpec(*without, encoding, tokens), *without);
      EXPECT_EQ(count(text, "fmlal"), 0);
      EXPECT_GE(count(text, "fmla"), 2 * registers);
    }
}

TEST(AArch64Code, OnlyInstructionsOfTheMachine) {
  for (const TargetName &name : targetNames()) {
    const auto target = targetNamed(name.name);
    if (!llvm::StringRef(target->machine().triple).starts_with("aarch64") ||
        target->variants().size() > 1)
      continue;
    const bool dots = llvm::is_contained(target->machine().features, "dotprod");
    for (const KernelSpec &spec : someKernels(*target)) {
      const std::string text = assembly(spec, *target);
      EXPECT_TRUE(dots || count(text, "sdot") + count(text, "udot") == 0) << name.name;
      EXPECT_TRUE(target->machine().half_products || count(text, "fmlal") == 0) << name.name;
      // Sums in half precision round differently; atomics and SVE are nobody's here.
      for (const char *other : {"fmla\tv0.8h", "fadd\th", "ldadd", "whilel", "ptrue", "usmmla"})
        EXPECT_EQ(count(text, other), 0) << name.name << " " << other;
      EXPECT_TRUE(target->machine().byte_matrices || count(text, "smmla") == 0) << name.name;
    }
  }
}

} // namespace
