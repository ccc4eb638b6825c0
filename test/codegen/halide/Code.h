// Kernels to look at, and their code.
#pragma once

#include "test/codegen/halide/Harness.h"

#include "llvm/ADT/StringExtras.h"

#include "gtest/gtest.h"

namespace ingot::test {

inline const Encoding u4 = integers(CodeKind::u, 4, 32, CodeKind::f16, true);
inline const Encoding i8 = integers(CodeKind::i, 8, 32, CodeKind::f16, false);
inline const Encoding iq4_nl = *Encoding::parse("iq4_nl, g32, f16");
inline const Encoding mxfp4 = *Encoding::parse("e2m1, g32, e8m0");

inline std::unique_ptr<Target> targetNamed(llvm::StringRef name) {
  return llvm::cantFail(makeTarget(name));
}

inline KernelSpec linearSpec(const Target &target, const Encoding &encoding, int32_t max_tokens,
                             int64_t rows = 64, int64_t columns = 576,
                             CodeKind activations = CodeKind::i) {
  SpecMaker make(max_tokens);
  const int32_t x = make.input(KernelValue::Kind::quant, columns);
  if (activations == CodeKind::f16) {
    make.spec.values[x].encoding.code = CodeKind::f16;
    make.spec.values[x].encoding.bits = 16;
  }
  const int32_t w = make.matrix(target, encoding, rows, columns);
  const int32_t y = make.rowsOp(KernelOp::Kind::linear, {x, w}, rows);
  const int64_t group = encoding.isFloat() ? 32 : encoding.groupElements(columns);
  make.spec.ops.back().act_group = group % 32 ? 16 : 32;
  return make.finish(target, {y});
}

/// Over halves of activations.
inline KernelSpec halvesSpec(const Target &target, const Encoding &encoding, int32_t max_tokens) {
  return linearSpec(target, encoding, max_tokens, 64, 576, CodeKind::f16);
}

inline KernelSpec attentionSpec(const Target &target, int32_t max_tokens, int32_t context,
                                CodeKind kv = CodeKind::f16) {
  SpecMaker make(max_tokens);
  make.spec.context = context;
  make.spec.kv = kv;
  const int32_t q = make.rows(9 * 64), cache = make.input(KernelValue::Kind::cache, 3 * 64);
  const int32_t y = make.rowsOp(KernelOp::Kind::attention, {q, cache}, 9 * 64);
  KernelOp &op = make.spec.ops.back();
  op.heads = 9, op.kv_heads = 3, op.head_dim = 64, op.scale = 0.125;
  return make.finish(target, {y});
}

inline KernelSpec normSpec(const Target &target, int32_t max_tokens) {
  SpecMaker make(max_tokens);
  const int32_t x = make.rows(576), gain = make.input(KernelValue::Kind::vector, 576);
  const int32_t q = make.quantize(make.rowsOp(KernelOp::Kind::rms_norm, {x, gain}, 576), 32);
  return make.finish(target, {q});
}

inline KernelSpec anglesSpec(const Target &target) {
  SpecMaker make(1);
  const int32_t y = make.value(KernelValue::Kind::angles, 64);
  KernelOp &op = make.op(KernelOp::Kind::rope_angles, {}, y);
  op.head_dim = 64, op.rope_theta = 1e5;
  return make.finish(target, {y});
}

inline std::string assembly(const KernelSpec &spec, const Target &target) {
  llvm::Expected<std::string> text = kernelAssembly(spec, target);
  if (!text) {
    ADD_FAILURE() << llvm::toString(text.takeError());
    return "";
  }
  return *text;
}

/// Instructions whose mnemonic starts with `mnemonic`.
inline int count(llvm::StringRef text, llvm::StringRef mnemonic) {
  int found = 0;
  for (llvm::StringRef line : llvm::split(text, '\n')) {
    line = line.trim();
    line.consume_front("{vex}"); // of AVX-VNNI, which AVX-512 has with another encoding
    found += line.trim().starts_with(mnemonic);
  }
  return found;
}

inline std::vector<KernelSpec> someKernels(const Target &target) {
  return {
      linearSpec(target, u4, 1),   linearSpec(target, i8, 1),      linearSpec(target, u4, 192),
      linearSpec(target, i8, 192), attentionSpec(target, 1, 2048), attentionSpec(target, 192, 2048),
      normSpec(target, 1),         normSpec(target, 192),          anglesSpec(target),
      halvesSpec(target, u4, 1),   halvesSpec(target, u4, 192)};
}

} // namespace ingot::test
