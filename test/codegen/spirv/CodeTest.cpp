// The instructions that kernels of SPIR-V are made of. Needs no device.
#include "codegen/spirv/Kernel.h"
#include "targets/BlockLayout.h"
#include "test/codegen/halide/Harness.h"

#include "gtest/gtest.h"

#include <set>

using namespace ingot;
using namespace ingot::test;
using mlir::spirv::Opcode;

namespace {

/// A run of instructions without a branch, by opcode.
using Block = std::vector<Opcode>;

std::vector<Block> blocksOf(const std::vector<uint32_t> &words) {
  constexpr size_t header = 5;
  std::vector<Block> blocks;
  for (size_t at = header; at < words.size() && words[at] >> 16; at += words[at] >> 16) {
    const auto opcode = Opcode(words[at] & 0xffff);
    if (opcode == Opcode::OpLabel)
      blocks.emplace_back();
    else if (!blocks.empty())
      blocks.back().push_back(opcode);
  }
  return blocks;
}

/// The blocks that multiply codes: with `dot`, by their instruction.
struct Inner {
  Block all;
  int blocks = 0;
  int count(Opcode opcode) const { return int(llvm::count(all, opcode)); }
};

struct Made {
  spirv::Grid grid;
  std::vector<Block> blocks;

  Inner with(Opcode opcode) const {
    Inner inner;
    for (const Block &block : blocks)
      if (llvm::is_contained(block, opcode)) {
        inner.all.insert(inner.all.end(), block.begin(), block.end());
        ++inner.blocks;
      }
    return inner;
  }
};

Made linear(const Encoding &encoding, int32_t tokens, spirv::Features features,
            int64_t rows = 1536) {
  SpecMaker make(tokens);
  const int32_t x = make.input(KernelValue::Kind::quant, 576),
                w = make.input(KernelValue::Kind::matrix, 576);
  make.spec.values[w].height = rows;
  make.spec.values[w].encoding = storedEncoding(encoding);
  make.spec.values[w].layout = blockLayout(make.spec.values[w].encoding);
  make.spec.outputs = {make.rowsOp(KernelOp::Kind::linear, {x, w}, rows)};
  make.spec.ops.back().act_group = 32;
  auto kernel = spirv::compileKernel(make.spec, false, features);
  if (!kernel) {
    ADD_FAILURE() << llvm::toString(kernel.takeError());
    return {};
  }
  return {kernel->grid, blocksOf(kernel->words)};
}

const Encoding u4 = integers(CodeKind::u, 4, 32, CodeKind::f16, true),
               i4 = integers(CodeKind::i, 4, 32, CodeKind::f16, false),
               u5 = integers(CodeKind::u, 5, 32, CodeKind::f16, true),
               i8 = integers(CodeKind::i, 8, 32, CodeKind::f16, false),
               wide = integers(CodeKind::i, 6, 32, CodeKind::f32, false);

int bitsOf(const Encoding &encoding) { return blockLayout(storedEncoding(encoding)).code_bits; }
bool nibbles(const Encoding &encoding) { return bitsOf(encoding) == 4; }

/// 1536 rows are 96 blocks of 16; 4 of them go together, of a single token for each of 16 or more
/// workgroups.
TEST(SpirvCode, TilesOfRowsAndTokens) {
  for (const Encoding &encoding : {u4, i4, u5, i8, wide}) {
    const spirv::Grid one = linear(encoding, 1, {true, true}).grid,
                      many = linear(encoding, 192, {true, true}).grid;
    EXPECT_EQ(one.y, 24);
    EXPECT_EQ(one.tokens_each, 0);
    EXPECT_EQ(many.y, 24);
    EXPECT_EQ(many.tokens_each, 8);
  }
}

/// A group is 8 words of 4 codes, all of them in a straight line for one token; a tile goes word by
/// word.
TEST(SpirvCode, CodesAreMultipliedByDotProducts) {
  constexpr int blocks = 4;
  for (const Encoding &encoding : {u4, i4, u5, i8, wide})
    for (int32_t tokens : {1, 192}) {
      const Made dots = linear(encoding, tokens, {.byte_dot = true}),
                 plain = linear(encoding, tokens, {});
      const Inner inner = dots.with(Opcode::OpSUDot);
      const int words = tokens == 1 ? 8 : nibbles(encoding) ? 2 : 1, at_once = tokens == 1 ? 1 : 8;
      EXPECT_EQ(inner.blocks, 1);
      EXPECT_EQ(inner.count(Opcode::OpSUDot), words * at_once * blocks);
      for (Opcode other : {Opcode::OpSDot, Opcode::OpUDot})
        EXPECT_EQ(dots.with(other).blocks, 0);
      // Bytes are not taken out of words, which the other form does for each product; planes are
      // masked, once a word of codes.
      const auto extracts = [](const Made &made) {
        return made.with(Opcode::OpBitFieldSExtract).count(Opcode::OpBitFieldSExtract) +
               made.with(Opcode::OpBitFieldUExtract).count(Opcode::OpBitFieldUExtract);
      };
      EXPECT_EQ(extracts(dots), 0);
      EXPECT_EQ(extracts(plain), 8 * inner.count(Opcode::OpSUDot));
      const int planes = bitsOf(encoding) == 8 ? 0 : int(planesOf(bitsOf(encoding)).size());
      EXPECT_EQ(inner.count(Opcode::OpBitwiseAnd), planes * words * blocks);
      // Floats: a scale and its product for a token and block, none for a code.
      if (tokens > 1)
        EXPECT_EQ(inner.count(Opcode::OpFMul) + inner.count(Opcode::OpConvertSToF), 0);

      EXPECT_EQ(plain.with(Opcode::OpSUDot).blocks, 0);
      EXPECT_EQ(plain.grid.y, dots.grid.y);
    }
}

/// Of a single token, each word of codes is read once: a group's are as many as a code has bits.
TEST(SpirvCode, WordsOfCodesAreReadOnce) {
  constexpr int blocks = 4;
  auto reads = [](const Encoding &encoding) {
    const int scales = encoding.symmetric() ? 1 : 2;
    return linear(encoding, 1, {.byte_dot = true})
               .with(Opcode::OpSUDot)
               .count(Opcode::OpAccessChain) -
           blocks * scales;
  };
  const int others = reads(i8) - 8 * blocks; // activations, their scales and sums
  EXPECT_EQ(others, 8 + 2);
  for (const Encoding &encoding :
       {u4, i4, u5, wide, integers(CodeKind::u, 2, 32, CodeKind::f16, true)})
    EXPECT_EQ(reads(encoding) - others, bitsOf(encoding) * blocks) << encoding.str();
}

/// What is a product and a sum stays so: a device may not round them once.
TEST(SpirvCode, NothingIsFusedThatIsNotSaidToBe) {
  SpecMaker make(1);
  const int32_t x = make.rows(256), w = make.input(KernelValue::Kind::matrix, 256);
  make.spec.values[w].height = 64;
  make.spec.values[w].encoding = u4;
  make.spec.values[w].layout = blockLayout(u4);
  make.spec.outputs = {make.rowsOp(KernelOp::Kind::linear, {x, w}, 64)};
  const std::vector<uint32_t> words =
      llvm::cantFail(spirv::compileKernel(make.spec, false, {})).words;
  std::set<uint32_t> decorated, sums;
  for (size_t at = 5; at < words.size(); at += words[at] >> 16) {
    const auto opcode = Opcode(words[at] & 0xffff);
    if (opcode == Opcode::OpDecorate &&
        words[at + 2] == uint32_t(mlir::spirv::Decoration::NoContraction))
      decorated.insert(words[at + 1]);
    else if (opcode == Opcode::OpFAdd || opcode == Opcode::OpFSub || opcode == Opcode::OpFMul)
      sums.insert(words[at + 2]);
  }
  EXPECT_FALSE(sums.empty());
  EXPECT_EQ(decorated, sums);
}

/// Only what multiplies codes for more tokens than others read weights for at once has products of
/// matrices, of the shapes whose depth divides a group.
TEST(SpirvCode, FormsByProducts) {
  auto products = [](bool quantized, int32_t tokens, int32_t group, bool halves = false) {
    SpecMaker make(tokens);
    const auto kind = quantized ? KernelValue::Kind::quant : KernelValue::Kind::rows;
    const int32_t x = make.input(kind, 576), w = make.input(KernelValue::Kind::matrix, 576);
    if (halves)
      make.spec.values[x].encoding = {CodeKind::f16, 16, uint32_t(group), {CodeKind::f32}, {}};
    make.spec.values[w].height = 64;
    make.spec.outputs = {make.rowsOp(KernelOp::Kind::linear, {x, w}, 64)};
    make.spec.ops.back().act_group = group;
    std::vector<int32_t> depths;
    for (const spirv::Features &features : spirv::formsOf(make.spec))
      if (features.product >= 0)
        depths.push_back(product_shapes[features.product].depth);
    return depths;
  };
  EXPECT_EQ(products(true, 192, 32), (std::vector<int32_t>{32, 16, 32, 32, 8}));
  EXPECT_EQ(products(true, 9, 16), (std::vector<int32_t>{16, 8}));
  EXPECT_EQ(products(true, 192, 32, true), (std::vector<int32_t>{16, 16, 16, 8}));
  EXPECT_TRUE(products(true, 8, 32).empty());
  EXPECT_TRUE(products(false, 192, 0).empty());
}

/// A group is as many multiplications of matrices as it has depths, in one place; nothing is
/// multiplied byte by byte, and floats only where results are scaled.
TEST(SpirvCode, CodesAreMultipliedByProducts) {
  for (const Encoding &encoding : {u4, i4, u5, i8, wide})
    for (int index = 0; index < int(std::size(product_shapes)); ++index) {
      const ProductShape &shape = product_shapes[index];
      if (shape.halves())
        continue;
      const Made made = linear(encoding, 192, {.product = index}, 1520);
      EXPECT_EQ(made.grid.y, 48); // 95 blocks, two at a time
      EXPECT_EQ(made.grid.tokens_each, 32);
      const Inner inner = made.with(Opcode::OpCooperativeMatrixMulAddKHR);
      const int times = 32 / shape.depth;
      EXPECT_EQ(inner.blocks, 1);
      EXPECT_EQ(inner.count(Opcode::OpCooperativeMatrixMulAddKHR), times);
      EXPECT_EQ(inner.count(Opcode::OpCooperativeMatrixLoadKHR), 2 * times);
      EXPECT_EQ(inner.count(Opcode::OpCooperativeMatrixStoreKHR), 1);
      for (Opcode other : {Opcode::OpSUDot, Opcode::OpBitFieldSExtract, Opcode::OpBitFieldUExtract})
        EXPECT_EQ(made.with(other).blocks, 0);
    }
}

/// Four invocations share a row: two shuffles a sum (a block of rows and a token each), and nobody
/// waits; or one barrier before what they left in shared memory is read and one behind.
TEST(SpirvCode, SumsAreShuffledOrShared) {
  constexpr int blocks = 4;
  for (int32_t tokens : {1, 192}) {
    const Made shuffled = linear(u4, tokens, {.shuffle = true}), shared = linear(u4, tokens, {});
    const int sums = blocks * (tokens == 1 ? 1 : 8);
    auto count = [](const Made &made, Opcode opcode) { return made.with(opcode).count(opcode); };
    EXPECT_EQ(count(shuffled, Opcode::OpGroupNonUniformShuffleXor), 2 * sums);
    EXPECT_EQ(count(shuffled, Opcode::OpControlBarrier), 0);
    EXPECT_EQ(count(shared, Opcode::OpGroupNonUniformShuffleXor), 0);
    EXPECT_EQ(count(shared, Opcode::OpControlBarrier), 2);
  }
}

} // namespace
