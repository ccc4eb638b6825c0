// Builds one kernel: the class that Builder.cpp (buffers) and Ops*.cpp (one function per op kind)
// define together.
//
// Values of rows are expressions in (column, token) until something that needs a loop of its own (a
// linear, a norm, a quantization, attention) turns them into Funcs; the target schedules those.
//
// Sums of floats have one order, whatever the tile: groups, columns, channels and positions in
// order; squares and softmax weights in 16 partial sums (index mod 16), then a fixed tree.
// Pipelines use strict float operations, so decode and prefill give the same bits.
#pragma once

#include "codegen/halide/Builder.h"
#include "codegen/halide/Kernel.h"
#include "codegen/halide/Lookups.h"
#include "codegen/halide/Math.h"
#include "support/Error.h"
#include "targets/Target.h"

#include <functional>
#include <optional>

namespace ingot {

using Halide::Expr, Halide::Func, Halide::ImageParam, Halide::RDom, Halide::Type, Halide::Var;

inline int64_t roundUp(int64_t value, int64_t to) { return (value + to - 1) / to * to; }

/// Rows as expressions: at(column, token); pair(i, half, head, token) where heads are rotated.
struct Rows {
  int64_t width = 0;
  std::function<Expr(Expr, Expr)> at;
  /// (n, nb, stream, token): row n of block nb of a stream; KernelBuilder::streamStart has its
  /// start.
  std::function<Expr(Expr, Expr, Expr, Expr)> block;
  std::function<Expr(Expr, Expr, Expr, Expr)> pair, head; ///< head: (d, head, _, token)
  int32_t head_dim = 0;
  bool interleaved = false;
};

struct Quant {
  Func codes, scales, sums; // (k, t), (g, t), (g, t)
  int32_t group = 32;
};

struct Matrix {
  const KernelValue *value = nullptr;
  ImageParam codes, scales, mins, supers;
};

struct Value {
  std::optional<Rows> rows;
  std::optional<Quant> quant;
  std::optional<Matrix> matrix;
  std::optional<ImageParam> buffer; // tokens, vector, angles
  std::vector<ImageParam> cache;    // keys, values; of i16 codes also their scales
  int32_t quantize_stage = -1;
};

/// Bounds and strides of a buffer, fastest dimension first: nothing is read from the argument.
template <typename Buffer>
void setShape(Buffer buffer, const std::vector<Expr> &extents,
              const std::vector<int64_t> &strides) {
  for (size_t i = 0; i < extents.size(); ++i)
    buffer.dim(int(i)).set_bounds(0, extents[i]).set_stride(int32_t(strides[i]));
}

inline std::vector<int64_t> denseStrides(const std::vector<int64_t> &extents) {
  std::vector<int64_t> strides;
  int64_t stride = 1;
  for (int64_t extent : extents) {
    strides.push_back(stride);
    stride *= extent;
  }
  return strides;
}

/// A stored float as f32; bf16 is the upper half of one, and a byte an exponent (e8m0ToFloat).
inline Expr widen(Expr stored) {
  if (stored.type() == Halide::UInt(8)) {
    Expr exponent = Halide::cast<int32_t>(stored);
    // 2^-128 and 2^-127, which the smaller exponents are, are below the least normal number.
    return Halide::reinterpret<float>(Halide::max((exponent - 1) << 23, (exponent + 1) << 21));
  }
  if (stored.type() == Halide::UInt(16))
    return Halide::reinterpret<float>(Halide::cast<uint32_t>(stored) << 16);
  return Halide::cast<float>(stored);
}

/// The code of a matrix at element b of a step of a group, as it is stored: its planes put
/// together. `place` is the step in its half of the group.
inline Expr storedCode(const Matrix &matrix, Expr b, Expr n, Expr step, Expr place, Expr group,
                       Expr block) {
  const PackedLayout &layout = matrix.value->layout;
  if (layout.code_bits == 8)
    return matrix.codes(b, n, step, group, block);
  const int32_t steps =
      int32_t(matrix.value->encoding.groupElements(matrix.value->width)) / layout.k_inner;
  Expr code;
  int32_t start = 0, shift = 0; // of a plane: its first step of bytes, the code's first bit
  for (const int32_t bits : planesOf(layout.code_bits)) {
    const int32_t fields = 8 / bits, part = steps / fields;
    Expr byte = matrix.codes(b, n, start + (bits == 4 ? place : step % part), group, block);
    Expr field;
    for (int32_t i = fields - 1; i >= 0; --i) {
      const int32_t by = shift - bits * i, mask = ((1 << bits) - 1) << shift;
      Expr moved = by > 0   ? byte << Halide::cast<uint8_t>(by)
                   : by < 0 ? byte >> Halide::cast<uint8_t>(-by)
                            : byte;
      if (by != bits - 8 || shift) // the highest bits come down alone
        moved = moved & Halide::cast<uint8_t>(mask);
      field = field.defined() ? Halide::select(step < (i + 1) * part, moved, field) : moved;
    }
    code = code.defined() ? code | field : field;
    start += part;
    shift += bits;
  }
  return code;
}

/// A scale, or a minimum, of a group.
inline Expr scaleOf(const Matrix &matrix, bool min, Expr n, Expr group, Expr block) {
  const Encoding &encoding = matrix.value->encoding;
  Expr stored = (min ? matrix.mins : matrix.scales)(n, group, block);
  if (!encoding.twoLevel())
    return widen(stored);
  if ((min ? encoding.min : encoding.scale).sub_signed)
    stored = Halide::reinterpret<int8_t>(stored);
  Expr super = group / int32_t(Encoding::kSuperBlock / encoding.group_size);
  return Halide::cast<float>(Halide::cast<int32_t>(stored)) *
         widen(matrix.supers(n, int32_t(min), super, block));
}

/// What a stored code stands for: code * scale + min.
inline Expr decoded(const Matrix &matrix, Expr stored, Expr n, Expr group, Expr block) {
  const Encoding &encoding = matrix.value->encoding;
  Expr code = encoding.table == CodeTable::none
                  ? Halide::cast<int32_t>(stored) + encoding.minCode()
                  : Halide::cast<int32_t>(lookUp(encoding.values(), stored));
  Expr value = Halide::cast<float>(code) * scaleOf(matrix, false, n, group, block);
  return encoding.symmetric() ? value : value + scaleOf(matrix, true, n, group, block);
}

class KernelBuilder {
public:
  KernelBuilder(const KernelSpec &spec, const ingot::Target &target)
      : spec(spec), target(target),
        out{Halide::Pipeline(), {}, {spec, {}, {}, {}, {}, {}, {}, {}}, false} {}

