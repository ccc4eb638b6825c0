// Every pass keeps the meaning of a module: the interpreter gives the same logits before and after.
#include "dialects/lm/interpreter/Interpreter.h"
#include "passes/Passes.h"

#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"

#include <gtest/gtest.h>

#include <random>

using namespace ingot;

namespace {

constexpr int vocab = 48, width = 64, hidden = 96, heads = 4, kv_heads = 2, head_dim = 16;

/// Random f32 weights as a hexadecimal literal.
std::string randomDense(std::mt19937 &random, std::vector<int> shape, float mean = 0) {
  std::normal_distribution<float> normal(mean, 0.2f);
  int64_t count = 1;
  std::string type = "tensor<", hex;
  for (int extent : shape) {
    count *= extent;
    type += std::to_string(extent) + "x";
  }
  for (int64_t i = 0; i < count; ++i) {
    const float value = normal(random);
    char text[9];
    uint8_t bytes[4];
    memcpy(bytes, &value, 4);
    snprintf(text, sizeof text, "%02X%02X%02X%02X", bytes[0], bytes[1], bytes[2], bytes[3]);
    hex += text;
  }
  return "dense<\"0x" + hex + "\"> : " + type + "f32>";
}

/// A Llama of two layers as text, so that the parser is in the loop.
std::string modelText() {
  std::mt19937 random(3);
  std::string weights, body;
  auto weight = [&](const std::string &name, std::vector<int> shape, float mean = 0) {
    std::string type = "tensor<";
    for (int extent : shape)
      type += std::to_string(extent) + "x";
    type += "f32>";
    weights +=
        "lm.weight @" + name + " : " + type + " = [" + randomDense(random, shape, mean) + "]\n";
    body += "%" + name + " = lm.ref @" + name + " : " + type + "\n";
  };
  auto rows = [](int columns) { return "tensor<?x" + std::to_string(columns) + "xf32>"; };
  auto linear = [&](const std::string &out, const std::string &in, const std::string &w, int n,
                    int k) {
    body += "%" + out + " = lm.linear %" + in + ", %" + w + " : " + rows(k) + ", tensor<" +
            std::to_string(n) + "x" + std::to_string(k) + "xf32> -> " + rows(n) + "\n";
  };
  weight("embd", {vocab, width});
  body += "%x0 = lm.embedding %tokens, %embd : tensor<?xi32>, tensor<48x64xf32> -> " + rows(width) +
          "\n%angles = lm.rope_angles %tokens at %position theta 1.0e4 : tensor<?xi32> -> " +
          rows(head_dim) + "\n";
  for (int layer = 0; layer < 2; ++layer) {
    const std::string l = std::to_string(layer), x = "x" + l;
    weights += "lm.kv_cache @kv" + l + " : !lm.cache<64x2x16xf32>\n";
    weight("an" + l, {width}, 1);
    weight("q" + l, {heads * head_dim, width});
    weight("k" + l, {kv_heads * head_dim, width});
    weight("v" + l, {kv_heads * head_dim, width});
    weight("o" + l, {width, heads * head_dim});
    weight("fn" + l, {width}, 1);
    weight("g" + l, {hidden, width});
    weight("u" + l, {hidden, width});
    weight("d" + l, {width, hidden});
    body += "%n" + l + " = lm.rms_norm %" + x + ", %an" + l + " eps 1.0e-5 : " + rows(width) +
            ", tensor<64xf32>\n";
    linear("ql" + l, "n" + l, "q" + l, heads * head_dim, width);
    linear("kl" + l, "n" + l, "k" + l, kv_heads * head_dim, width);
    linear("vl" + l, "n" + l, "v" + l, kv_heads * head_dim, width);
    body += "%qr" + l + " = lm.rope %ql" + l + " by %angles interleaved : " + rows(64) + ", " +
            rows(16) + "\n%kr" + l + " = lm.rope %kl" + l +
            " by %angles interleaved : " + rows(32) + ", " + rows(16) + "\n%kv" + l +
            " = lm.ref @kv" + l + " : !lm.cache<64x2x16xf32>\nlm.append %kr" + l + ", %vl" + l +
            " to %kv" + l + " at %position : " + rows(32) + ", " + rows(32) +
            ", !lm.cache<64x2x16xf32>\n%at" + l + " = lm.attention %qr" + l + " over %kv" + l +
            " at %position scale 0.25 : " + rows(64) + ", !lm.cache<64x2x16xf32>\n";
    linear("ol" + l, "at" + l, "o" + l, width, heads * head_dim);
    body += "%m" + l + " = lm.add %ol" + l + ", %" + x + " : " + rows(width) + "\n%n2" + l +
            " = lm.rms_norm %m" + l + ", %fn" + l + " eps 1.0e-5 : " + rows(width) +
            ", tensor<64xf32>\n";
    linear("gl" + l, "n2" + l, "g" + l, hidden, width);
    linear("ul" + l, "n2" + l, "u" + l, hidden, width);
    body += "%s" + l + " = lm.silu_mul %gl" + l + ", %ul" + l + " : " + rows(hidden) + "\n";
    linear("dl" + l, "s" + l, "d" + l, width, hidden);
    body += "%x" + std::to_string(layer + 1) + " = lm.add %dl" + l + ", %m" + l + " : " +
            rows(width) + "\n";
  }
  weight("on", {width}, 1);
  body += "%y = lm.rms_norm %x2, %on eps 1.0e-5 : tensor<?x64xf32>, tensor<64xf32>\n"
          "%l = lm.logits %y, %embd : tensor<?x64xf32>, tensor<48x64xf32> -> tensor<?x48xf32>\n";
  return weights +
         "func.func @forward(%tokens: tensor<?xi32>, %position: i32) -> tensor<?x48xf32> {\n" +
         body + "return %l : tensor<?x48xf32>\n}\n";
}

class Semantics : public testing::Test {
protected:
  Semantics() {
    context.loadDialect<lm::LmDialect, kernel::KernelDialect, mlir::func::FuncDialect>();
    module = mlir::parseSourceString<mlir::ModuleOp>(modelText(), &context);
  }

