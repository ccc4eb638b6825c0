// Buffers of a kernel: its arguments become values, the values of its outputs become buffers.
#include "codegen/halide/KernelBuilder.h"

using namespace ingot;
using namespace Halide;

KernelBuilder::Step KernelBuilder::stepFor(KernelOp::Kind kind) {
  using Kind = KernelOp::Kind;
  static constexpr std::pair<Kind, Step> steps[] = {
      {Kind::embedding, &KernelBuilder::embedding},
      {Kind::rms_norm, &KernelBuilder::rmsNorm},
      {Kind::quantize, &KernelBuilder::quantize},
      {Kind::linear, &KernelBuilder::linear},
      {Kind::add, &KernelBuilder::add},
      {Kind::silu_mul, &KernelBuilder::siluMul},
      {Kind::last_token, &KernelBuilder::lastToken},
      {Kind::rope_angles, &KernelBuilder::ropeAngles},
      {Kind::rope, &KernelBuilder::rope},
      {Kind::slice, &KernelBuilder::slice},
      {Kind::append, &KernelBuilder::append},
      {Kind::attention, &KernelBuilder::attention},
  };
  for (auto [key, step] : steps)
    if (key == kind)
      return step;
  return nullptr;
}

void KernelBuilder::declareCache(Value &value) {
  int32_t kv_heads = 1, head_dim = 1;
  for (const KernelOp &op : spec.ops)
    if (op.kind == KernelOp::Kind::append || op.kind == KernelOp::Kind::attention)
      kv_heads = op.kv_heads, head_dim = op.head_dim;
  const int64_t context = cachePositions(spec.context);
  if (spec.kv == CodeKind::i) {
    value.cache = {input(Int(16), "keys", {2, 16, head_dim / 2, context / 16, kv_heads}),
                   input(Int(16), "cached_values", {2, head_dim, context / 2, kv_heads}),
                   input(Float(32), "key_scales", {context, kv_heads}),
                   input(Float(32), "value_scales", {context, kv_heads})};
    return;
  }
  const Type type = spec.kv == CodeKind::f16 ? Float(16) : Float(32);
  value.cache = {input(type, "keys", {16, head_dim, context / 16, kv_heads}),
                 input(type, "cached_values", {head_dim, context, kv_heads})};
}

void KernelBuilder::declareInput(int32_t index) {
  const KernelValue &value = spec.values[index];
  Value &result = values[index];
  const std::string name = "in" + std::to_string(index);
  switch (value.kind) {
  case KernelValue::Kind::tokens:
    result.buffer = input(Int(32), name, {padded_tokens});
    break;
  case KernelValue::Kind::rows: {
    ImageParam param = input(Float(32), name, {roundUp(value.width, 16), padded_tokens});
    result.rows = bufferRows(param, value.width);
    break;
  }
  case KernelValue::Kind::quant: {
    int32_t group = 32;
    for (const KernelOp &op : spec.ops)
      if (op.kind == KernelOp::Kind::linear && op.operands[0] == index && op.act_group)
        group = op.act_group;
    const int64_t groups = value.width / group;
    ImageParam codes = input(value.holdsHalves() ? Float(16) : Int(value.codeBits()),
                             name + "_codes", {value.width, padded_tokens});
    ImageParam scales = input(Float(32), name + "_scales", {groups, padded_tokens});
    ImageParam sums = input(Int(32), name + "_sums", {groups, padded_tokens});
    result.quant = Quant{codes, scales, sums, group};
    break;
  }
  case KernelValue::Kind::vector:
    result.buffer = input(Float(32), name, {roundUp(value.width, 16)});
    break;
  case KernelValue::Kind::matrix: {
    Matrix matrix;
    matrix.value = &value;
    const PackedLayout &layout = value.layout;
    const int64_t blocks = roundUp(value.height, layout.rows) / layout.rows;
    if (value.encoding.isFloat()) {
      const Type type = value.encoding.code == CodeKind::f32    ? Float(32)
                        : value.encoding.code == CodeKind::bf16 ? UInt(16)
                                                                : Float(16);
      matrix.codes = input(type, name + "_codes", {layout.rows, value.width, blocks});
    } else {
      const int64_t group = value.encoding.groupElements(value.width);
      const int64_t groups = value.width / group;
      const Type real = layout.scale_type == CodeKind::f16    ? Float(16)
                        : layout.scale_type == CodeKind::e8m0 ? UInt(8)
                                                              : Float(32);
      const bool two_level = value.encoding.twoLevel(), mins = !value.encoding.symmetric();
      const Type scale = two_level ? UInt(8) : real;
      matrix.codes = input(UInt(8), name + "_codes",
                           {layout.k_inner, layout.rows,
                            group * layout.code_bits / 8 / layout.k_inner, groups, blocks});
      matrix.scales = input(scale, name + "_scales", {layout.rows, groups, blocks});
      if (mins)
        matrix.mins = input(scale, name + "_mins", {layout.rows, groups, blocks});
      if (two_level)
        matrix.supers =
            input(real, name + "_supers",
                  {layout.rows, mins ? 2 : 1, value.width / Encoding::kSuperBlock, blocks});
    }
    result.matrix = matrix;
    break;
  }
  case KernelValue::Kind::cache:
    declareCache(result);
    break;
  case KernelValue::Kind::angles:
    result.buffer = input(Float(32), name, {value.width / 2, 2, padded_tokens});
    break;
  }
}

