// Which functions of the runtime kernels for Hexagon are made of:
// test/targets/hexagon/instructions.py looks at theirs.
#include "test/codegen/halide/Code.h"

using namespace ingot;
using namespace ingot::test;

namespace {

/// Calls of functions, by name.
int calls(llvm::StringRef text, llvm::StringRef function) {
  int found = 0;
  for (llvm::StringRef line : llvm::split(text, '\n'))
    found += line.contains("call") && line.rtrim().ends_with(function);
  return found;
}

/// What would be a loop over numbers, one at a time.
void expectNoLoops(llvm::StringRef text) {
  for (const char *other :
       {"loop0(", "vrmpy", "sfmpy", "sfadd", "sfmake", "mpyi", "memub", "memb("})
    EXPECT_FALSE(text.contains(other)) << other;
}

TEST(HexagonCode, LinearLayersOfIntegersAreOneCall) {
  const auto target = targetNamed("hexagon-v68");
  for (const Encoding &encoding :
       {u4, i8, integers(CodeKind::i, 4, 32, CodeKind::f16, false),
        integers(CodeKind::u, 5, 32, CodeKind::f16, true),
        integers(CodeKind::u, 4, 32, CodeKind::f32, true),
        integers(CodeKind::i, 6, 32, CodeKind::f32, false),
        integers(CodeKind::i, 8, 0, CodeKind::f32, false), iq4_nl, mxfp4})
    for (auto [tokens, bits] : {std::pair(1, 8), {2, 16}, {72, 8}, {1, 16}, {72, 16}}) {
      KernelSpec spec = linearSpec(*target, encoding, tokens);
      spec.values[0].encoding.bits = uint8_t(bits);
      EXPECT_EQ(spec.tile.token_tile, tokens < 4 ? tokens : 4);
      const std::string text = assembly(spec, *target);
      EXPECT_EQ(calls(text, "ingot_hexagon_linear"), 1) << tokens;
      expectNoLoops(text);
    }
}

TEST(HexagonCode, NormsAnglesAndAttentionAreOneCall) {
  const auto target = targetNamed("hexagon-v68");
  for (int32_t tokens : {1, 72})
    for (const auto &[spec, function] :
         {std::pair{normSpec(*target, tokens), "ingot_hexagon_quantize"},
          std::pair{attentionSpec(*target, tokens, 2048, CodeKind::i), "ingot_hexagon_attention"},
          std::pair{anglesSpec(*target), "ingot_hexagon_angles"}}) {
      const std::string text = assembly(spec, *target);
      EXPECT_EQ(calls(text, function), 1) << function;
      expectNoLoops(text);
    }
}

} // namespace
