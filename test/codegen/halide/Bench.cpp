// kernel-bench [TARGET [NAME [asm|tiles]]]: rates of single kernels on one core, in the shapes of a
// small model, of those whose name contains NAME; `asm` prints their code instead, `tiles` the rate
// with every tile. Not a test: prints, judges nothing.
#include "test/codegen/halide/Twins.h"

#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/InitLLVM.h"

#include <chrono>
#include <cstdio>

using namespace ingot;
using namespace ingot::test;
using Kind = KernelOp::Kind;

namespace {

std::string wanted;
bool only_assembly = false, all_tiles = false;

double seconds(LoadedKernel &kernel, Memory &memory, int32_t tokens, int32_t position) {
  double best = 1e9;
  for (int i = 0; i < 20; ++i) {
    const auto start = std::chrono::steady_clock::now();
    kernel.runAll(memory, tokens, position);
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
    best = std::min(best, time.count());
  }
  return best;
}

void report(llvm::StringRef name, const KernelSpec &spec, const Target &target, int32_t tokens,
            int32_t position = 0, bool tiles = all_tiles) {
  if (!name.contains(wanted))
    return;
  if (tiles) {
    for (const Tile &tile : target.tileCandidates(spec)) {
      KernelSpec tiled = spec;
      tiled.tile = tile;
      report(llvm::formatv("{0}, tile of {1}, streams {2}{3}", name, tile.token_tile, tile.streams,
                           tile == spec.tile ? " *" : "")
                 .str(),
             tiled, target, tokens, position, false);
    }
    return;
  }
  if (only_assembly) {
    std::printf("%s", llvm::cantFail(kernelAssembly(spec, target)).c_str());
    return;
  }
  const auto start = std::chrono::steady_clock::now();
  LoadedKernel kernel(spec, target);
  const std::chrono::duration<double> compile = std::chrono::steady_clock::now() - start;
  Memory memory(spec);
  for (size_t i = 0; i < spec.values.size(); ++i)
    if (spec.values[i].kind == KernelValue::Kind::matrix)
      memory.setMatrix(int32_t(i), makeMatrix(spec.values[i], 1));
  const double time = seconds(kernel, memory, tokens, position);
  const KernelCost cost = kernelCost(spec, tokens, position);
  std::printf(
      "%-*s %9.1f us  %7.1f GMAC/s  %6.1f GB/s of weights and cache   (compiled in %.2f s)\n",
      all_tiles ? 62 : 34, name.str().c_str(), time * 1e6, double(cost.macs) / time / 1e9,
      double(cost.weight_bytes + cost.cache_bytes) / time / 1e9, compile.count());
}

void linear(const char *name, const Target &target, const Encoding &encoding, int64_t rows,
            int64_t columns, int32_t tokens, bool silu = false,
            Activations activations = Activations::int8) {
  SpecMaker make(tokens);
  const bool quantized = activations != Activations::f32;
  const int32_t x =
      make.input(quantized ? KernelValue::Kind::quant : KernelValue::Kind::rows, columns);
  if (activations == Activations::f16) {
    make.spec.values[x].encoding.code = CodeKind::f16;
    make.spec.values[x].encoding.bits = 16;
  }
  const int32_t w = make.matrix(target, encoding, rows, columns);
  int32_t y = make.rowsOp(Kind::linear, {x, w}, rows);
  make.spec.ops.back().act_group = quantized ? 32 : 0;
  if (silu)
    y = make.rowsOp(Kind::silu_mul, {y}, rows / 2);
  report(name, make.finish(target, {y}), target, tokens);
}

void attention(const char *name, const Target &target, int32_t max_tokens, int32_t position) {
  SpecMaker make(max_tokens);
  make.spec.context = 2048;
  make.spec.kv = CodeKind::i;
  const int32_t q = make.rows(9 * 64), cache = make.input(KernelValue::Kind::cache, 3 * 64);
  const int32_t y = make.rowsOp(Kind::attention, {q, cache}, 9 * 64);
  KernelOp &op = make.spec.ops.back();
  op.heads = 9, op.kv_heads = 3, op.head_dim = 64, op.scale = 0.125;
  report(name, make.finish(target, {y}), target, max_tokens, position);
}

void rows(const Target &target, int32_t tokens) {
  SpecMaker make(tokens);
  const int32_t x = make.rows(576), gain = make.input(KernelValue::Kind::vector, 576);
  const int32_t y = make.quantize(make.rowsOp(Kind::rms_norm, {x, gain}, 576), 32);
  report(("norm + quantize, tokens " + std::to_string(tokens)), make.finish(target, {y}), target,
         tokens);
  SpecMaker quantize(tokens);
  const int32_t z = quantize.quantize(quantize.rows(1536), 32);
  report(("quantize 1536, tokens " + std::to_string(tokens)).c_str(), quantize.finish(target, {z}),
         target, tokens);

  SpecMaker rope(tokens);
  rope.spec.context = 2048;
  rope.spec.kv = CodeKind::i;
  const int32_t qkv = rope.rows(960), angles = rope.input(KernelValue::Kind::angles, 64);
  auto cut = [&](int32_t offset, int32_t columns) {
    const int32_t out = rope.rowsOp(Kind::slice, {qkv}, columns);
    rope.spec.ops.back().offset = offset;
    return out;
  };
  auto rotate = [&](int32_t in, int32_t heads) {
    const int32_t out = rope.rowsOp(Kind::rope, {in, angles}, heads * 64);
    rope.spec.ops.back().heads = heads;
    rope.spec.ops.back().head_dim = 64;
    return out;
  };
  const int32_t q = rotate(cut(0, 576), 9), k = rotate(cut(576, 192), 3), v = cut(768, 192);
  const int32_t cache = rope.value(KernelValue::Kind::cache, 192);
  KernelOp &append = rope.op(Kind::append, {k, v, cache}, -1);
  append.kv_heads = 3, append.head_dim = 64;
  report(("rope + append, tokens " + std::to_string(tokens)).c_str(),
         rope.finish(target, {q, cache}), target, tokens);

  SpecMaker embed(tokens);
  const int32_t ids = embed.input(KernelValue::Kind::tokens, 0);
  const int32_t w =
      embed.matrix(target, integers(CodeKind::i, 8, 32, CodeKind::f16, false), 49152, 576);
  report(("embedding, tokens " + std::to_string(tokens)).c_str(),
         embed.finish(target, {embed.rowsOp(Kind::embedding, {ids, w}, 576)}), target, tokens);
  SpecMaker turn(tokens);
  const int32_t made = turn.value(KernelValue::Kind::angles, 64);
  KernelOp &op = turn.op(Kind::rope_angles, {}, made);
  op.head_dim = 64, op.rope_theta = 1e5;
  report(("rope angles, tokens " + std::to_string(tokens)).c_str(), turn.finish(target, {made}),
         target, tokens);
}

} // namespace