llvm::Error KernelBuilder::finishOutput(int32_t index) {
  const KernelValue &value = spec.values[index];
  Value &made = values[index];
  if (value.kind == KernelValue::Kind::cache || value.kind == KernelValue::Kind::angles)
    return llvm::Error::success(); // append and rope_angles wrote it themselves
  if (made.quantize_stage >= 0) {
    QuantizeStage &stage = out.request.quantizes[made.quantize_stage];
    const int32_t width = int32_t(value.width), groups = stage.groups, group = stage.group;
    if (axis != SliceAxis::tokens)
      return fail("a quantized output is cut by tokens");
    outputBuffer(stage.codes, {group, groups, sliceCount()}, {1, group, width});
    outputBuffer(stage.scales, {groups, sliceCount()}, {1, groups});
    outputBuffer(stage.sums, {groups, sliceCount()}, {1, groups});
    for (Func func : {stage.codes, stage.scales, stage.sums})
      out.request.outputs.push_back({OutputStage::Kind::quant, func, {}, {}, 0});
    return llvm::Error::success();
  }
  if (!made.rows)
    return fail("output %" + llvm::Twine(index) + " is not computed");
  const Rows &rows = *made.rows;
  const int64_t stride = roundUp(value.width, 16);
  Func func("result");
  OutputStage stage;
  if (axis == SliceAxis::row_blocks) {
    Var n("out_n"), nb("out_nb"), t("out_t");
    RDom r(0, spec.tile.streams, 0, streamBlocks(), "out_r");
    if (spec.tile.streams > 1) // what two streams compute is written once: it may be added in place
      r.where(r.x == spec.tile.streams - 1 || r.y + streamBegin(r.x) < streamBegin(r.x + 1));
    func(n, nb, t) = undef<float>();
    func(n, r.y + streamBegin(r.x), t) = blockOf(rows, n, r.y + begin, r.x, t);
    outputBuffer(func, {16, extent, paddedTokenCount()}, {1, 16, stride});
    stage = {OutputStage::Kind::blocks, func, {n, t}, {r.x, r.y}, 16};
  } else if (axis == SliceAxis::heads) {
    if (!rows.head)
      return fail("the output of attention is written as it is");
    Var d("out_d"), h("out_h"), t("out_t");
    const int32_t grain = int32_t(kernelInterface(spec).grain);
    func(d, h, t) = rows.head(d, h + (grain > 1 ? begin / grain * grain : Expr(begin)), 0, t);
    outputBuffer(func, {rows.head_dim, extent, paddedTokenCount()}, {1, rows.head_dim, stride});
    stage = {OutputStage::Kind::heads, func, {d, h, t}, {}, rows.head_dim};
  } else if (rows.pair) {
    Var i("out_i"), half("out_half"), h("out_h"), t("out_t");
    const int32_t head_dim = rows.head_dim;
    func(i, half, h, t) = rows.pair(i, half, h, t + firstSlice());
    const int64_t outer = rows.interleaved ? 1 : head_dim / 2, inner = rows.interleaved ? 2 : 1;
    outputBuffer(func, {head_dim / 2, 2, int32_t(rows.width / head_dim), sliceCount()},
                 {inner, outer, head_dim, stride});
    stage = {OutputStage::Kind::pairs, func, {i, half, h, t}, {}, head_dim / 2};
  } else {
    Var c("out_c"), t("out_t");
    func(c, t) = rows.at(c, t + firstSlice());
    outputBuffer(func, {int32_t(rows.width), sliceCount()}, {1, stride});
    stage = {OutputStage::Kind::columns, func, {c, t}, {}, rows.width};
  }
  out.request.outputs.push_back(stage);
  return llvm::Error::success();
}

llvm::Expected<BuiltKernel> KernelBuilder::build() {
  tile = spec.max_tokens == 1 ? 1 : std::max(1, spec.tile.token_tile);
  padded_tokens = paddedTokens(spec.max_tokens);
  values.resize(spec.values.size());
  for (const KernelOp &op : spec.ops) {
    if (op.kind == KernelOp::Kind::linear)
      axis = SliceAxis::row_blocks;
    else if (op.kind == KernelOp::Kind::attention)
      axis = SliceAxis::heads;
    one_token |= op.kind == KernelOp::Kind::last_token;
  }
  out.arguments = {begin, extent, tokens, position};
  for (int32_t index : spec.inputs)
    declareInput(index);
  for (const KernelOp &op : spec.ops)
    if (llvm::Error error = (this->*stepFor(op.kind))(op))
      return std::move(error);

  // Buffers follow spec.outputs, whatever the order of the ops: append and rope_angles come first
  // in `functions`, so outputs are collected value by value.
  std::vector<Func> own = std::move(functions), ordered;
  functions.clear();
  for (int32_t index : spec.outputs) {
    const KernelValue::Kind kind = spec.values[index].kind;
    if (kind == KernelValue::Kind::cache || kind == KernelValue::Kind::angles)
      functions.insert(functions.end(), own.begin(), own.end());
    else if (llvm::Error error = finishOutput(index))
      return std::move(error);
  }
  if (functions.empty())
    return fail("no output");
  out.pipeline = Pipeline(functions);
  return std::move(out);
}

llvm::Expected<BuiltKernel> ingot::buildKernel(const KernelSpec &spec,
                                               const ingot::Target &target) {
  return KernelBuilder(spec, target).build();
}