  llvm::Expected<BuiltKernel> build();

private:
  using Step = llvm::Error (KernelBuilder::*)(const KernelOp &);
  static Step stepFor(KernelOp::Kind kind);

  llvm::Error fail(const llvm::Twine &message) {
    return inputError("kernel " + spec.name, "", message);
  }

  ImageParam input(Type type, const std::string &name, const std::vector<int64_t> &extents) {
    ImageParam param(type, int(extents.size()), name);
    std::vector<Expr> bounds(extents.begin(), extents.end());
    for (size_t i = 0; i < extents.size(); ++i)
      bounds[i] = Expr(int32_t(extents[i]));
    setShape(param, bounds, denseStrides(extents));
    int64_t elements = 1;
    for (int64_t extent : extents)
      elements *= extent;
    out.large_buffers |= elements > INT32_MAX;
    out.arguments.push_back(param);
    return param;
  }

  Rows bufferRows(ImageParam param, int64_t width) {
    Rows rows;
    rows.width = width;
    rows.at = [param](Expr c, Expr t) { return param(c, t); };
    return rows;
  }

  /// A slice of row blocks is computed at Tile::streams places in turns or side by side, of
  /// streamBlocks() each. Where the slice cannot be divided evenly, the last places overlap, and
  /// what two of them compute, the later one writes.
  Expr streamBlocks() {
    const int32_t streams = spec.tile.streams;
    return streams == 1 ? Expr(extent) : (extent + (streams - 1)) / streams;
  }
  Expr streamBegin(Expr stream) {
    return spec.tile.streams == 1 ? Expr(0) : min(stream * streamBlocks(), extent - streamBlocks());
  }
  /// Where a stream starts in rows of `height` for outputs of `output_height`.
  Expr streamStart(Expr stream, int64_t height) {
    const int64_t output_height = spec.values[spec.outputs.front()].width;
    return streamBegin(stream) * int32_t(height / output_height);
  }
  Expr blockOf(const Rows &rows, Expr n, Expr nb, Expr stream, Expr t) {
    return rows.block ? rows.block(n, nb, stream, t)
                      : rows.at((nb + streamStart(stream, rows.width)) * 16 + n, t);
  }
  static Expr pairOf(const Rows &rows, int32_t head_dim, bool interleaved, Expr i, Expr half,
                     Expr head, Expr t) {
    if (rows.pair && rows.head_dim == head_dim && rows.interleaved == interleaved)
      return rows.pair(i, half, head, t);
    return interleaved ? rows.at(head * head_dim + 2 * i + half, t)
                       : rows.at(head * head_dim + half * (head_dim / 2) + i, t);
  }

