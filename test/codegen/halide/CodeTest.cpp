// What the machine code must and must not contain, without running it: so also for processors that
// this machine is not.
#include "test/codegen/halide/Code.h"

#include "llvm/Object/ELFObjectFile.h"

#include "gtest/gtest.h"

#include <set>
#include <thread>

using namespace ingot;
using namespace ingot::test;
using Kind = KernelOp::Kind;

namespace {

const char *const machines[] = {
    "x86-64-v3",      "x86-64-v3-vnni", "znver3", "x86-64-v4", "x86-64-v4-vnni", "cascadelake",
    "icelake-server", "sapphirerapids", "znver4", "znver5",    "cortex-a53",     "cortex-a76"};

TEST(Code, VnniMachinesUseTheDotProduct) {
  for (const char *name :
       {"x86-64-v3-vnni", "cascadelake", "icelake-server", "sapphirerapids", "znver4", "znver5"})
    for (const Encoding &encoding : {u4, i8}) {
      const auto target = targetNamed(name);
      const int registers = 512 / target->machine().vector_bits; // of 16 rows' sums
      // A group is 8 steps of 4 elements: one instruction each for every token of a tile and every
      // block of rows beside another.
      const std::string one = assembly(linearSpec(*target, encoding, 1), *target);
      EXPECT_EQ(count(one, "vpdpbusd"), 8 * registers) << name;
      EXPECT_EQ(count(one, "vpmaddwd") + count(one, "vpmaddubsw"), 0) << name;
      const KernelSpec spec = linearSpec(*target, encoding, 192);
      const std::string many = assembly(spec, *target);
      EXPECT_EQ(count(many, "vpdpbusd"), 8 * spec.tile.token_tile * spec.tile.streams * registers)
          << name;
      EXPECT_EQ(count(many, "vpmaddwd") + count(many, "vpmaddubsw"), 0) << name;
    }
}

TEST(Code, MachinesWithoutVnniUsePairs) {
  for (const char *name : {"x86-64-v3", "znver3", "x86-64-v4"}) {
    const auto target = targetNamed(name);
    const int registers = target->machine().vector_bits == 512 ? 1 : 2; // of 16 rows' pairs
    for (int32_t tokens : {1, 192}) {
      // One token: a group of 8 steps in a straight line. A tile: a loop over 2 steps.
      const KernelSpec spec = linearSpec(*target, u4, tokens);
      const int products = tokens == 1 ? 8 : 2 * spec.tile.token_tile * spec.tile.streams;
      const std::string narrow = assembly(spec, *target);
      EXPECT_EQ(count(narrow, "vpmaddubsw"), products * registers) << name;
      EXPECT_EQ(count(narrow, "vpaddsw"), 0) << name;
      EXPECT_EQ(count(narrow, "vpdpbusd"), 0) << name;
      // Pairs of 8-bit codes would saturate.
      const std::string wide = assembly(linearSpec(*target, i8, tokens), *target);
      EXPECT_EQ(count(wide, "vpmaddubsw"), 0) << name;
      EXPECT_GE(count(wide, "vpmaddwd"), 16) << name;
      EXPECT_EQ(count(wide, "vpdpbusd"), 0) << name;
    }
  }
}

TEST(Code, TablesAreLookedUpByVectors) {
  for (const char *name : {"x86-64-v3", "x86-64-v3-vnni", "x86-64-v4", "znver5", "cortex-a53",
                           "cortex-a76", "aarch64-i8mm"})
    for (const Encoding &encoding : {iq4_nl, mxfp4}) {
      const auto target = targetNamed(name);
      SCOPED_TRACE(std::string(name) + " " + encoding.str());
      const Machine &machine = target->machine();
      const bool x86 = llvm::StringRef(machine.triple).starts_with("x86");
      for (int32_t tokens : {1, 192}) {
        const KernelSpec spec = linearSpec(*target, encoding, tokens);
        const std::string text = assembly(spec, *target);
        // 8 steps of 4 elements of 16 rows. The same instructions widen exponents on AArch64, and
        // put codes of many tokens pair by pair (DotForm::widened_pairs).
        const int lookups = 8 * 512 / machine.vector_bits, all = lookups * spec.tile.streams,
                  found = count(text, x86 ? "vpshufb" : "tbl");
        EXPECT_GE(found, lookups);
        EXPECT_LE(found, x86 ? (tokens == 1 ? all : 2 * all) : all + 8);
        for (const char *one_by_one : {"vpinsrb", "vpextrb", "umov", "ins\t", "ldrb", "movzbl"})
          EXPECT_EQ(count(text, one_by_one), 0) << one_by_one;
        const bool quads = machine.byte_dot == ByteDot::mixed_quads;
        EXPECT_EQ(count(text, "vpdpbusd") > 0, quads);
        EXPECT_EQ(count(text, "vpmaddwd") > 0, x86 && !quads);
        EXPECT_EQ(count(text, "vpmaddubsw") > 0,
                  machine.byte_dot == ByteDot::mixed_pairs && encoding == mxfp4);
        EXPECT_EQ(count(text, "sdot") + count(text, "smmla") > 0,
                  machine.byte_dot == ByteDot::signed_quads);
      }
    }
}

TEST(Code, PlanesOfCodesMeetInVectors) {
  for (const char *name : {"x86-64-v3", "x86-64-v3-vnni", "x86-64-v4", "znver5", "cortex-a53",
                           "cortex-a76", "aarch64-i8mm"})
    for (const char *format :
         {"u2, g16, f16*u4+f16*u4", "i3, g16, f16*i6", "u4, g32, f16*u6+f16*u6",
          "u5, g32, f16*u6+f16*u6", "i5, g32, f16", "i6, g16, f16*i8"})
      for (int32_t tokens : {1, 192}) {
        const auto target = targetNamed(name);
        SCOPED_TRACE(std::string(name) + " " + format + " tokens " + std::to_string(tokens));
        const KernelSpec spec = linearSpec(*target, *Encoding::parse(format), tokens, 64, 512);
        const std::string text = assembly(spec, *target);
        for (const char *one_by_one : {"vpinsrb", "vpextrb", "umov", "ins\t", "ldrb", "movzbl"})
          EXPECT_EQ(count(text, one_by_one), 0) << one_by_one;
        const Machine &machine = target->machine();
        const int steps = int(spec.values[1].encoding.group_size / 4);
        if (machine.byte_dot == ByteDot::mixed_quads) {
          EXPECT_EQ(count(text, "vpdpbusd"), steps * (tokens == 1 ? 1 : spec.tile.token_tile) *
                                                 spec.tile.streams * (512 / machine.vector_bits));
        } else if (machine.byte_dot == ByteDot::mixed_pairs) {
          EXPECT_GT(count(text, "vpmaddubsw"), 0);
          EXPECT_EQ(count(text, "vpaddsw"), 0);
        }
      }
}

TEST(Code, OneTokenAsksForKeysAndValues) {
  for (const char *name : {"x86-64-v3", "x86-64-v3-vnni", "znver5"}) {
    const auto target = targetNamed(name);
    // While keys are read, other keys or values; while values are, others or the next heads' keys:
    // a line each time for every one that is read: two blocks, and one line of values, at least.
    EXPECT_GE(count(assembly(attentionSpec(*target, 1, 2048, CodeKind::i), *target), "prefetch"), 6)
        << name;
    EXPECT_EQ(count(assembly(attentionSpec(*target, 192, 2048, CodeKind::i), *target), "prefetch"),
              0)
        << name;
  }
}

TEST(Code, OnlyInstructionsOfTheMachine) {
  for (const char *name : {"x86-64-v3", "x86-64-v3-vnni", "znver3"})
    for (const KernelSpec &spec : someKernels(*targetNamed(name))) {
      const std::string text = assembly(spec, *targetNamed(name));
      for (const char *of_avx512 : {"%zmm", "%k1", "%ymm16", "%xmm16"})
        EXPECT_EQ(llvm::StringRef(text).count(of_avx512), 0u) << name << ": " << of_avx512;
    }
  for (const char *name : {"x86-64-v4", "cascadelake", "icelake-server", "sapphirerapids"}) {
    const auto target = targetNamed(name);
    for (const KernelSpec &spec : someKernels(*target)) {
      const std::string text = assembly(spec, *target);
      // SSE4A is AMD's; bf16 came after Ice Lake.
      EXPECT_EQ(count(text, "extrq") + count(text, "insertq"), 0) << name;
      EXPECT_EQ(count(text, "vdpbf16ps") + count(text, "vcvtneps2bf16"), 0) << name;
      if (llvm::StringRef(name) == "cascadelake") {
        EXPECT_EQ(count(text, "vpermb") + count(text, "vpermi2b") + count(text, "vpermt2b"), 0);
      }
    }
  }
}

TEST(Code, ObjectsNeedOnlyTheCLibrary) {
  const std::set<std::string> allowed = {"",    "memset", "memcpy", "memmove",
                                         "sin", "cos",    "pow",    "_GLOBAL_OFFSET_TABLE_"};
  for (const char *name : machines) {
    const auto target = targetNamed(name);
    for (const KernelSpec &spec : someKernels(*target)) {
      llvm::Expected<std::string> object = compileKernel(spec, *target);
      ASSERT_TRUE(bool(object)) << llvm::toString(object.takeError());
      auto file =
          llvm::object::ObjectFile::createObjectFile(llvm::MemoryBufferRef(*object, "kernel.o"));
      ASSERT_TRUE(bool(file));
      std::vector<std::string> defined;
      for (const llvm::object::SymbolRef &symbol : (*file)->symbols()) {
        const std::string symbol_name = llvm::cantFail(symbol.getName()).str();
        const uint32_t flags = llvm::cantFail(symbol.getFlags());
        if (flags & llvm::object::SymbolRef::SF_Undefined)
          EXPECT_TRUE(allowed.count(symbol_name)) << symbol_name;
        else if (flags & llvm::object::SymbolRef::SF_Global)
          defined.push_back(symbol_name);
      }
      EXPECT_EQ(defined, std::vector<std::string>{"kernel"}) << name;
    }
  }
}

TEST(Code, SameBytesWheneverAndWhereverCompiled) {
  const auto target = targetNamed("znver4");
  const std::vector<KernelSpec> specs = someKernels(*target);
  auto compileAll = [&](bool reverse) {
    std::vector<std::string> objects(specs.size());
    for (size_t i = 0; i < specs.size(); ++i) {
      const size_t at = reverse ? specs.size() - 1 - i : i;
      objects[at] = llvm::cantFail(compileKernel(specs[at], *target));
    }
    return objects;
  };
  const std::vector<std::string> first = compileAll(false);
  std::vector<std::vector<std::string>> others(2);
  std::thread one([&] { others[0] = compileAll(true); });
  std::thread two([&] { others[1] = compileAll(false); });
  one.join();
  two.join();
  for (const auto &other : others)
    for (size_t i = 0; i < specs.size(); ++i)
      EXPECT_TRUE(other[i] == first[i]) << "kernel " << i;
}

TEST(Code, MatricesOverTwoGigabytesCompile) {
  const auto target = targetNamed("znver4");
  const KernelSpec spec = linearSpec(*target, i8, 1, 300000, 8192);
  EXPECT_GT(bufferBytes(spec, 1, 0), int64_t(INT32_MAX));
  EXPECT_TRUE(bool(compileKernel(spec, *target)));
}

TEST(Code, KeysTellKernelsApart) {
  std::set<std::string> keys;
  size_t made = 0;
  for (const char *name : {"x86-64-v3", "znver4"}) {
    const auto target = targetNamed(name);
    for (KernelSpec spec : someKernels(*target)) {
      keys.insert(kernelKey(spec, *target));
      ++made;
      spec.name = "other";
      keys.insert(kernelKey(spec, *target)); // the name does not count
      spec.ops[0].eps += 1e-9;
      keys.insert(kernelKey(spec, *target));
      ++made;
    }
  }
  EXPECT_EQ(keys.size(), made);
}

TEST(Code, ImpossibleKernelsAreErrors) {
  const auto target = targetNamed("znver4");
  auto message = [&](const KernelSpec &spec) {
    llvm::Expected<std::string> object = compileKernel(spec, *target);
    return object ? std::string("compiled") : llvm::toString(object.takeError());
  };
  SpecMaker groups(1);
  const int32_t odd = groups.quantize(groups.rows(40), 32);
  EXPECT_NE(message(groups.finish(*target, {odd})).find("40 columns cannot be quantized"),
            std::string::npos);

  SpecMaker widths(1);
  const int32_t x = widths.rows(64), w = widths.matrix(*target, u4, 16, 96);
  const int32_t y = widths.rowsOp(Kind::linear, {x, w}, 16);
  EXPECT_NE(message(widths.finish(*target, {y})).find("64 columns meet a matrix of 96"),
            std::string::npos);

  SpecMaker nothing(1);
  nothing.rows(64);
  EXPECT_NE(message(nothing.finish(*target, {})).find("no output"), std::string::npos);

  // A norm of the linear's own output needs all of it before the first block: found by Halide.
  SpecMaker order(1);
  const int32_t q = order.input(KernelValue::Kind::quant, 64),
                gain = order.input(KernelValue::Kind::vector, 64);
  const int32_t m = order.matrix(*target, u4, 64, 64);
  const int32_t product = order.rowsOp(Kind::linear, {q, m}, 64);
  order.spec.ops.back().act_group = 32;
  const int32_t n = order.rowsOp(Kind::rms_norm, {product, gain}, 64);
  const std::string found = message(order.finish(*target, {n}));
  EXPECT_NE(found.find("linear"), std::string::npos) << found;
}

TEST(Interface, SlicesAndStrides) {
  const auto target = targetNamed("znver4");
  const KernelInterface linear = kernelInterface(linearSpec(*target, u4, 192, 40, 64));
  EXPECT_EQ(linear.axis, SliceAxis::row_blocks);
  EXPECT_EQ(linear.slices, 3);
  ASSERT_EQ(linear.arguments.size(), 7u); // codes, scales, sums; codes, scales, mins; rows
  EXPECT_EQ(linear.arguments[5].slice_stride_bytes, 0);
  EXPECT_EQ(linear.arguments[6].slice_stride_bytes, 64);
  const KernelInterface attention = kernelInterface(attentionSpec(*target, 1, 64));
  EXPECT_EQ(attention.axis, SliceAxis::heads);
  EXPECT_EQ(attention.slices, 9);
  EXPECT_EQ(attention.arguments.back().slice_stride_bytes, 256);
  EXPECT_EQ(kernelInterface(normSpec(*target, 192)).slices, 0);
  EXPECT_EQ(kernelInterface(normSpec(*target, 1)).slices, 1);
}

TEST(Interface, Costs) {
  const auto target = targetNamed("znver4");
  const KernelCost linear = kernelCost(linearSpec(*target, u4, 192, 64, 576), 10, 0);
  EXPECT_EQ(linear.macs, 64 * 576 * 10);
  EXPECT_EQ(linear.weight_bytes, 64 * 576 / 2 + 2 * 64 * 18 * 2);
  // Tokens 0, 1, 2 at position 5 attend to 6, 7, 8 keys; scores and values.
  const KernelCost attention = kernelCost(attentionSpec(*target, 192, 64), 3, 5);
  EXPECT_EQ(attention.macs, 2 * (6 + 7 + 8) * 9 * 64);
  EXPECT_EQ(attention.cache_bytes, 2 * 8 * 3 * 64 * 2);
}

/// Programs check the features that a machine lists, not those that LLVM knows of its processor:
/// Sapphire Rapids has AVX512-FP16, whose conversions would suit scales; Zen 5 has all but that.
TEST(Code, UsesOnlyListedFeatures) {
  const auto target = targetNamed("sapphirerapids");
  for (const KernelSpec &spec : someKernels(*target)) {
    const std::string text = assembly(spec, *target);
    for (const char *half : {"vcvtph2psx\t", "vcvtsh2ss\t", "vmovsh\t", "vmovw\t"})
      EXPECT_EQ(count(text, half), 0) << spec.name;
  }
}

} // namespace
