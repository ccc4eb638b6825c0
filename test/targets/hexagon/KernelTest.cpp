// Kernels for Hexagon in the emulator, against plain loops in doubles. What they may be off by
// follows from the widths of their integers (targets/hexagon/runtime): each bound says from which.
#include "test/codegen/halide/Code.h"
#include "test/codegen/halide/Emulated.h"
#include "test/codegen/halide/Twins.h"

#include "llvm/ADT/STLExtras.h"

using namespace ingot;
using namespace ingot::test;
using Kind = KernelOp::Kind;

namespace {

/// How much of what is allowed was used: a bound that is far away shows nothing.
struct Bound {
  double used = 0;

  void expect(double got, double want, double most, const std::string &where) {
    used = std::max(used, std::fabs(got - want) / most);
    EXPECT_LE(std::fabs(got - want), most) << where << ": " << got << ", expected " << want;
  }
};

class HexagonKernel : public testing::Test {
protected:
  void SetUp() override {
    target = targetNamed("hexagon-v68");
    if (EmulatedKernel::emulator(*target).empty())
      GTEST_SKIP() << target->emulator() << " is missing";
  }
  std::unique_ptr<Target> target;
};

Encoding named(llvm::StringRef name) {
  return llvm::find_if(namedEncodings(), [&](const NamedEncoding &row) { return name == row.name; })
      ->encoding;
}

/// A quantized row's code, wherever its bytes lie.
int32_t codeAt(const int8_t *row, int64_t column, int32_t group, int32_t bits) {
  if (bits == 8)
    return row[column];
  const int8_t *own = row + column / group * group * 2 + column % group;
  return own[0] * 256 + uint8_t(own[group]);
}

/// Codes, scales and sums of a row of numbers, as kernels read them.
void writeCodes(Memory &memory, int32_t value, int64_t token, const std::vector<float> &x,
                int32_t group, int32_t bits) {
  const int64_t width = int64_t(x.size()), groups = width / group;
  for (int64_t g = 0; g < groups; ++g) {
    const float *from = x.data() + g * group;
    float peak = 0;
    for (int32_t k = 0; k < group; ++k)
      peak = std::fmax(peak, std::fabs(from[k]));
    const float scale = peak / float(activationCodeLimit(bits));
    memory.get<float>(value, 1)[token * groups + g] = scale;
    int32_t &sum = memory.get<int32_t>(value, 2)[token * groups + g];
    int8_t *to = memory.get<int8_t>(value) + (token * width + g * group) * (bits / 8);
    sum = 0;
    for (int32_t k = 0; k < group; ++k) {
      const auto code = int32_t(scale > 0 ? std::nearbyint(from[k] / scale) : 0);
      sum += code;
      to[k] = int8_t(bits == 8 ? code : code >> 8);
      if (bits == 16)
        to[group + k] = int8_t(code & 255);
    }
  }
}

enum class Epilogue { none, residual, silu };
enum class Activity { even, peaks, zeros }; ///< groups alike; of very different scales; some of 0

struct LinearCase {
  int64_t rows, columns;
  int32_t max_tokens, tokens;
};

/// A row in doubles, and what a kernel's may be off by:
///   d  sums of a group's products: below D, the most of a token's, kept in 15 bits, 2^-15 D at
///      most; of codes of 16 bits with weights of 4, lower parts to 2; with 8, not at all.
///   p  scales of weights in 15 bits of the row's largest S or more, 2^-15 S; of activations in 15
///      of the larger A of two groups, 2^-15 A; their product in 15 of both, 2^-14 S A.
///   m  minima and what they are multiplied with: like scales, with no product.
/// The row's sum in 31 bits of D S sum(A), floored for each two groups, and a float's rounding.
struct Row {
  double value = 0, bound = 0;
};
Row exactRow(const TestMatrix &m, int64_t row, const int8_t *codes, const float *scales,
             const int32_t *sums, int32_t group, int32_t bits, bool nibbles) {
  const int64_t groups = m.columns / group, weight_group = m.encoding.groupElements(m.columns);
  const double most = std::max(m.encoding.maxCode(), -m.encoding.minCode());
  double S = 0, M = 0, D = 0, sum_a = 0;
  for (int64_t g = 0; g < m.groups; ++g) {
    S = std::max(S, std::fabs(double(m.scales[row * m.groups + g])));
    if (!m.encoding.symmetric())
      M = std::max(M, std::fabs(double(m.mins[row * m.groups + g])));
  }
  for (int64_t g = 0; g < groups; ++g) {
    double magnitudes = 0;
    for (int32_t k = 0; k < group; ++k)
      magnitudes += std::abs(codeAt(codes, g * group + k, group, bits));
    D = std::max(D, magnitudes * most);
    sum_a += scales[g];
  }
  const double d_off = bits == 8 ? std::ldexp(D, -15) : nibbles ? 2 : 0;
  Row result;
  for (int64_t g = 0; g < groups; ++g) {
    double d = 0;
    for (int32_t k = 0; k < group; ++k)
      d += double(m.codes[row * m.columns + g * group + k]) *
           codeAt(codes, g * group + k, group, bits);
    const int64_t at = row * m.groups + g * group / weight_group, other = g ^ 1;
    const double s = m.scales[at], a = scales[g],
                 A = std::max<double>(a, other < groups ? scales[other] : 0);
    result.value += d * s * a;
    result.bound += std::fabs(d) * std::ldexp(S * A, -13) + d_off * (std::fabs(s) * a);
    if (m.encoding.symmetric())
      continue;
    const double t = a * sums[g],
                 T = std::max(std::fabs(t),
                              other < groups ? std::fabs(double(scales[other]) * sums[other]) : 0);
    result.value += m.mins[at] * t;
    result.bound += std::ldexp(M * T, -14);
  }
  result.bound += std::ldexp(D * S * sum_a, -24) + std::ldexp(std::fabs(result.value), -22);
  return result;
}

void checkLinear(const Target &target, const Encoding &encoding, LinearCase shape, int32_t bits,
                 Epilogue epilogue, Activity activity, Bound &bound) {
  const std::string name = encoding.str() + " " + std::to_string(shape.rows) + "x" +
                           std::to_string(shape.columns) + " tokens " +
                           std::to_string(shape.tokens) + "/" + std::to_string(shape.max_tokens) +
                           " activations of " + std::to_string(bits);
  SCOPED_TRACE(name);
  const int32_t group = encoding.groupElements(shape.columns) % 32 ? 16 : 32;
  SpecMaker make(shape.max_tokens);
  const int32_t x = make.input(KernelValue::Kind::quant, shape.columns);
  make.spec.values[x].encoding = integers(CodeKind::i, bits, uint32_t(group), CodeKind::f32, false);
  const int32_t w = make.matrix(target, encoding, shape.rows, shape.columns);
  const int32_t residual = epilogue == Epilogue::residual ? make.rows(shape.rows) : -1;
  int32_t y = make.rowsOp(Kind::linear, {x, w}, shape.rows);
  make.spec.ops.back().act_group = group;
  if (epilogue == Epilogue::residual)
    y = make.rowsOp(Kind::add, {y, residual}, shape.rows);
  else if (epilogue == Epilogue::silu)
    y = make.rowsOp(Kind::silu_mul, {y}, shape.rows / 2);
  const KernelSpec spec = make.finish(target, {y});
  LoadedKernel kernel(spec, target);
  ASSERT_TRUE(kernel);
  Memory memory(spec);
  const TestMatrix matrix = makeMatrix(spec.values[w], 7);
  memory.setMatrix(w, matrix);
  std::mt19937 random(11);
  std::normal_distribution<float> normal;
  for (int32_t t = 0; t < shape.tokens; ++t) {
    std::vector<float> source(shape.columns);
    for (int64_t c = 0; c < shape.columns; ++c) {
      source[c] = normal(random);
      if (activity == Activity::peaks)
        source[c] *= std::ldexp(1.0f, int(c / group * 5 % 17));
      if (activity == Activity::zeros && c / group % 3 == 0)
        source[c] = 0;
    }
    writeCodes(memory, x, t, source, group, bits);
  }
  std::vector<float> before;
  if (residual >= 0) {
    memory.randomRows(residual, 5);
    before.assign(memory.get<float>(residual),
                  memory.get<float>(residual) + memory.bytes(residual) / 4);
    memory.alias(y, residual); // in place
  }
  for (int32_t begin = 0, slices = kernel.slices(shape.tokens), extent = 1; begin < slices;
       begin += extent, extent = 3)
    kernel.run(memory, begin, std::min(extent, slices - begin), shape.tokens);
  EXPECT_TRUE(memory.intact());

  const int64_t out_rows = epilogue == Epilogue::silu ? shape.rows / 2 : shape.rows,
                stride = roundUp(out_rows, 16), groups = shape.columns / group;
  const float *result = static_cast<const float *>(memory.host(y, 0));
  for (int32_t t = 0; t < shape.tokens; ++t) {
    auto row = [&](int64_t n) {
      return exactRow(matrix, n, memory.get<int8_t>(x) + t * shape.columns * (bits / 8),
                      memory.get<float>(x, 1) + t * groups, memory.get<int32_t>(x, 2) + t * groups,
                      group, bits,
                      spec.values[w].layout.code_bits == 4 && encoding.table == CodeTable::none);
    };
    for (int64_t n = 0; n < out_rows; ++n) {
      Row want;
      if (epilogue == Epilogue::silu) {
        const int64_t at = n / 16 * 32 + n % 16;
        const Row gate = row(at), up = row(at + 16);
        const double silu = gate.value / (1 + std::exp(-gate.value));
        // The slope of silu is 1.1 at most; its exponential and quotient are within 2^-20.
        want.value = silu * up.value;
        want.bound = 1.1 * gate.bound * (std::fabs(up.value) + up.bound) +
                     std::fabs(silu) * up.bound + std::ldexp(std::fabs(gate.value * up.value), -20);
      } else {
        want = row(n);
        if (residual >= 0) {
          want.value += before[t * stride + n];
          want.bound += std::ldexp(std::fabs(before[t * stride + n]), -22);
        }
      }
      bound.expect(result[t * stride + n], want.value, want.bound + 1e-30,
                   "row " + std::to_string(n) + " token " + std::to_string(t));
      if (testing::Test::HasFailure())
        return;
    }
  }
}

TEST_F(HexagonKernel, LinearLayers) {
  std::vector<Encoding> all(std::begin(encodings), std::end(encodings));
  all.push_back(integers(CodeKind::i, 4, 128, CodeKind::f16, false));
  all.push_back(integers(CodeKind::u, 6, 48, CodeKind::f16, true)); // three groups of activations
  all.push_back(integers(CodeKind::i, 5, 64, CodeKind::f32, false));
  all.push_back(integers(CodeKind::u, 2, 96, CodeKind::f16, true));
  for (const char *name : {"Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"})
    all.push_back(named(name));
  for (int32_t bits : {8, 16}) {
    Bound bound;
    for (const Encoding &encoding : all) {
      // An odd number of groups, where they have no super-blocks.
      const int64_t columns = encoding.twoLevel()          ? 512
                              : encoding.group_size == 128 ? 384
                              : encoding.group_size == 64  ? 192
                              : encoding.group_size == 48  ? 144
                                                           : 96;
      for (Activity activity : {Activity::even, Activity::peaks, Activity::zeros})
        checkLinear(*target, encoding, {40, columns, 7, 6}, bits, Epilogue::none, activity, bound);
      checkLinear(*target, encoding, {33, columns, 1, 1}, bits, Epilogue::residual, Activity::even,
                  bound);
      checkLinear(*target, encoding, {16, 2 * columns, 5, 5}, bits, Epilogue::residual,
                  Activity::peaks, bound);
      for (int32_t tokens : {1, 11})
        checkLinear(*target, encoding, {96, columns, tokens, tokens}, bits, Epilogue::silu,
                    Activity::even, bound);
    }
    checkLinear(*target, encodings[0], {48, 1536, 3, 3}, bits, Epilogue::none, Activity::peaks,
                bound);
    // More than the second-level cache keeps: tokens go in parts.
    checkLinear(*target, encodings[0], {32, 12288, 72, 70}, bits, Epilogue::none, Activity::even,
                bound);
    EXPECT_GT(bound.used, 0.05) << bits;
    std::printf("activations of %d bits: %.0f %% of the bounds used\n", bits, 100 * bound.used);
  }
}

/// Rows of a kernel of 11 tokens that is lent `bytes` from the second vector of `lent` on.
std::vector<float> rowsOf(const Target &target, const Encoding &encoding, bool gated,
                          std::vector<uint8_t> *lent, int64_t bytes) {
  constexpr int32_t tokens = 11;
  const int64_t columns = encoding.twoLevel() ? 512 : 160, rows = 176;
  const int32_t group = encoding.groupElements(columns) % 32 ? 16 : 32;
  SpecMaker make(tokens);
  const int32_t x = make.input(KernelValue::Kind::quant, columns);
  make.spec.values[x].encoding = integers(CodeKind::i, 16, uint32_t(group), CodeKind::f32, false);
  const int32_t w = make.matrix(target, encoding, rows, columns);
  int32_t y = make.rowsOp(Kind::linear, {x, w}, rows);
  make.spec.ops.back().act_group = group;
  if (gated)
    y = make.rowsOp(Kind::silu_mul, {y}, rows / 2);
  const KernelSpec spec = make.finish(target, {y});
  LoadedKernel kernel(spec, target);
  Memory memory(spec);
  memory.setMatrix(w, makeMatrix(spec.values[w], 3));
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  for (int32_t t = 0; t < tokens; ++t) {
    std::vector<float> source(columns);
    for (float &value : source)
      value = normal(random);
    writeCodes(memory, x, t, source, group, 16);
  }
  if (lent)
    kernel.lend(*lent, 128, bytes);
  kernel.runAll(memory, tokens);
  EXPECT_TRUE(memory.intact());
  const auto *result = static_cast<const float *>(memory.host(y, 0));
  return {result, result + tokens * roundUp(gated ? rows / 2 : rows, 16)};
}

TEST_F(HexagonKernel, LentMemoryChangesNoBit) {
  for (const Encoding &encoding : {encodings[0], encodings[2], named("Q6_K")})
    for (bool gated : {false, true}) {
      SCOPED_TRACE(encoding.str() + (gated ? " gated" : ""));
      const std::vector<float> want = rowsOf(*target, encoding, gated, nullptr, 0);
      // Codes of 32 rows as bytes, scales of two groups in a vector: of a unit.
      const int64_t columns = encoding.twoLevel() ? 512 : 160,
                    groups = columns / (encoding.group_size == 16 ? 16 : 32),
                    unit = (gated ? 2 : 1) * 128 *
                           (columns / 4 + (groups + 1) / 2 * (encoding.symmetric() ? 1 : 2));
      // None; too little; all of one unit, of two and a bit, of more than there are.
      for (int64_t bytes : {int64_t{0}, int64_t{128}, unit - 128, unit, 2 * unit + 384, 9 * unit}) {
        SCOPED_TRACE(bytes);
        std::vector<uint8_t> lent(size_t(bytes) + 256, 0x5a);
        const std::vector<float> got = rowsOf(*target, encoding, gated, &lent, bytes);
        EXPECT_EQ(std::memcmp(got.data(), want.data(), want.size() * sizeof(float)), 0);
        const auto untouched = [](uint8_t byte) { return byte == 0x5a; };
        const auto begin = lent.begin() + 128, end = begin + bytes;
        EXPECT_TRUE(std::all_of(lent.begin(), begin, untouched));
        EXPECT_TRUE(std::all_of(end, lent.end(), untouched));
        EXPECT_EQ(std::all_of(begin, end, untouched), bytes < unit);
        if (bytes == unit || bytes == 2 * unit + 384) // each vector of whole units
          for (int64_t i = 0; i < bytes / unit * unit; i += 128)
            EXPECT_FALSE(std::all_of(begin + i, begin + i + 128, untouched)) << i;
      }
    }
}

/// norm (or nothing), last token (or all), quantize: a code times its scale is the number within
/// half a scale, which itself is known to 2^-20; numbers to 2^-22 of the group's largest.
void checkQuantize(const Target &target, int64_t width, int32_t group, int32_t bits,
                   int32_t max_tokens, int32_t tokens, bool norm, bool last, Bound &bound) {
  SCOPED_TRACE("width " + std::to_string(width) + " group " + std::to_string(group) + " bits " +
               std::to_string(bits) + " norm " + std::to_string(norm) + " last " +
               std::to_string(last));
  const QuantizeKernel made(target, width, group, bits, max_tokens, norm, last);
  const int32_t x = made.x, gain = made.gain, q = made.q;
  const double eps = 1e-6;
  LoadedKernel kernel(made.spec, target);
  ASSERT_TRUE(kernel);
  Memory memory(made.spec);
  made.fill(memory, group);
  const int64_t stride = roundUp(width, 16), groups = width / group;
  for (int32_t k = 0; k < group; ++k) // behind the zeros, large numbers and few small ones
    memory.get<float>(x)[group + k] *= k % 5 ? 1e6f : 1e-3f;
  const int32_t outputs = last ? 1 : tokens;
  made.run(kernel, memory, tokens);
  EXPECT_TRUE(memory.intact());
  for (int32_t t = 0; t < outputs; ++t) {
    const float *source = memory.get<float>(x) + (last ? tokens - 1 : t) * stride;
    std::vector<double> want(source, source + width);
    if (norm) {
      double squares = 0;
      for (double v : want)
        squares += v * v;
      for (int64_t c = 0; c < width; ++c)
        want[c] *= double(memory.get<float>(gain)[c]) / std::sqrt(squares / double(width) + eps);
    }
    for (int64_t g = 0; g < groups; ++g) {
      const float scale = memory.get<float>(q, 1)[t * groups + g];
      double peak = 0;
      int32_t sum = 0;
      for (int32_t k = 0; k < group; ++k)
        peak = std::max(peak, std::fabs(want[g * group + k]));
      const std::string where = "token " + std::to_string(t) + " group " + std::to_string(g);
      EXPECT_NEAR(scale, peak / activationCodeLimit(bits), std::ldexp(double(scale), -20)) << where;
      for (int32_t k = 0; k < group; ++k) {
        const int32_t code =
            codeAt(memory.get<int8_t>(q) + t * width * (bits / 8), g * group + k, group, bits);
        sum += code;
        bound.expect(code * double(scale), want[g * group + k],
                     0.5 * scale + std::ldexp(peak, -20) + 1e-37, where);
      }
      EXPECT_EQ(memory.get<int32_t>(q, 2)[t * groups + g], sum) << where;
    }
    if (testing::Test::HasFailure())
      return;
  }
}

TEST_F(HexagonKernel, NormsAndCodes) {
  Bound bound;
  for (int32_t bits : {8, 16})
    for (bool norm : {false, true}) {
      checkQuantize(*target, 64, 32, bits, 1, 1, norm, false, bound);
      checkQuantize(*target, 96, 32, bits, 9, 9, norm, false, bound);
      checkQuantize(*target, 576, 16, bits, 5, 3, norm, false, bound);
      checkQuantize(*target, 48, 16, bits, 3, 3, norm, false, bound);
      checkQuantize(*target, 1536, 32, bits, 5, 3, norm, false, bound);
      checkQuantize(*target, 2144, 32, bits, 2, 2, norm, false, bound); // 67 groups
      checkQuantize(*target, 64, 32, bits, 9, 4, norm, true, bound);
    }
  EXPECT_GT(bound.used, 0.5);
}

TEST_F(HexagonKernel, Angles) {
  for (int32_t head_dim : {16, 48, 64, 128}) {
    SpecMaker make(5);
    const int32_t y = make.value(KernelValue::Kind::angles, head_dim);
    KernelOp &op = make.op(Kind::rope_angles, {}, y);
    op.head_dim = head_dim, op.rope_theta = 1e5;
    const KernelSpec spec = make.finish(*target, {y});
    LoadedKernel kernel(spec, *target);
    ASSERT_TRUE(kernel);
    Memory memory(spec);
    const int32_t position = 123456;
    kernel.runAll(memory, 5, position);
    EXPECT_TRUE(memory.intact());
    // A turn in 2^-32, the polynomial within 1e-9, a float's rounding.
    for (int32_t t = 0; t < 5; ++t)
      for (int32_t i = 0; i < head_dim / 2; ++i) {
        const double angle = std::pow(1e5, -2.0 * i / head_dim) * (position + t);
        const float *own = memory.get<float>(y) + t * head_dim + i;
        EXPECT_NEAR(own[0], std::cos(angle), 7e-8) << head_dim << " " << t << " " << i;
        EXPECT_NEAR(own[head_dim / 2], std::sin(angle), 7e-8) << head_dim << " " << t << " " << i;
      }
  }
}

struct Heads {
  int32_t heads, kv_heads, head_dim;
};

/// A head in doubles, rotated where there are angles.
std::vector<double> exactHead(const float *x, const float *angles, int32_t head_dim,
                              bool interleaved) {
  std::vector<double> out(x, x + head_dim);
  const int32_t half = head_dim / 2;
  for (int32_t i = 0; angles && i < half; ++i) {
    const int32_t first = interleaved ? 2 * i : i, second = interleaved ? first + 1 : i + half;
    const double c = angles[i], s = angles[half + i], a = x[first], b = x[second];
    out[first] = a * c - b * s;
    out[second] = a * s + b * c;
  }
  return out;
}

/// Rows of keys and values side by side, as a layer's products give them, into a cache.
void checkAppend(const Target &target, Heads shape, bool interleaved, int32_t max_tokens,
                 int32_t tokens, int32_t position, Bound &bound) {
  SCOPED_TRACE(std::to_string(shape.kv_heads) + "x" + std::to_string(shape.head_dim) + " tokens " +
               std::to_string(tokens) + " at " + std::to_string(position));
  const int32_t hd = shape.head_dim, width = shape.kv_heads * hd;
  SpecMaker make(max_tokens);
  make.spec.context = 200;
  make.spec.kv = CodeKind::i;
  const int32_t x = make.rows(2 * width + 16), angles = make.input(KernelValue::Kind::angles, hd);
  auto slice = [&](int32_t offset) {
    const int32_t result = make.rowsOp(Kind::slice, {x}, width);
    make.spec.ops.back().offset = offset;
    return result;
  };
  const int32_t rotated = make.rowsOp(Kind::rope, {slice(16), angles}, width);
  KernelOp &rope = make.spec.ops.back();
  rope.heads = shape.kv_heads, rope.head_dim = hd, rope.interleaved = interleaved;
  const int32_t v = slice(16 + width), cache = make.value(KernelValue::Kind::cache, width);
  KernelOp &append = make.op(Kind::append, {rotated, v, cache}, -1);
  append.kv_heads = shape.kv_heads, append.head_dim = hd;
  const KernelSpec spec = make.finish(target, {cache});
  LoadedKernel kernel(spec, target);
  ASSERT_TRUE(kernel);
  Memory memory(spec);
  memory.randomRows(x, 3);
  for (int32_t t = 0; t < tokens; ++t)
    for (int32_t i = 0; i < hd / 2; ++i) {
      float *own = memory.get<float>(angles) + t * hd + i;
      own[0] = std::cos(float(t + i)), own[hd / 2] = std::sin(float(t + i));
    }
  kernel.runAll(memory, tokens, position);
  EXPECT_TRUE(memory.intact());
  const TestCache made(memory, cache, CodeKind::i, hd, spec.context);
  const int64_t stride = roundUp(2 * width + 16, 16);
  for (int32_t t = 0; t < tokens; ++t)
    for (int32_t h = 0; h < shape.kv_heads; ++h)
      for (bool values : {false, true}) {
        const std::vector<double> want =
            exactHead(memory.get<float>(x) + t * stride + 16 + (values ? width : 0) + h * hd,
                      values ? nullptr : memory.get<float>(angles) + t * hd, hd, interleaved);
        double peak = 0;
        for (double w : want)
          peak = std::max(peak, std::fabs(w));
        const int32_t limit = values ? kValueCodeLimit : keyCodeLimit(hd);
        const double scale = made.scale(values, h, position + t);
        const std::string where = "token " + std::to_string(t) + " head " + std::to_string(h) +
                                  (values ? " values" : " keys");
        EXPECT_NEAR(scale, peak / limit, std::ldexp(scale, -20)) << where;
        // Half a code, of numbers known to 2^-20 of the head's largest.
        for (int32_t d = 0; d < hd; ++d)
          bound.expect(made.code(values, h, position + t, d) * scale, want[d],
                       0.5 * scale + std::ldexp(peak, -20), where);
        if (testing::Test::HasFailure())
          return;
      }
}

TEST_F(HexagonKernel, Append) {
  Bound bound;
  for (bool interleaved : {false, true}) {
    checkAppend(*target, {0, 3, 64}, interleaved, 9, 7, 60, bound);
    checkAppend(*target, {0, 1, 80}, interleaved, 1, 1, 17, bound);
    checkAppend(*target, {0, 2, 128}, interleaved, 3, 3, 0, bound);
    checkAppend(*target, {0, 2, 16}, interleaved, 2, 2, 31, bound);
  }
  EXPECT_GT(bound.used, 0.5);
}

/// Against attention over the cache's codes and the query's. Off are: a query, by a code where a
/// column is within 2^-6 of the middle of two, so a score by e = the sum of those columns' keys
/// times that (and 2^-19 for its 20 bits), a weight and the total by the factor exp(2 e) each;
/// weights times scales of values, by half a code of the span's largest.
void checkAttention(const Target &target, Heads shape, int32_t max_tokens, int32_t tokens,
                    int32_t position, Bound &bound) {
  SCOPED_TRACE(std::to_string(shape.heads) + "/" + std::to_string(shape.kv_heads) + "x" +
               std::to_string(shape.head_dim) + " tokens " + std::to_string(tokens) + " at " +
               std::to_string(position));
  const int32_t hd = shape.head_dim;
  SpecMaker make(max_tokens);
  make.spec.context = 300;
  make.spec.kv = CodeKind::i;
  const int32_t q = make.rows(shape.heads * hd);
  const int32_t cache = make.input(KernelValue::Kind::cache, shape.kv_heads * hd);
  const int32_t y = make.rowsOp(Kind::attention, {q, cache}, shape.heads * hd);
  KernelOp &op = make.spec.ops.back();
  op.heads = shape.heads, op.kv_heads = shape.kv_heads, op.head_dim = hd;
  op.scale = 1 / std::sqrt(double(hd));
  const KernelSpec spec = make.finish(target, {y});
  LoadedKernel kernel(spec, target);
  ASSERT_TRUE(kernel);
  Memory memory(spec);
  memory.randomRows(q, 8);
  TestCache made(memory, cache, CodeKind::i, hd, spec.context);
  made.randomize(shape.kv_heads, position + tokens);
  for (int32_t h = 0; h < shape.heads; h += kernel.grain())
    kernel.run(memory, h, kernel.grain(), tokens, position);
  EXPECT_TRUE(memory.intact());
  const int64_t stride = roundUp(shape.heads * hd, 16);
  for (int32_t t = 0; t < tokens; ++t)
    for (int32_t h = 0; h < shape.heads; ++h) {
      const int32_t kh = h / (shape.heads / shape.kv_heads), keys = position + t + 1;
      const float *own = memory.get<float>(q) + t * stride + h * hd;
      double largest = -1e300, total = 0, worst = 0;
      std::vector<int16_t> codes(hd);
      const double step = twinHeadCodes(own, hd, keyCodeLimit(hd), codes.data());
      std::vector<double> weights(keys);
      for (int32_t p = 0; p < keys; ++p) {
        double off = 0;
        for (int32_t d = 0; d < hd; ++d) {
          const double key = made.read(false, kh, p, d) * step * op.scale;
          weights[p] += key * codes[d];
          if (std::fabs(std::fabs(own[d] / step - codes[d]) - 0.5) < std::ldexp(1.0, -6))
            off += std::fabs(key);
        }
        largest = std::max(largest, weights[p]);
        worst = std::max(worst, off + std::ldexp(1.0, -19));
      }
      for (double &w : weights)
        total += w = std::exp(w - largest);
      for (int32_t d = 0; d < hd; ++d) {
        double want = 0, most = 0;
        for (int32_t first = 0; first < keys; first += kWeightCodeSpan) {
          double span = 0, values = 0;
          for (int32_t p = first; p < std::min(keys, first + kWeightCodeSpan); ++p) {
            const double weight = weights[p] / total, v = made.read(true, kh, p, d);
            want += weight * v;
            most += weight * std::fabs(v) * std::expm1(4 * worst); // its own, and the total's
            span = std::max(span, weight * made.scale(true, kh, p));
            values += std::abs(made.code(true, kh, p, d));
          }
          most += values * 0.5 * span * std::exp(4 * worst) / kWeightCodeLimit;
        }
        bound.expect(memory.get<float>(y)[t * stride + h * hd + d], want,
                     most + std::ldexp(std::fabs(want), -20),
                     "token " + std::to_string(t) + " head " + std::to_string(h) + " column " +
                         std::to_string(d));
      }
      if (testing::Test::HasFailure())
        return;
    }
}

TEST_F(HexagonKernel, Attention) {
  Bound bound;
  checkAttention(*target, {9, 3, 64}, 1, 1, 0, bound);
  checkAttention(*target, {9, 3, 64}, 1, 1, 130, bound);
  checkAttention(*target, {5, 1, 48}, 1, 1, 66, bound);
  checkAttention(*target, {4, 2, 64}, 13, 13, 60, bound);
  checkAttention(*target, {2, 2, 80}, 6, 5, 0, bound);
  checkAttention(*target, {2, 1, 128}, 3, 2, 200, bound);
  EXPECT_GT(bound.used, 0.05);
  std::printf("attention: %.0f %% of the bounds used\n", 100 * bound.used);
}

} // namespace
