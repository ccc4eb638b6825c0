// Linear layers over quantized and float activations, with their epilogues, against plain loops.
#include "test/codegen/halide/Twins.h"

#include "gtest/gtest.h"

#include <optional>

using namespace ingot;
using namespace ingot::test;
using Kind = KernelOp::Kind;

namespace {

struct Shape {
  int64_t rows, columns;
  int32_t max_tokens, tokens;
};

enum class Epilogue { none, residual, silu };

/// Runs one linear over codes of activations (float: over floats) and compares every output bit for
/// bit.
template <typename Code>
void checkLinearOver(const Target &target, const Encoding &encoding, Shape shape,
                     Epilogue epilogue = Epilogue::none, Codes codes = Codes::random,
                     std::optional<Tile> tile = {}) {
  constexpr bool quantized = !std::is_same_v<Code, float>;
  SCOPED_TRACE(target.machine().name + " " + std::to_string(shape.rows) + "x" +
               std::to_string(shape.columns) + " u/i " + std::to_string(int(encoding.code)) +
               " bits " + std::to_string(encoding.bits) + " group " +
               std::to_string(encoding.group_size) + " tokens " + std::to_string(shape.tokens) +
               "/" + std::to_string(shape.max_tokens) + " activations of " +
               std::to_string(8 * sizeof(Code)));
  const int64_t weight_group =
      encoding.isFloat() ? shape.columns : encoding.groupElements(shape.columns);
  const int32_t group = weight_group % 32 ? 16 : 32;
  SpecMaker make(shape.max_tokens);
  const int32_t x =
      make.input(quantized ? KernelValue::Kind::quant : KernelValue::Kind::rows, shape.columns);
  if (quantized) {
    make.spec.values[x].encoding.code = code_kind<Code>;
    make.spec.values[x].encoding.bits = 8 * sizeof(Code);
  }
  const int32_t w = make.matrix(target, encoding, shape.rows, shape.columns);
  const int32_t residual = epilogue == Epilogue::residual ? make.rows(shape.rows) : -1;
  int32_t y = make.rowsOp(Kind::linear, {x, w}, shape.rows);
  make.spec.ops.back().act_group = quantized ? group : 0;
  if (epilogue == Epilogue::residual)
    y = make.rowsOp(Kind::add, {y, residual}, shape.rows);
  else if (epilogue == Epilogue::silu)
    y = make.rowsOp(Kind::silu_mul, {y}, shape.rows / 2);
  KernelSpec spec = make.finish(target, {y});
  if (tile)
    spec.tile = *tile;
  LoadedKernel kernel(spec, target);
  ASSERT_TRUE(kernel);

  Memory memory(spec);
  const TestMatrix matrix = makeMatrix(spec.values[w], 7, codes);
  memory.setMatrix(w, matrix);
  std::vector<float> source(shape.columns);
  std::mt19937 random(11);
  std::normal_distribution<float> normal;
  const int64_t groups = shape.columns / group;
  for (int32_t t = 0; t < shape.tokens; ++t) {
    for (float &v : source)
      v = codes == Codes::random ? normal(random)
                                 : 1.0f; // extremes: every activation is the largest
    if constexpr (quantized)
      twinQuantize(source.data(), shape.columns, group, memory.get<Code>(x) + t * shape.columns,
                   memory.get<float>(x, 1) + t * groups, memory.get<int32_t>(x, 2) + t * groups);
    else
      std::memcpy(memory.get<float>(x) + t * roundUp(shape.columns, 16), source.data(),
                  4 * shape.columns);
  }
  std::vector<float> before;
  if (residual >= 0) {
    memory.randomRows(residual, 5);
    before.assign(memory.get<float>(residual),
                  memory.get<float>(residual) + memory.bytes(residual) / 4);
    memory.alias(y, residual); // in place
  }
  // Odd slices: 1, then 3 at a time, or where they are read at several places all sizes.
  for (int32_t begin = 0, slices = kernel.slices(shape.tokens), extent = 1; begin < slices;
       begin += extent, extent = tile ? extent + 1 : 3)
    kernel.run(memory, begin, std::min(extent, slices - begin), shape.tokens);
  EXPECT_TRUE(memory.intact());

  const int64_t out_rows = epilogue == Epilogue::silu ? shape.rows / 2 : shape.rows;
  const int64_t stride = roundUp(out_rows, 16);
  const float *result = static_cast<const float *>(memory.host(y, 0));
  int wrong = 0;
  for (int32_t t = 0; t < shape.tokens; ++t) {
    auto dot = [&](int64_t row) {
      if constexpr (quantized)
        return twinLinear(matrix, row, memory.get<Code>(x) + t * shape.columns,
                          memory.get<float>(x, 1) + t * groups,
                          memory.get<int32_t>(x, 2) + t * groups, group);
      else
        return twinLinear(matrix, row, memory.get<float>(x) + t * roundUp(shape.columns, 16));
    };
    for (int64_t n = 0; n < out_rows; ++n) {
      float want;
      if (epilogue == Epilogue::silu) {
        const int64_t gate = n / 16 * 32 + n % 16;
        want = twinSilu(dot(gate)) * dot(gate + 16);
      } else {
        want = dot(n);
        if (residual >= 0)
          want = want + before[t * stride + n];
      }
      const float got = result[t * stride + n];
      if (got != want && ++wrong <= 3)
        ADD_FAILURE() << "row " << n << " token " << t << ": " << got << ", expected " << want;
    }
  }
  EXPECT_EQ(wrong, 0);
}

template <typename... Options>
void checkLinear(const Target &target, const Encoding &encoding, Shape shape, bool quantized,
                 Options... options) {
  quantized ? checkLinearOver<int8_t>(target, encoding, shape, options...)
            : checkLinearOver<float>(target, encoding, shape, options...);
}

const Shape shapes[] = {{40, 64, 1, 1}, {48, 192, 19, 19}, {33, 96, 13, 5}, {40, 96, 7, 6}};

TEST(Linear, EveryEncodingQuantized) {
  for (const auto &target : testTargets())
    for (const Encoding &encoding : encodings)
      for (const Shape &shape : shapes)
        checkLinear(*target, encoding, shape, true);
}

TEST(Linear, WideActivations) {
  for (const auto &target : testTargets())
    for (const Encoding &encoding : {encodings[0], encodings[2], encodings[5]}) {
      for (const Shape &shape : {shapes[0], shapes[2]})
        checkLinearOver<int16_t>(*target, encoding, shape);
      checkLinearOver<int16_t>(*target, encoding, {96, 64, 11, 11}, Epilogue::silu, Codes::largest);
    }
}

TEST(Linear, HalfActivations) {
  for (const auto &target : testTargets()) {
    for (const Encoding &encoding : encodings)
      for (const Shape &shape : {shapes[0], shapes[2]})
        checkLinearOver<_Float16>(*target, encoding, shape);
    for (const Shape &shape : {shapes[0], shapes[1], shapes[2], Shape{40, 80, 7, 6}})
      checkLinearOver<_Float16>(*target, floats(CodeKind::f16), shape);
    for (const Encoding &encoding : {encodings[0], encodings[2], floats(CodeKind::f16)}) {
      checkLinearOver<_Float16>(*target, encoding, {32, 1536, 1, 1});
      checkLinearOver<_Float16>(*target, encoding, {32, 1536, 30, 29});
      checkLinearOver<_Float16>(*target, encoding, {40, 96, 8, 8}, Epilogue::residual);
      checkLinearOver<_Float16>(*target, encoding, {96, 64, 11, 11}, Epilogue::silu);
      checkLinearOver<_Float16>(*target, encoding, {96, 64, 1, 1}, Epilogue::silu);
    }
  }
}

/// Scales of two levels, whose rows are whole super-blocks.
TEST(Linear, KQuants) {
  for (const auto &target : testTargets())
    for (const NamedEncoding &named : namedEncodings()) {
      const Encoding &encoding = named.encoding;
      if (!encoding.twoLevel() || !(target->legalEncoding(encoding) == encoding))
        continue;
      for (const Shape &shape : {Shape{40, 256, 1, 1}, Shape{33, 512, 13, 5}}) {
        checkLinear(*target, encoding, shape, true);
        checkLinear(*target, encoding, shape, false);
        checkLinearOver<int16_t>(*target, encoding, shape);
        checkLinearOver<_Float16>(*target, encoding, shape);
      }
      for (Codes codes : {Codes::largest, Codes::smallest})
        checkLinear(*target, encoding, {16, 256, 3, 3}, true, Epilogue::none, codes);
      checkLinear(*target, encoding, {96, 256, 11, 11}, true, Epilogue::silu);
    }
}

TEST(Linear, WideGroups) {
  for (const auto &target : testTargets())
    for (int bits : {2, 4, 5, 6, 8})
      for (uint32_t group : {64u, 128u})
        for (int32_t tokens : {1, 7})
          checkLinear(*target, integers(CodeKind::i, bits, group, CodeKind::f16, false),
                      {40, 256, tokens, tokens}, true);
}

TEST(Linear, EveryEncodingFloat) {
  for (const auto &target : testTargets()) {
    for (const Encoding &encoding : encodings)
      for (const Shape &shape : {shapes[0], shapes[2]})
        checkLinear(*target, encoding, shape, false);
    for (CodeKind kind : {CodeKind::f32, CodeKind::f16, CodeKind::bf16})
      for (const Shape &shape : {Shape{40, 64, 1, 1}, Shape{33, 40, 13, 5}})
        checkLinear(*target, floats(kind), shape, false);
  }
}

TEST(Linear, LongRows) {
  for (const auto &target : testTargets())
    for (const Encoding &encoding : {encodings[0], encodings[2]})
      for (int32_t tokens : {1, 8})
        for (bool quantized : {true, false})
          checkLinear(*target, encoding, {32, 1536, tokens, tokens}, quantized);
}

template <typename Code> void checkEveryTile(std::initializer_list<Encoding> all) {
  for (const auto &target : testTargets())
    for (const Encoding &encoding : all)
      for (Epilogue epilogue : {Epilogue::residual, Epilogue::silu})
        for (int32_t tokens : {1, 5}) {
          const int64_t blocks = epilogue == Epilogue::silu ? 62 : 31;
          SpecMaker make(tokens);
          const int32_t x = make.input(KernelValue::Kind::quant, 64);
          make.spec.values[x].encoding.code = code_kind<Code>;
          make.spec.values[x].encoding.bits = 8 * sizeof(Code);
          const int32_t w = make.matrix(*target, encoding, blocks * 16, 64);
          const int32_t y = make.rowsOp(Kind::linear, {x, w}, blocks * 16);
          make.spec.ops.back().act_group = 32;
          const std::vector<Tile> tiles = target->tileCandidates(make.finish(*target, {y}));
          EXPECT_GT(tiles.size(), 1u);
          for (const Tile &tile : tiles)
            checkLinearOver<Code>(*target, encoding, {blocks * 16, 64, tokens, tokens}, epilogue,
                                  Codes::random, tile);
        }
}

TEST(Linear, EveryTile) {
  checkEveryTile<int8_t>({encodings[0], encodings[2]});
  checkEveryTile<_Float16>({encodings[0], floats(CodeKind::f16)});
}

TEST(Linear, RandomShapes) {
  std::mt19937 random(2024);
  auto pick = [&](int from, int to) {
    return std::uniform_int_distribution<int>(from, to)(random);
  };
  for (const auto &target : testTargets())
    for (int i = 0; i < 24; ++i) {
      const Encoding &encoding = encodings[pick(0, std::size(encodings) - 1)];
      const int32_t max_tokens = pick(0, 3) ? pick(2, 40) : 1;
      const Epilogue epilogue = pick(0, 1) ? Epilogue::none : Epilogue::residual;
      checkLinear(*target, encoding,
                  {pick(1, 90), 32 * pick(1, 9), max_tokens, pick(1, max_tokens)}, pick(0, 3) != 0,
                  epilogue);
    }
}

TEST(Linear, Epilogues) {
  for (const auto &target : testTargets())
    for (const Encoding &encoding : {encodings[0], encodings[2], encodings[10], encodings[11]})
      for (int32_t tokens : {1, 11})
        for (bool quantized : {true, false}) {
          checkLinear(*target, encoding, {72, 64, tokens, tokens}, quantized, Epilogue::residual);
          checkLinear(*target, encoding, {96, 64, tokens, tokens}, quantized, Epilogue::silu);
        }
}

TEST(Linear, LargestCodesDoNotSaturate) {
  for (const auto &target : testTargets())
    for (const Encoding &encoding : encodings)
      for (Codes codes : {Codes::largest, Codes::smallest})
        for (int32_t tokens : {1, 3})
          checkLinear(*target, encoding, {16, 64, tokens, tokens}, true, Epilogue::none, codes);
}

} // namespace