  void apply(std::initializer_list<std::unique_ptr<mlir::Pass>> passes) {
    mlir::PassManager manager(&context);
    for (auto &pass : passes)
      manager.addPass(std::move(const_cast<std::unique_ptr<mlir::Pass> &>(pass)));
    ASSERT_TRUE(mlir::succeeded(manager.run(*module)));
  }

  lm::reference::Rows run(llvm::StringRef function = "forward",
                          std::vector<int32_t> ids = {5, 0, 47, 5, 19, 30, 2},
                          int64_t position = 0) {
    if (!interpreter)
      interpreter = std::make_unique<lm::Interpreter>(*module);
    auto rows = interpreter->run(function, ids, position);
    if (!rows) {
      ADD_FAILURE() << llvm::toString(rows.takeError());
      return {};
    }
    return std::move(*rows);
  }

  static double distance(const lm::reference::Rows &a, const lm::reference::Rows &b) {
    EXPECT_EQ(a.data.size(), b.data.size());
    double worst = 0;
    for (size_t i = 0; i < std::min(a.data.size(), b.data.size()); ++i)
      worst = std::max(worst, double(std::fabs(a.data[i] - b.data[i])));
    return worst;
  }

  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  std::unique_ptr<lm::Interpreter> interpreter;
};

TEST_F(Semantics, PrefillInPartsIsPrefillAtOnce) {
  ASSERT_TRUE(module);
  const auto whole = run();
  interpreter.reset();
  run("forward", {5, 0, 47}, 0);
  const auto rest = run("forward", {5, 19, 30, 2}, 3);
  for (int64_t t = 0; t < rest.tokens; ++t)
    for (int64_t i = 0; i < rest.columns; ++i)
      EXPECT_EQ(rest.row(t)[i], whole.row(t + 3)[i]);
}

TEST_F(Semantics, FusionKeepsEveryBit) {
  ASSERT_TRUE(module);
  const auto before = run();
  interpreter.reset();
  apply({createLmFuseQkv(), createLmFuseGateUp()});
  EXPECT_EQ(distance(before, run()), 0);
}

TEST_F(Semantics, KernelsAreTheRegionsTheyCameFrom) {
  ASSERT_TRUE(module);
  const auto before = run();
  interpreter.reset();
  LmSpecializeStepsOptions steps;
  steps.prefill = 8;
  steps.score = 8;
  apply({createLmFuseQkv(), createLmFuseGateUp(), createLmSpecializeSteps(steps),
         createLmFuseRegions(), createKernelOutline()});
  EXPECT_EQ(distance(before, run("score")), 0);
  interpreter.reset();
  const auto last = run("prefill");
  ASSERT_EQ(last.tokens, 1);
  for (int64_t i = 0; i < last.columns; ++i)
    EXPECT_EQ(last.row(0)[i], before.row(before.tokens - 1)[i]);
  interpreter.reset();
  run("prefill", {5, 0, 47, 5, 19, 30}, 0);
  const auto decoded = run("decode", {2}, 6);
  for (int64_t i = 0; i < last.columns; ++i)
    EXPECT_EQ(decoded.row(0)[i], last.row(0)[i]);
}

TEST_F(Semantics, RoundingToEightBitsIsCloseAndFoldingGainsAddsNoSecondRounding) {
  ASSERT_TRUE(module);
  const auto exact = run();
  double largest = 0;
  for (float value : exact.data)
    largest = std::max(largest, double(std::fabs(value)));
  interpreter.reset();
  LmQuantizeWeightsOptions options;
  options.spec = "int8:g32";
  apply({createLmQuantizeWeights(options), createLmFoldNormGain()});
  const double eight = distance(exact, run());
  EXPECT_GT(eight, 0);
  EXPECT_LT(eight, 0.05 * largest);
  interpreter.reset();
  apply({createLmFuseQkv(), createLmFuseGateUp()});
  EXPECT_DOUBLE_EQ(distance(exact, run()), eight);
}

TEST_F(Semantics, QuantizedActivationsAreClose) {
  ASSERT_TRUE(module);
  LmQuantizeWeightsOptions options;
  options.spec = "int8:g32";
  apply({createLmQuantizeWeights(options)});
  const auto before = run();
  interpreter.reset();
  mlir::OwningOpRef<mlir::ModuleOp> plain = module->clone();
  double largest = 0;
  for (float value : before.data)
    largest = std::max(largest, double(std::fabs(value)));
  double coarse = 0;
  for (int32_t bits : {8, 16}) {
    interpreter.reset();
    module = plain->clone();
    apply({createLmQuantizeActivations({bits})});
    const double error = distance(before, run());
    EXPECT_GT(error, 0);
    EXPECT_LT(error, bits == 8 ? 0.05 * largest : 0.02 * coarse);
    coarse = error;
  }
}

TEST_F(Semantics, TheInterpreterRefusesWhatIsWrong) {
  ASSERT_TRUE(module);
  lm::Interpreter fresh(*module);
  for (auto &&[function, ids, position] :
       {std::tuple<const char *, std::vector<int32_t>, int64_t>{"nothing", {1}, 0},
        {"forward", {}, 0},
        {"forward", {vocab}, 0},
        {"forward", {-1}, 0},
        {"forward", {1}, 64},
        {"forward", {1}, -1}}) {
    auto rows = fresh.run(function, ids, position);
    EXPECT_FALSE(bool(rows)) << function << " " << position;
    llvm::consumeError(rows.takeError());
  }
}

} // namespace
