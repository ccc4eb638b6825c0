// What callers of kernels need to know without compiling them: arguments, buffer sizes, costs.
#include "dialects/kernel/KernelSpec.h"

#include <algorithm>

using namespace ingot;

namespace {

int64_t roundUp(int64_t value, int64_t to) { return (value + to - 1) / to * to; }

int64_t elementBytes(CodeKind kv) { return kv == CodeKind::f32 ? 4 : 2; }

/// Bytes of one head of one position, as keys or as values.
int64_t headBytes(CodeKind kv, int64_t head_dim) {
  return head_dim * elementBytes(kv) + (kv == CodeKind::i ? 4 : 0);
}

const KernelOp *findOp(const KernelSpec &spec, KernelOp::Kind kind) {
  for (const KernelOp &op : spec.ops)
    if (op.kind == kind)
      return &op;
  return nullptr;
}

int32_t actGroup(const KernelSpec &spec, int32_t value) {
  for (const KernelOp &op : spec.ops) {
    if (op.kind == KernelOp::Kind::quantize && op.result == value)
      return op.act_group;
    if (op.kind == KernelOp::Kind::linear && op.operands[0] == value)
      return op.act_group;
  }
  return 32;
}

} // namespace

int64_t ingot::paddedTokens(int32_t max_tokens) {
  return max_tokens == 1 ? 1 : roundUp(max_tokens, kTokenPadding);
}

int64_t ingot::cachePositions(int64_t context) { return roundUp(context, kWeightCodeSpan); }

bool ingot::hasTokens(const KernelValue &value) {
  switch (value.kind) {
  case KernelValue::Kind::vector:
  case KernelValue::Kind::matrix:
  case KernelValue::Kind::cache:
    return false;
  default:
    return true;
  }
}

int32_t ingot::bufferCount(const KernelValue &value, CodeKind kv) {
  switch (value.kind) {
  case KernelValue::Kind::quant:
    return 3;
  case KernelValue::Kind::cache:
    return kv == CodeKind::i ? 4 : 2;
  case KernelValue::Kind::matrix:
    return (value.encoding.isFloat()     ? 1
            : value.encoding.symmetric() ? 2
                                         : 3) +
           value.encoding.twoLevel();
  default:
    return 1;
  }
}

int64_t ingot::bufferBytes(const KernelSpec &spec, int32_t index, int32_t part) {
  const KernelValue &value = spec.values[index];
  const int64_t tokens = paddedTokens(spec.max_tokens);
  switch (value.kind) {
  case KernelValue::Kind::tokens:
    return 4 * tokens;
  case KernelValue::Kind::rows:
    return 4 * roundUp(value.width, 16) * tokens;
  case KernelValue::Kind::quant: {
    const int64_t groups = value.width / actGroup(spec, index);
    return part == 0 ? value.width * value.codeBits() / 8 * tokens : 4 * groups * tokens;
  }
  case KernelValue::Kind::vector:
    return 4 * roundUp(value.width, 16);
  case KernelValue::Kind::matrix: {
    const PackedLayout &layout = value.layout;
    const int64_t rows = roundUp(value.height, layout.rows);
    if (part == 0)
      return rows * value.width * layout.code_bits / 8;
    if (!value.encoding.twoLevel())
      return rows * value.encoding.groups(value.width) * scaleBytes(layout.scale_type);
    const int64_t numbers = value.encoding.symmetric() ? 1 : 2;
    return part <= numbers ? rows * value.encoding.groups(value.width)
                           : rows * value.width / Encoding::kSuperBlock * numbers *
                                 scaleBytes(layout.scale_type);
  }
  case KernelValue::Kind::cache: {
    int32_t kv_heads = 1, head_dim = 1;
    for (const KernelOp &op : spec.ops)
      if (op.kind == KernelOp::Kind::append || op.kind == KernelOp::Kind::attention)
        kv_heads = op.kv_heads, head_dim = op.head_dim;
    return cachePositions(spec.context) * kv_heads *
           (part < 2 ? head_dim * elementBytes(spec.kv) : 4);
  }
  case KernelValue::Kind::angles:
    return 4 * value.width * tokens;
  }
  return 0;
}

