// What the manifest says about kernels and launches: the terms of costs, as the runtime evaluates
// them, and the layer of each launch.
#include "codegen/link/Launches.h"
#include "dialects/kernel/Kernel.h"
#include "dialects/lm/Lm.h"
#include "runtime/core/profile.h"

#include "mlir/Parser/Parser.h"

#include <gtest/gtest.h>

using namespace ingot;

namespace {

KernelOp op(KernelOp::Kind kind, std::vector<int32_t> operands, int32_t result) {
  KernelOp made{kind, std::move(operands)};
  made.result = result;
  made.heads = 9;
  made.kv_heads = 3;
  made.head_dim = 64;
  made.act_group = 32;
  return made;
}

KernelValue value(KernelValue::Kind kind, int64_t width, int64_t height = 0) {
  KernelValue made;
  made.kind = kind;
  made.width = width;
  made.height = height;
  if (kind == KernelValue::Kind::matrix)
    made.encoding = *Encoding::parse("u4, g32, f16+f16");
  return made;
}

/// What --profile prints must be what kernelCost says, for one call and for the sum of many.
void expectSameCosts(const KernelSpec &spec) {
  const CostTerms terms = costTerms(spec);
  KernelCost sum;
  runtime::CostFactors factors;
  auto expectSame = [&](const KernelCost &cost, const runtime::CostFactors &of) {
    EXPECT_EQ(runtime::evaluate(&terms.macs, of), uint64_t(cost.macs));
    EXPECT_EQ(runtime::evaluate(&terms.weight_bytes, of), uint64_t(cost.weight_bytes));
    EXPECT_EQ(runtime::evaluate(&terms.cache_bytes, of), uint64_t(cost.cache_bytes));
    EXPECT_EQ(runtime::evaluate(&terms.activation_bytes, of), uint64_t(cost.activation_bytes));
  };
  for (int32_t tokens : {1, 2, 3, 24, 191, 192})
    for (int32_t position : {0, 1, 7, 512, 2047}) {
      SCOPED_TRACE(std::to_string(tokens) + " tokens at " + std::to_string(position));
      const KernelCost cost = kernelCost(spec, tokens, position);
      runtime::CostFactors one;
      one.add(tokens, position);
      expectSame(cost, one);
      factors.add(one);
      sum.macs += cost.macs;
      sum.weight_bytes += cost.weight_bytes;
      sum.cache_bytes += cost.cache_bytes;
      sum.activation_bytes += cost.activation_bytes;
      expectSame(sum, factors);
    }
}

using VK = KernelValue::Kind;
using OK = KernelOp::Kind;

TEST(CostTerms, Linear) {
  KernelSpec spec;
  spec.values = {value(VK::quant, 576), value(VK::matrix, 576, 960), value(VK::rows, 960)};
  spec.ops = {op(OK::linear, {0, 1}, 2)};
  spec.inputs = {0, 1};
  spec.outputs = {2};
  for (int32_t most : {1, 192}) {
    spec.max_tokens = most;
    expectSameCosts(spec);
  }
  EXPECT_EQ(costTerms(spec).macs.per_token(), 576 * 960);
  EXPECT_GT(costTerms(spec).weight_bytes.fixed(), 0);
}

TEST(CostTerms, Attention) {
  KernelSpec spec;
  spec.values = {value(VK::rows, 576), value(VK::cache, 0), value(VK::rows, 576)};
  spec.ops = {op(OK::append, {0, 0, 1}, -1), op(OK::attention, {0, 1}, 2)};
  spec.inputs = {0, 1};
  spec.outputs = {2};
  spec.context = 2048;
  for (CodeKind kv : {CodeKind::i, CodeKind::f16, CodeKind::f32}) {
    spec.kv = kv;
    spec.max_tokens = 192;
    expectSameCosts(spec);
  }
  EXPECT_GT(costTerms(spec).macs.per_key(), 0);
  EXPECT_GT(costTerms(spec).cache_bytes.per_position(), 0);
}

TEST(CostTerms, EmbeddingAndLastToken) {
  KernelSpec spec;
  spec.values = {value(VK::tokens, 0), value(VK::matrix, 576, 4096), value(VK::rows, 576)};
  spec.ops = {op(OK::embedding, {0, 1}, 2)};
  spec.inputs = {0, 1};
  spec.outputs = {2};
  spec.max_tokens = 192;
  expectSameCosts(spec);
  spec.values = {value(VK::rows, 576), value(VK::rows, 576)};
  spec.ops = {op(OK::last_token, {0}, 1)};
  spec.inputs = {0};
  spec.outputs = {1};
  expectSameCosts(spec);
}

TEST(Launches, Layers) {
  mlir::MLIRContext context;
  context.loadDialect<lm::LmDialect, kernel::KernelDialect, mlir::func::FuncDialect>();
  auto module = mlir::parseSourceString<mlir::ModuleOp>(R"mlir(
    kernel.func @add(%x: tensor<1x32xf32>, %y: tensor<1x32xf32>) -> tensor<1x32xf32>
        attributes {anchor = "add", max_tokens = 1 : i64} {
      %0 = lm.add %x, %y : tensor<1x32xf32>
      kernel.return %0 : tensor<1x32xf32>
    }
    lm.weight @embd.weight : tensor<1x32xf32> = [dense<0.0> : tensor<1x32xf32>] at 0
    lm.weight @blk.0.a : tensor<1x32xf32> = [dense<0.0> : tensor<1x32xf32>] at 0
    lm.weight @blk.12.b.weight : tensor<1x32xf32> = [dense<0.0> : tensor<1x32xf32>] at 0
    func.func @decode(%t: tensor<1x32xf32>) -> tensor<1x32xf32> {
      %w = lm.ref @embd.weight : tensor<1x32xf32>
      %w0 = lm.ref @blk.0.a : tensor<1x32xf32>
      %w12 = lm.ref @blk.12.b.weight : tensor<1x32xf32>
      %e = kernel.launch @add(%t, %w) at [0] : (tensor<1x32xf32>, tensor<1x32xf32>) -> tensor<1x32xf32>
      %angles = kernel.launch @add(%t, %t) at [0] : (tensor<1x32xf32>, tensor<1x32xf32>) -> tensor<1x32xf32>
      kernel.barrier
      %quant0 = kernel.launch @add(%e, %e) at [0] : (tensor<1x32xf32>, tensor<1x32xf32>) -> tensor<1x32xf32>
      kernel.barrier
      %a = kernel.launch @add(%quant0, %w0) at [0] : (tensor<1x32xf32>, tensor<1x32xf32>) -> tensor<1x32xf32>
      %b = kernel.launch @add(%a, %angles) at [0] : (tensor<1x32xf32>, tensor<1x32xf32>) -> tensor<1x32xf32>
      %c = kernel.launch @add(%b, %w12) at [0] : (tensor<1x32xf32>, tensor<1x32xf32>) -> tensor<1x32xf32>
      kernel.barrier
      %d = kernel.launch @add(%c, %w12) at [0] : (tensor<1x32xf32>, tensor<1x32xf32>) -> tensor<1x32xf32>
      %f = kernel.launch @add(%d, %angles) at [0] : (tensor<1x32xf32>, tensor<1x32xf32>) -> tensor<1x32xf32>
      %l = kernel.launch @add(%f, %w) at [-1] : (tensor<1x32xf32>, tensor<1x32xf32>) -> tensor<1x32xf32>
      return %l : tensor<1x32xf32>
    })mlir",
                                                        &context);
  ASSERT_TRUE(module);
  const std::vector<int16_t> layers =
      launchLayers(module->lookupSymbol<mlir::func::FuncOp>("decode"));
  // e, angles; barrier; quant0; barrier; a, b, c; barrier; d, f, l. %angles serves both layers, and
  // %b and %f work for what comes next.
  EXPECT_EQ(layers, (std::vector<int16_t>{-1, -1, -1, 0, 0, 0, 12, 12, 12, 12, -2, -2}));
}

} // namespace