int main(int argc, char **argv) {
  llvm::InitLLVM init(argc, argv);
  llvm::Expected<std::unique_ptr<Target>> made = makeTarget(argc > 1 ? argv[1] : "host");
  if (!made) {
    llvm::errs() << llvm::toString(made.takeError()) << '\n';
    return 1;
  }
  const Target &target = **made;
  wanted = argc > 2 ? argv[2] : "";
  only_assembly = argc > 3 && llvm::StringRef(argv[3]) == "asm";
  all_tiles = argc > 3 && llvm::StringRef(argv[3]) == "tiles";
  if (!only_assembly)
    std::printf("%s, %s\n", target.machine().name.c_str(), target.machine().isa.c_str());
  const Encoding u4 = integers(CodeKind::u, 4, 32, CodeKind::f16, true),
                 i4 = integers(CodeKind::i, 4, 32, CodeKind::f16, false),
                 i8 = integers(CodeKind::i, 8, 32, CodeKind::f16, false);
  linear("gemv 1536x576 u4 g32", target, u4, 1536, 576, 1);
  linear("gemv 49152x576 u4 g32", target, u4, 49152, 576, 1);
  linear("gemv 49152x576 i8 g32", target, i8, 49152, 576, 1);
  linear("gemv 3072x576 u4 silu", target, u4, 3072, 576, 1, true);
  const Encoding f16 = floats(CodeKind::f16);
  for (auto [name, kind] : {std::pair{"f32", Activations::f32}, {"f16", Activations::f16}})
    for (int32_t tokens : {1, 192}) {
      const std::string what =
          " by " + std::string(name) + " activations, tokens " + std::to_string(tokens);
      linear(("1536x576 u4" + what).c_str(), target, u4, 1536, 576, tokens, false, kind);
      linear(("1536x576 f16" + what).c_str(), target, f16, 1536, 576, tokens, false, kind);
    }
  const Encoding iq4_nl = *Encoding::parse("iq4_nl, g32, f16"),
                 mxfp4 = *Encoding::parse("e2m1, g32, e8m0");
  linear("gemv 49152x576 iq4_nl", target, iq4_nl, 49152, 576, 1);
  linear("gemv 49152x576 mxfp4", target, mxfp4, 49152, 576, 1);
  for (auto [name, e] : {std::pair{"u4 g32", u4},
                         {"i4 g32", i4},
                         {"i8 g32", i8},
                         {"i5 g32", integers(CodeKind::i, 5, 32, CodeKind::f16, false)},
                         {"i6 g32", integers(CodeKind::i, 6, 32, CodeKind::f16, false)},
                         {"iq4_nl", iq4_nl},
                         {"mxfp4", mxfp4}}) {
    linear((std::string("gemm 1536x576x192 ") + name).c_str(), target, e, 1536, 576, 192);
    linear((std::string("gemm 576x1536x192 ") + name).c_str(), target, e, 576, 1536, 192);
  }
  linear("gemm 3072x576x192 u4 silu", target, u4, 3072, 576, 192, true);
  for (int32_t tokens : {4, 8}) {
    linear(("batch 3072x576 u4 silu, tokens " + std::to_string(tokens)).c_str(), target, u4, 3072,
           576, tokens, true);
    linear(("batch 576x1536 u4, tokens " + std::to_string(tokens)).c_str(), target, u4, 576, 1536,
           tokens);
    linear(("batch 49152x576 i8, tokens " + std::to_string(tokens)).c_str(), target, i8, 49152, 576,
           tokens);
  }
  attention("attention decode at 511", target, 1, 511);
  attention("attention decode at 2047", target, 1, 2047);
  attention("attention 192 tokens at 0", target, 192, 0);
  attention("attention 192 tokens at 512", target, 192, 512);
  rows(target, 1);
  rows(target, 192);
}