KernelInterface ingot::kernelInterface(const KernelSpec &spec) {
  KernelInterface result;
  const KernelOp *linear = findOp(spec, KernelOp::Kind::linear);
  const KernelOp *attention = findOp(spec, KernelOp::Kind::attention);
  const KernelOp *silu = findOp(spec, KernelOp::Kind::silu_mul);
  if (linear) {
    const KernelValue &matrix = spec.values[linear->operands[1]];
    result.axis = SliceAxis::row_blocks;
    result.slices = roundUp(matrix.height, matrix.layout.rows) / matrix.layout.rows;
    if (silu)
      result.slices /= 2;
  } else if (attention) {
    result.axis = SliceAxis::heads;
    result.slices = attention->heads;
    // One token reads each key and value once for all the heads that share it.
    if (spec.max_tokens == 1 && attention->kv_heads > 1)
      result.grain = attention->heads / attention->kv_heads;
  } else {
    result.axis = SliceAxis::tokens;
    const bool one = spec.max_tokens == 1 || findOp(spec, KernelOp::Kind::last_token);
    result.slices = one ? 1 : 0;
  }

  for (int32_t value : spec.inputs)
    for (int32_t part = 0; part < bufferCount(spec.values[value], spec.kv); ++part)
      result.arguments.push_back({value, part, 0});
  for (int32_t index : spec.outputs) {
    const KernelValue &value = spec.values[index];
    for (int32_t part = 0; part < bufferCount(value, spec.kv); ++part) {
      int64_t stride = 0;
      if (value.kind == KernelValue::Kind::cache)
        stride = 0;
      else if (result.axis == SliceAxis::row_blocks)
        stride = 4 * 16;
      else if (result.axis == SliceAxis::heads)
        stride = 4 * attention->head_dim;
      else if (value.kind == KernelValue::Kind::rows)
        stride = 4 * roundUp(value.width, 16);
      else if (value.kind == KernelValue::Kind::angles)
        stride = 4 * value.width;
      else if (value.kind == KernelValue::Kind::quant)
        stride = part == 0 ? value.width * value.codeBits() / 8
                           : 4 * (value.width / actGroup(spec, index));
      result.arguments.push_back({index, part, stride});
    }
  }
  return result;
}

KernelCost ingot::kernelCost(const KernelSpec &spec, int64_t tokens, int64_t position) {
  KernelCost cost;
  const bool last = findOp(spec, KernelOp::Kind::last_token);
  for (const KernelOp &op : spec.ops) {
    if (op.kind == KernelOp::Kind::linear) {
      const KernelValue &matrix = spec.values[op.operands[1]];
      cost.macs += matrix.width * matrix.height * tokens;
      for (int32_t part = 0; part < bufferCount(matrix, spec.kv); ++part)
        cost.weight_bytes += bufferBytes(spec, op.operands[1], part);
    } else if (op.kind == KernelOp::Kind::attention) {
      // Token t attends to position + t + 1 keys.
      const int64_t keys = tokens * position + tokens * (tokens + 1) / 2;
      cost.macs += 2 * keys * op.heads * op.head_dim;
      cost.cache_bytes += 2 * (position + tokens) * op.kv_heads * headBytes(spec.kv, op.head_dim);
    } else if (op.kind == KernelOp::Kind::append) {
      cost.cache_bytes += 2 * tokens * op.kv_heads * headBytes(spec.kv, op.head_dim);
    } else if (op.kind == KernelOp::Kind::embedding) {
      const KernelValue &matrix = spec.values[op.operands[1]];
      cost.weight_bytes += tokens * matrix.encoding.rowBytes(matrix.width).value_or(0);
    }
  }
  const int64_t padded = paddedTokens(spec.max_tokens);
  auto addActivations = [&](int32_t index) {
    const KernelValue &value = spec.values[index];
    if (value.kind == KernelValue::Kind::rows || value.kind == KernelValue::Kind::quant ||
        value.kind == KernelValue::Kind::angles)
      for (int32_t part = 0; part < bufferCount(value, spec.kv); ++part)
        cost.activation_bytes += bufferBytes(spec, index, part) / padded * (last ? 1 : tokens);
  };
  for (int32_t value : spec.inputs)
    addActivations(value);
  for (int32_t value : spec.outputs)
    addActivations(value);
  return cost;
}

int64_t ingot::typicalPosition(const KernelSpec &spec) {
  return std::clamp<int64_t>((int64_t(spec.context) - spec.max_tokens) / 2, 0, 256);
}
