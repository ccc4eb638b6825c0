// What a kernel computes, as plain data: the ops of one fused region, the values that flow between
// them, and the tile that the target chose. Made from the kernel dialect (Spec.h); read by the
// memory planner, the targets, the Halide builder, the cost estimates and the kernel cache's hash.
#pragma once

#include "dialects/lm/Encoding.h"

#include <cstdint>
#include <string>
#include <vector>

namespace ingot {

/// How the codes of a matrix are laid out for the kernels (chosen by the target for an encoding).
///
///   codes  bytes [k % k_inner][row % rows][step][group][row / rows]
///   scales, mins [row % rows][group][row / rows]     (scale_type)
///
/// first index fastest. Codes are stored unsigned (Encoding::storedCode), as planes of their bits
/// (planesOf), one behind the other. A group has J = group_size / k_inner steps of codes, and a
/// plane of B bits P = J * B / 8 steps of bytes: byte s has those of steps s, s + P, s + 2 * P,
/// ..., lowest bits first (4 bits: low nibble = first half of the group, high nibble = second
/// half). Where scales have two levels, those of groups are bytes, and the halves that they are
/// multiplied with follow the mins: [row % rows][of scales, of mins][super-block][row / rows]
/// (scale_type). Rows are padded to a multiple of `rows` with zero codes and zero scales. Float
/// matrices: [row % rows][k][row / rows], no scales.
struct PackedLayout {
  int32_t rows = 16;
  int32_t k_inner = 4;
  int32_t code_bits = 4;               ///< 2, 4, 5, 6 or 8; 16/32 for floats
  CodeKind scale_type = CodeKind::f16; ///< f16, f32 or e8m0 (none for float matrices)
  bool operator==(const PackedLayout &) const = default;
};
/// Bits of the planes of codes, lowest first.
inline std::vector<int32_t> planesOf(int32_t code_bits) {
  return code_bits > 4 && code_bits < 8 ? std::vector<int32_t>{4, code_bits - 4}
                                        : std::vector<int32_t>{code_bits};
}

/// A value of a kernel. Buffers (in argument order) that a value expands to:
///   tokens   i32 [tokens]
///   rows     f32 [width][tokens]
///   quant    i8, i16 or f16 codes [width][tokens]; f32 scales [width/act_group][tokens];
///            i32 sums of codes [width/act_group][tokens]; of f16, processors have them in
///            2^-24, the least half, devices as f32
///   vector   f32 [width]                                  (a norm's gain)
///   matrix   codes; scales, mins where the encoding has them   (see PackedLayout)
///   cache    keys, values of one layer                     (see KernelSpec::kv);
///            with i16 elements also f32 scales of keys, of values [position][kv_heads]
///   angles   f32 cos then sin: [head_dim/2][2][tokens]     (rope angles of this step's tokens)
/// In memory the columns of rows and vectors are padded to 16, and all [tokens] extents to
/// paddedTokens(max_tokens) (Kernel.h). A cache of floats is keys [position % 16][head_dim]
/// [position / 16][kv_heads] and values [head_dim][position][kv_heads], first index fastest. One of
/// i16 has pairs side by side, as the dot products take them: keys [d % 2][position % 16][d / 2]
/// [position / 16][kv_heads], values [position % 2][head_dim][position / 2][kv_heads]. The context
/// is rounded up to cachePositions. The width of angles is head_dim.
struct KernelValue {
  enum class Kind : uint8_t { tokens, rows, quant, vector, matrix, cache, angles };
  Kind kind = Kind::rows;
  int64_t width = 0;   ///< columns; for a matrix: columns (the reduction)
  int64_t height = 0;  ///< matrix: rows (the outputs), before padding
  Encoding encoding;   ///< matrix; quant: its codes (nothing said: i8)
  PackedLayout layout; ///< matrix
  bool operator==(const KernelValue &) const = default;
  /// Of a quant's code: 8 or 16.
  int32_t codeBits() const { return encoding.bits == 16 ? 16 : 8; }
  /// True for a quant whose codes are halves.
  bool holdsHalves() const { return kind == Kind::quant && encoding.code == CodeKind::f16; }
};

/// One op. Operands and result index KernelSpec::values.
///   embedding   (tokens, matrix) -> rows
///   rms_norm    (rows, vector) -> rows                 eps
///   quantize    (rows) -> quant                        act_group
///   linear      (rows or quant, matrix) -> rows
///   add         (rows, rows) -> rows
///   silu_mul    (rows of width 2n) -> rows of width n: silu(gate) * up, where blocks of
///               layout.rows gate rows and as many up rows alternate
///   last_token  (rows) -> rows of one token: row tokens-1
///   rope_angles () -> angles                           head_dim, rope_theta; absolute positions
///   rope        (rows, angles) -> rows                 first heads*head_dim columns rotate: pairs
///               (i, i+1) when interleaved, else (i, i + head_dim/2)
///   slice       (rows) -> rows: columns [offset, offset+width)
///   append      (k rows, v rows, cache) -> (none): writes at position .. position+tokens
///   attention   (q rows, cache) -> rows                heads, kv_heads, head_dim, scale; causal
struct KernelOp {
  enum class Kind : uint8_t {
    embedding,
    rms_norm,
    quantize,
    linear,
    add,
    silu_mul,
    last_token,
    rope_angles,
    rope,
    slice,
    append,
    attention
  };
  Kind kind;
  std::vector<int32_t> operands;
  int32_t result = -1;
  double eps = 0, rope_theta = 0, scale = 0;
  int32_t heads = 0, kv_heads = 0, head_dim = 0, offset = 0, act_group = 0;
  bool interleaved = false;
};

/// Chosen by the target from its machine model (Target::tile), printed in the IR.
struct Tile {
  int32_t token_tile = 1; ///< tokens per register tile
  int32_t streams = 1;    ///< linear: places of a slice whose weights are read side by side
  int32_t key_tile = 0;   ///< attention: keys per tile
  bool operator==(const Tile &) const = default;
};

/// What a kernel's threads divide among themselves.
enum class SliceAxis : uint8_t { tokens, row_blocks, heads };

struct KernelSpec {
  std::string name; ///< symbol; not part of the hash
  std::vector<KernelValue> values;
  std::vector<KernelOp> ops;
  std::vector<int32_t> inputs;  ///< values read from memory, in argument order
  std::vector<int32_t> outputs; ///< values written, in argument order after the inputs
  int32_t max_tokens = 1;       ///< 1: exactly one token; otherwise 1..max_tokens at run time
  int32_t context = 0;          ///< positions in the cache
  CodeKind kv = CodeKind::f16;  ///< elements of the cache: i (16 bits), f16 or f32
  Tile tile;
};

//===--- What follows from a spec alone ---------------------------------------------===//

struct KernelArgument {
  int32_t value;                  ///< index into KernelSpec::values
  int32_t part;                   ///< which buffer of that value (see KernelValue)
  int64_t slice_stride_bytes = 0; ///< outputs that are cut by slices
};

struct KernelInterface {
  std::vector<KernelArgument> arguments;
  SliceAxis axis = SliceAxis::tokens;
  int64_t slices = 0; ///< how many there are; 0: as many as the step has tokens
  int64_t grain = 1;  ///< slices are handed out in multiples of this
};

/// The interface follows from the spec alone.
KernelInterface kernelInterface(const KernelSpec &spec);

/// Buffers of tokens are padded to a multiple of this, so that kernels of one step may have any
/// Tile::token_tile that divides it. What padding tokens hold is unspecified.
constexpr int32_t kTokenPadding = 24;
int64_t paddedTokens(int32_t max_tokens); ///< 1 stays 1
/// Positions that a cache has room for: whole spans of attention weights (kWeightCodeSpan).
int64_t cachePositions(int64_t context);

/// Bytes of one buffer of a value, padding included (what the memory planner reserves).
/// Rows (and vectors) are padded to 16 floats, matrices to whole blocks of rows, caches to
/// cachePositions, tokens to kTokenPadding.
int64_t bufferBytes(const KernelSpec &spec, int32_t value, int32_t part);
/// True for values that have a row for each token.
bool hasTokens(const KernelValue &value);
/// How many buffers a value expands to.
int32_t bufferCount(const KernelValue &value, CodeKind kv);

/// Multiply-accumulates and bytes touched for `tokens` tokens at `position`: used by bench,
/// inspect, and the tile choice.
struct KernelCost {
  int64_t macs = 0, weight_bytes = 0, cache_bytes = 0, activation_bytes = 0;
};
KernelCost kernelCost(const KernelSpec &spec, int64_t tokens, int64_t position);
/// How many tokens lie before a step when kernels are compared: some hundred, as in a short
/// conversation, where the context has room for them.
int64_t typicalPosition(const KernelSpec &spec);

} // namespace ingot