  llvm::Error embedding(const KernelOp &op);
  llvm::Error rmsNorm(const KernelOp &op);
  llvm::Error quantize(const KernelOp &op);
  Quant quantized(Value &value);
  llvm::Error linear(const KernelOp &op);
  llvm::Error linearHalves(const KernelOp &op);
  llvm::Error linearFloat(const KernelOp &op);
  llvm::Error checkGroups(const KernelValue &matrix, const Quant &x);
  llvm::Error add(const KernelOp &op);
  llvm::Error siluMul(const KernelOp &op);
  llvm::Error lastToken(const KernelOp &op);
  llvm::Error ropeAngles(const KernelOp &op);
  llvm::Error rope(const KernelOp &op);
  llvm::Error slice(const KernelOp &op);
  llvm::Error append(const KernelOp &op);
  llvm::Error attention(const KernelOp &op);

  PeakStage peak(const std::string &name, int32_t lanes, const std::vector<Var> &others,
                 const std::function<Expr(Expr lane)> &magnitude);
  HeadStage headOf(const Rows &rows, const std::string &name, int32_t head_dim);
  void quantizeHead(HeadStage &head, const std::string &name, int32_t limit);

  void declareInput(int32_t index);
  void declareCache(Value &value);
  llvm::Error finishOutput(int32_t index);
  void linearResult(const KernelOp &op, LinearStage stage);
  void outputBuffer(Func func, const std::vector<Expr> &extents,
                    const std::vector<int64_t> &strides) {
    setShape(func.output_buffer(), extents, strides);
    functions.push_back(func);
  }

  const KernelSpec &spec;
  const ingot::Target &target;
  BuiltKernel out;
  std::vector<Value> values;
  std::vector<Func> functions;
  Halide::Param<int32_t> begin{"slice_begin"}, extent{"slice_extent"}, tokens{"tokens"},
      position{"position"};
  int64_t padded_tokens = 1;
  int32_t tile = 1;
  SliceAxis axis = SliceAxis::tokens;
  bool one_token = false; ///< the output has one row whatever `tokens` is

  Expr tokenCount() { return spec.max_tokens == 1 ? Expr(1) : Expr(tokens); }
  Expr paddedTokenCount() {
    return spec.max_tokens == 1 ? Expr(1) : (Expr(tokens) + (tile - 1)) / tile * tile;
  }
  /// Index of the first slice when slices are tokens; with a single one it is 0.
  Expr firstSlice() { return axis == SliceAxis::tokens && singleToken() ? Expr(0) : Expr(begin); }
  Expr sliceCount() { return axis == SliceAxis::tokens && singleToken() ? Expr(1) : Expr(extent); }
  bool singleToken() const { return spec.max_tokens == 1 || one_token; }
};

} // namespace ingot
