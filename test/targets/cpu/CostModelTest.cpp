// The choice of tiles: legal for the buffers, within the registers, no tokens in vain.
#include "targets/cpu/CostModel.h"

#include "gtest/gtest.h"
#include <algorithm>

using namespace ingot;
using Kind = KernelOp::Kind;

namespace {

/// Those with processors for machines: the model is theirs.
std::vector<std::unique_ptr<Target>> allTargets() {
  std::vector<std::unique_ptr<Target>> targets;
  for (const TargetName &name : targetNames())
    if (auto target = llvm::cantFail(makeTarget(name.name));
        llvm::all_of(target->variants(), [](const Target *variant) {
          return variant->kernelForm() == KernelForm::objects;
        }))
      targets.push_back(std::move(target));
  return targets;
}

KernelSpec linear(const Target &target, int bits, int32_t max_tokens, bool quantized = true) {
  KernelSpec spec;
  spec.max_tokens = max_tokens;
  spec.values.resize(3);
  spec.values[0].kind = quantized ? KernelValue::Kind::quant : KernelValue::Kind::rows;
  spec.values[0].width = 576;
  KernelValue &matrix = spec.values[1];
  matrix.kind = KernelValue::Kind::matrix;
  matrix.width = 576;
  matrix.height = 1536;
  matrix.encoding.code = CodeKind::u;
  matrix.encoding.bits = uint8_t(bits);
  matrix.encoding.group_size = 32;
  matrix.encoding.scale.type = matrix.encoding.min.type = CodeKind::f16;
  matrix.layout = target.packedLayout(matrix.encoding);
  spec.values[2].width = 1536;
  KernelOp op;
  op.kind = Kind::linear;
  op.operands = {0, 1};
  op.result = 2;
  op.act_group = 32;
  spec.ops = {op};
  spec.inputs = {0, 1};
  spec.outputs = {2};
  return spec;
}

KernelSpec attention(int32_t max_tokens, int32_t context, CodeKind kv = CodeKind::i) {
  KernelSpec spec;
  spec.max_tokens = max_tokens;
  spec.context = context;
  spec.kv = kv;
  spec.values.resize(3);
  spec.values[0].width = spec.values[2].width = 576;
  spec.values[1].kind = KernelValue::Kind::cache;
  spec.values[1].width = 192;
  KernelOp op;
  op.kind = Kind::attention;
  op.operands = {0, 1};
  op.result = 2;
  op.heads = 9, op.kv_heads = 3, op.head_dim = 64, op.scale = 0.125;
  spec.ops = {op};
  spec.inputs = {0, 1};
  spec.outputs = {2};
  return spec;
}

/// Every kind of kernel that has tiles, for one target.
std::vector<KernelSpec> manyKernels(const Target &target) {
  std::vector<KernelSpec> specs;
  for (int32_t tokens : {1, 2, 3, 4, 5, 7, 8, 16, 23, 24, 25, 64, 192})
    for (int bits : {4, 8})
      for (bool quantized : {true, false})
        specs.push_back(linear(target, bits, tokens, quantized));
  for (int32_t context : {40, 512, 2048, 32768, 131072})
    for (CodeKind kv : {CodeKind::i, CodeKind::f16, CodeKind::f32})
      specs.push_back(attention(192, context, kv));
  return specs;
}

TEST(CostModel, CandidatesStayWithinTheBuffers) {
  for (const auto &target : allTargets())
    for (const KernelSpec &spec : manyKernels(*target)) {
      const std::vector<Tile> tiles = target->tileCandidates(spec);
      ASSERT_FALSE(tiles.empty());
      for (const Tile &tile : tiles) {
        ASSERT_GE(tile.token_tile, 1);
        // Any number of tokens that a step may have, in whole tiles.
        for (int32_t tokens = 1; tokens <= spec.max_tokens; ++tokens)
          EXPECT_LE((tokens + tile.token_tile - 1) / tile.token_tile * tile.token_tile,
                    paddedTokens(spec.max_tokens))
              << tokens << " tokens in tiles of " << tile.token_tile;
        if (spec.ops[0].kind == Kind::attention) {
          EXPECT_EQ(kTokenPadding % tile.token_tile, 0);
          EXPECT_LE(int64_t(tile.token_tile - 1) * 2 * 4 * spec.context, 1 << 20);
        }
      }
      EXPECT_NE(std::find(tiles.begin(), tiles.end(), target->tile(spec)), tiles.end());
    }
}

TEST(CostModel, EachCandidateIsThereOnce) {
  for (const auto &target : allTargets())
    for (const KernelSpec &spec : manyKernels(*target)) {
      const std::vector<Tile> tiles = target->tileCandidates(spec);
      for (const Tile &tile : tiles)
        EXPECT_EQ(std::count(tiles.begin(), tiles.end(), tile), 1);
    }
}

TEST(CostModel, TheChoiceFitsTheRegisters) {
  for (const auto &target : allTargets())
    for (KernelSpec spec : manyKernels(*target)) {
      if (spec.max_tokens == 1 || (spec.ops[0].kind == Kind::attention && spec.context > 2048))
        continue;
      spec.tile = target->tile(spec);
      if (spec.tile.token_tile == 1) // nothing smaller: scalars of 16 lanes are more than registers
        continue;
      // Sums between groups may wait in memory; what the loop over steps uses may not.
      EXPECT_LE(cpu::registersInLoop(target->machine(), spec), target->machine().vector_registers)
          << target->machine().name << ", " << spec.max_tokens << " tokens in tiles of "
          << spec.tile.token_tile;
    }
}

TEST(CostModel, TilesGrowWithTheRegisters) {
  const auto narrow = llvm::cantFail(makeTarget("x86-64-v3")),
             wide = llvm::cantFail(makeTarget("znver4"));
  for (int bits : {4, 8}) {
    const Tile few = narrow->tile(linear(*narrow, bits, 192)),
               many = wide->tile(linear(*wide, bits, 192));
    EXPECT_GT(few.token_tile, 1);
    EXPECT_GT(many.token_tile * many.streams, few.token_tile * few.streams);
  }
}

TEST(CostModel, NoTokensInVain) {
  for (const auto &target : allTargets())
    for (int32_t tokens : {2, 3, 4, 5, 6, 7, 8, 10, 12}) {
      const KernelSpec spec = linear(*target, 4, tokens);
      if (!target->kernelCode(spec).empty())
        continue; // functions of its runtime, whose tile is not compiled for a number of tokens
      const int32_t tile = target->tile(spec).token_tile;
      const int32_t tiles = (tokens + tile - 1) / tile;
      EXPECT_LT(tiles * tile - tokens, tiles)
          << target->machine().name << ", " << tokens << " tokens in tiles of " << tile;
    }
}

TEST(CostModel, MoreWorkTakesLonger) {
  for (const auto &target : allTargets()) {
    for (const Tile &tile : target->tileCandidates(linear(*target, 4, 192))) {
      KernelSpec spec = linear(*target, 4, 192);
      spec.tile = tile;
      double last = 0;
      for (int32_t tokens : {24, 48, 96, 192}) {
        const double time = target->estimate(spec, tokens, 0);
        EXPECT_GT(time, last);
        last = time;
      }
      spec.values[1].height *= 2;
      EXPECT_GT(target->estimate(spec, 192, 0), last);
    }
    KernelSpec spec = attention(192, 2048);
    spec.tile = target->tile(spec);
    EXPECT_GT(target->estimate(spec, 192, 1024), target->estimate(spec, 192, 0));
  }
}

TEST(CostModel, OneTokenIsBoundByItsWeights) {
  for (const auto &target : allTargets()) {
    const KernelSpec spec = linear(*target, 8, 1);
    const double bytes = double(kernelCost(spec, 1, 0).weight_bytes);
    EXPECT_GE(target->estimate(spec, 1, 0), bytes / target->machine().rates.memory_gbps);
  }
}

} // namespace
