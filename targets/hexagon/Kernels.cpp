// Kernels whose floats are vectors of integers (runtime/vectors.h), which no schedule can say:
// their code is one call for each op of what the runtime has a function for. A shape is what is
// known of an op when it is compiled.
#include "targets/hexagon/Kernels.h"

#include "targets/hexagon/runtime/attention.h"
#include "targets/hexagon/runtime/linear.h"
#include "targets/hexagon/runtime/rows.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/raw_ostream.h"

#include <cmath>
#include <cstring>
#include <map>
#include <optional>
#include <set>

using namespace ingot;
using namespace ingot::hexagon;
using Kind = KernelOp::Kind;

namespace {

int64_t roundUp(int64_t value, int64_t to) { return (value + to - 1) / to * to; }

class Writer {
public:
  Writer(const KernelSpec &spec, const Machine &machine)
      : spec(spec), machine(machine), interface(kernelInterface(spec)), body(body_text),
        constants(constants_text) {}

  /// Empty where the runtime lacks an op, or a form of it.
  std::string run() {
    for (auto [i, argument] : llvm::enumerate(interface.arguments))
      hosts[{argument.value, argument.part}] = host(int32_t(i));
    for (size_t i = 0; i < spec.ops.size(); ++i)
      if (!write(i))
        return "";
    for (int32_t output : spec.outputs)
      if (!written.count(output))
        return "";
    std::string arguments;
    for (size_t i = 0; i < interface.arguments.size(); ++i)
      arguments += ", ptr %a" + std::to_string(i);
    return constants_text +
           "declare void @ingot_hexagon_linear(ptr, ptr, i32, i32, i32)\n"
           "declare void @ingot_hexagon_quantize(ptr, ptr, ptr, ptr, ptr, ptr, i32, i32)\n"
           "declare void @ingot_hexagon_angles(ptr, i32, ptr, i32, i32)\n"
           "declare void @ingot_hexagon_append(ptr, ptr, ptr, ptr, ptr, i32, i32, i32)\n"
           "declare void @ingot_hexagon_attention(ptr, ptr, ptr, ptr, ptr, i32, i32, i32, i32)\n"
           "define i32 @" +
           spec.name + "(i32 %begin, i32 %extent, i32 %tokens, i32 %position" + arguments +
           ") {\n" + body_text + "  ret i32 0\n}\n";
  }

private:
  using Place = std::pair<int32_t, int32_t>; // value, part

  // Pointers are aligned to 4 bytes: text without a data layout means 8.
  std::string fresh() { return "%v" + std::to_string(names++); }

  /// The memory of an argument: `host` of its halide_buffer_t.
  std::string host(int32_t argument) {
    const std::string place = fresh(), result = fresh();
    body << "  " << place << " = getelementptr {i64, ptr, ptr}, ptr %a" << argument
         << ", i32 0, i32 2\n  " << result << " = load ptr, ptr " << place << ", align 4\n";
    return result;
  }
  /// What the thread of this call may use of memory that an app lent: `device_interface` and
  /// `device` (bytes) of the first halide_buffer_t.
  std::pair<std::string, std::string> nearMemory() {
    const std::string place = fresh(), memory = fresh(), bytes = fresh(), pointer = fresh();
    body << "  " << place << " = getelementptr {i64, ptr, ptr}, ptr %a0, i32 0, i32 1\n  " << memory
         << " = load ptr, ptr " << place << ", align 4\n  " << bytes
         << " = load i32, ptr %a0, align 4\n  " << pointer << " = inttoptr i32 " << bytes
         << " to ptr\n";
    return {memory, pointer};
  }
  std::string hostOf(int32_t value, int32_t part) {
    auto found = hosts.find({value, part});
    return found == hosts.end() ? "null" : found->second;
  }
  /// A plain structure of words as a constant.
  template <typename Shape> std::string constant(const Shape &shape) {
    std::vector<int32_t> words(sizeof(Shape) / 4);
    std::memcpy(words.data(), &shape, sizeof shape);
    return constant(words);
  }
  std::string constant(const std::vector<int32_t> &words) {
    const std::string name = "@shape" + std::to_string(names++);
    constants << name << " = private unnamed_addr constant [" << words.size() << " x i32] [";
    llvm::interleaveComma(words, constants, [&](int32_t word) { constants << "i32 " << word; });
    constants << "], align 8\n";
    return name;
  }
  /// Pointers side by side in memory.
  std::string pointers(const std::vector<std::string> &all) {
    const std::string name = fresh();
    body << "  " << name << " = alloca [" << all.size() << " x ptr], align 4\n";
    for (auto [i, pointer] : llvm::enumerate(all)) {
      const std::string place = fresh();
      body << "  " << place << " = getelementptr ptr, ptr " << name << ", i32 " << i
           << "\n  store ptr " << pointer << ", ptr " << place << ", align 4\n";
    }
    return name;
  }

  const KernelOp *producer(int32_t value) const {
    for (const KernelOp &op : spec.ops)
      if (op.result == value)
        return &op;
    return nullptr;
  }
  bool isOutput(int32_t value) const { return llvm::is_contained(spec.outputs, value); }
  bool oneToken() const { return spec.max_tokens == 1; }

  bool write(size_t index) {
    const KernelOp &op = spec.ops[index];
    switch (op.kind) {
    case Kind::last_token:
    case Kind::rms_norm:
      return !isOutput(op.result); // part of what quantizes it
    case Kind::quantize:
      return quantize(op);
    case Kind::linear:
      return linear(index);
    case Kind::add:
    case Kind::silu_mul:
      return written.count(op.result); // part of a linear
    case Kind::slice:
    case Kind::rope:
      return !isOutput(op.result); // part of what takes heads
    case Kind::rope_angles:
      return angles(op);
    case Kind::append:
      return append(op);
    case Kind::attention:
      return attention(op);
    default:
      return false;
    }
  }

  /// Of rows in memory, or their norm, or that of the last row.
  bool quantize(const KernelOp &op) {
    const bool to_memory = isOutput(op.result);
    const int32_t group = op.act_group;
    if ((group != 16 && group != 32) || (!to_memory && !oneToken()))
      return false;
    const int32_t planes = spec.values[op.result].codeBits() / 8;
    int32_t source = op.operands[0];
    const KernelValue &rows = spec.values[source];
    std::string gain = "null", first = oneToken() ? "0" : "%begin", count = "%extent";
    QuantizeShape shape{int32_t(rows.width), group, planes, 0, float(1.0 / double(rows.width))};
    for (const KernelOp *before = producer(source); before; before = producer(source)) {
      if (before->kind == Kind::rms_norm && gain == "null" && first != "%last") {
        gain = hostOf(before->operands[1], 0);
        shape.eps = float(before->eps);
      } else if (before->kind == Kind::last_token && first == "%begin") {
        body << "  %last = sub i32 %tokens, 1\n";
        first = "%last";
      } else {
        return false;
      }
      source = before->operands[0];
    }
    if (oneToken() || first == "%last")
      count = "1";
    if (rows.width % group || !hosts.count({source, 0}))
      return false;
    if (!to_memory)
      for (auto [part, bytes] : {std::pair<int32_t, int64_t>{0, rows.width * planes},
                                 {1, rows.width / group * 4},
                                 {2, rows.width / group * 4}}) {
        const std::string memory = fresh();
        body << "  " << memory << " = alloca i8, i32 " << roundUp(bytes, 128) << ", align 128\n";
        hosts[{op.result, part}] = memory;
      }
    body << "  call void @ingot_hexagon_quantize(ptr " << constant(shape) << ", ptr "
         << hostOf(source, 0) << ", ptr " << gain;
    for (int32_t part : {0, 1, 2})
      body << ", ptr " << hostOf(op.result, part);
    body << ", i32 " << first << ", i32 " << count << ")\n";
    written.insert(op.result);
    return true;
  }

  /// And what follows it.
  bool linear(size_t index) {
    const KernelOp &op = spec.ops[index];
    const int32_t x = op.operands[0];
    const KernelValue &matrix = spec.values[op.operands[1]];
    const Encoding &encoding = matrix.encoding;
    const PackedLayout &layout = matrix.layout;
    if (encoding.isFloat() || !hosts.count({x, 2}) || !hosts.count({op.operands[1], 0}) ||
        layout.rows != 16 || layout.k_inner != 4)
      return false;
    LinearShape shape{};
    shape.group = op.act_group;
    shape.planes = spec.values[x].codeBits() / 8;
    if (shape.group != 32 && shape.group != 16)
      return false;
    shape.columns = int32_t(matrix.width);
    shape.blocks = int32_t(roundUp(matrix.height, layout.rows) / layout.rows);
    shape.groups = shape.columns / shape.group;
    shape.ratio = shape.groups / int32_t(encoding.groups(matrix.width));
    if (shape.ratio < 1)
      return false;
    shape.code_bits = layout.code_bits;
    shape.min_code = encoding.minCode();
    shape.most = std::max(encoding.maxCode(), -encoding.minCode());
    shape.has_mins = !encoding.symmetric();
    shape.scale_bytes = encoding.twoLevel() ? 1 : int32_t(scaleBytes(layout.scale_type));
    if (encoding.twoLevel()) {
      shape.super_groups = int32_t(Encoding::kSuperBlock / encoding.group_size);
      shape.supers = int32_t(matrix.width / Encoding::kSuperBlock);
    }
    if (const auto values = encoding.values(); !values.empty()) {
      if (shape.group != 32 || shape.ratio != 1)
        return false;
      shape.has_table = 1;
      for (auto [place, number] : llvm::enumerate(values))
        reinterpret_cast<uint8_t *>(shape.table)[place] = uint8_t(number - shape.min_code);
    }
    shape.one_token = oneToken();
    const LinearTile tile = linearTile(spec, machine);
    shape.panel_units = tile.units;
    shape.near_tokens[0] = tile.tokens;
    shape.near_tokens[1] = tile.tokens_beside;
    int32_t result = op.result, added = -1;
    if (index + 1 < spec.ops.size()) {
      const KernelOp &after = spec.ops[index + 1];
      if (after.kind == Kind::add) {
        added = after.operands[after.operands[0] == result ? 1 : 0];
        if (!llvm::is_contained(after.operands, result) || !hosts.count({added, 0}))
          return false;
        shape.after = after_add;
      } else if (after.kind == Kind::silu_mul && after.operands[0] == result) {
        shape.after = after_silu_mul;
      } else {
        return false;
      }
      result = after.result;
    }
    if (!isOutput(result) || spec.outputs.size() != 1)
      return false;
    shape.out_width = int32_t(roundUp(spec.values[result].width, 16));
    const int32_t w = op.operands[1], last = bufferCount(matrix, spec.kv) - 1;
    const auto [near, near_bytes] = nearMemory();
    const std::string buffers = pointers(
        {hostOf(x, 0), hostOf(x, 1), hostOf(x, 2), hostOf(w, 0), hostOf(w, 1),
         shape.has_mins ? hostOf(w, 2) : "null", encoding.twoLevel() ? hostOf(w, last) : "null",
         added < 0 ? "null" : hostOf(added, 0), hostOf(result, 0), near, near_bytes});
    body << "  call void @ingot_hexagon_linear(ptr " << constant(shape) << ", ptr " << buffers
         << ", i32 %begin, i32 %extent, i32 %tokens)\n";
    written.insert(result);
    return true;
  }

  std::string firstToken() const { return oneToken() ? "0" : "%begin"; }
  std::string tokenCount() const { return oneToken() ? "1" : "%extent"; }

  bool angles(const KernelOp &op) {
    const int32_t pairs = op.head_dim / 2;
    std::vector<int32_t> turns; // frequencies in turns of 2^-64 a position, low word first
    for (int32_t i = 0; i < pairs; ++i) {
      const long double turn = std::pow((long double)op.rope_theta, -2.0L * i / op.head_dim) /
                               (2 * 3.14159265358979323846264338327950288L);
      const auto parts = uint64_t(std::ldexp(turn, 64));
      turns.push_back(int32_t(parts));
      turns.push_back(int32_t(parts >> 32));
    }
    body << "  %first = add i32 %position, " << firstToken()
         << "\n  call void @ingot_hexagon_angles(ptr " << constant(turns) << ", i32 " << pairs
         << ", ptr " << hostOf(op.result, 0) << ", i32 %first, i32 " << tokenCount() << ")\n";
    written.insert(op.result);
    return true;
  }

  /// Heads of a value: where its rows are in memory, and the angles that they rotate by.
  struct Heads {
    HeadShape shape{};
    std::string rows, angles = "null";
  };
  std::optional<Heads> heads(int32_t value, int32_t head_dim, int32_t limit) {
    if (head_dim % 4 || head_dim > most_head_dim)
      return std::nullopt;
    Heads result;
    result.shape.head_dim = head_dim;
    result.shape.limit = limit;
    while (!hosts.count({value, 0})) {
      const KernelOp *op = producer(value);
      if (!op)
        return std::nullopt;
      if (op->kind == Kind::slice) {
        result.shape.offset += op->offset;
      } else if (op->kind == Kind::rope && !result.shape.rotates && op->head_dim == head_dim &&
                 int64_t(op->heads) * head_dim == spec.values[value].width) {
        result.shape.rotates = 1;
        result.shape.interleaved = op->interleaved;
        result.angles = hostOf(op->operands[1], 0);
      } else {
        return std::nullopt;
      }
      value = op->operands[0];
    }
    result.shape.stride = int32_t(roundUp(spec.values[value].width, 16));
    result.rows = hostOf(value, 0);
    return result;
  }
  std::string cache(int32_t value) {
    return pointers({hostOf(value, 0), hostOf(value, 1), hostOf(value, 2), hostOf(value, 3)});
  }

  bool append(const KernelOp &op) {
    if (spec.kv != CodeKind::i)
      return false;
    const auto keys = heads(op.operands[0], op.head_dim, keyCodeLimit(op.head_dim)),
               values = heads(op.operands[1], op.head_dim, kValueCodeLimit);
    if (!keys || !values || values->shape.rotates)
      return false;
    const AppendShape shape{keys->shape, values->shape, op.kv_heads,
                            int32_t(cachePositions(spec.context))};
    const std::string buffers = cache(op.operands[2]);
    body << "  call void @ingot_hexagon_append(ptr " << constant(shape) << ", ptr " << keys->rows
         << ", ptr " << values->rows << ", ptr " << keys->angles << ", ptr " << buffers
         << ", i32 %position, i32 " << firstToken() << ", i32 " << tokenCount() << ")\n";
    written.insert(op.operands[2]);
    return true;
  }

  bool attention(const KernelOp &op) {
    if (spec.kv != CodeKind::i || !isOutput(op.result))
      return false;
    const auto query = heads(op.operands[0], op.head_dim, keyCodeLimit(op.head_dim));
    if (!query)
      return false;
    AttentionShape shape{};
    shape.query = query->shape;
    shape.heads = op.heads;
    shape.kv_heads = op.kv_heads;
    shape.positions = int32_t(cachePositions(spec.context));
    static_assert(weight_limit == kWeightCodeLimit && weight_span == kWeightCodeSpan);
    shape.out_width = int32_t(roundUp(spec.values[op.result].width, 16));
    shape.scale = float(op.scale * 1.4426950408889634);
    const std::string buffers = cache(op.operands[1]);
    body << "  call void @ingot_hexagon_attention(ptr " << constant(shape) << ", ptr "
         << query->rows << ", ptr " << query->angles << ", ptr " << buffers << ", ptr "
         << hostOf(op.result, 0) << ", i32 %begin, i32 %extent, i32 "
         << (oneToken() ? "1" : "%tokens") << ", i32 %position)\n";
    written.insert(op.result);
    return true;
  }

  const KernelSpec &spec;
  const Machine &machine;
  const KernelInterface interface;
  std::string body_text, constants_text;
  llvm::raw_string_ostream body, constants;
  std::map<Place, std::string> hosts;
  std::set<int32_t> written;
  int names = 0;
};

} // namespace

// What is read again and again is in near memory, or else in the second-level cache: of a unit (two
// slices), codes as bytes and scales, by vectors, once for each tile of tokens; of tokens, codes,
// by scalars, once for each unit. What passes by are blocks as they are stored, two or, of gates,
// four of a unit, which are asked for while others are computed with.
LinearTile hexagon::linearTile(const KernelSpec &spec, const Machine &machine) {
  LinearTile result;
  const auto op =
      llvm::find_if(spec.ops, [](const KernelOp &op) { return op.kind == Kind::linear; });
  if (op == spec.ops.end() || spec.max_tokens == 1 || !op->act_group)
    return result;
  const KernelValue &matrix = spec.values[op->operands[1]];
  const bool gated = op + 1 != spec.ops.end() && op[1].kind == Kind::silu_mul;
  const int64_t blocks = gated ? 4 : 2, columns = matrix.width,
                pairs = (columns / op->act_group + 1) / 2,
                numbers = matrix.encoding.symmetric() ? 1 : 2,
                token_bytes = columns * (spec.values[op->operands[0]].codeBits() / 8),
                stored = blocks * matrix.layout.rows * columns * matrix.layout.code_bits / 8,
                slices = kernelInterface(spec).slices, units = (slices + 1) / 2,
                cache = machine.l2_bytes * 3 / 4;
  result.all_units = units;
  result.token_bytes = token_bytes;
  result.pairs = int32_t(blocks / 2);
  result.unit_bytes =
      blocks / 2 * (columns / matrix.layout.k_inner + pairs * numbers) * (machine.vector_bits / 8);
  auto tokensBeside = [&](int64_t bytes) {
    const int64_t fit = (cache - bytes) / token_bytes / token_tile * token_tile;
    return int32_t(std::clamp<int64_t>(fit, token_tile, paddedTokens(spec.max_tokens)));
  };
  result.tokens = tokensBeside(result.unit_bytes + stored);
  // Every thread asks for as much as it unpacks at once.
  const int64_t tokens = paddedTokens(spec.max_tokens) * token_bytes,
                passing = std::max<int64_t>(cache - tokens, 0) / (vector_threads * stored),
                fit = machine.near_bytes / vector_threads / result.unit_bytes;
  result.units = int32_t(std::clamp<int64_t>(std::min(passing, fit), 1, units));
  result.tokens_beside = tokensBeside(vector_threads * result.units * stored);
  result.fits = fit > 0;
  return result;
}

// A tile's codes stay in the first-level cache from one pair of blocks to the next, where they fit
// it.
NearUse hexagon::nearUse(const KernelSpec &spec, const Machine &machine, int64_t tokens) {
  const LinearTile tile = linearTile(spec, machine);
  NearUse use;
  if (!tile.fits)
    return use;
  const auto tiles = double(llvm::divideCeil(uint64_t(tokens), token_tile));
  const bool stays = token_tile * tile.token_bytes <= machine.l1_bytes;
  const double all_tokens = double(tokens) * double(tile.token_bytes);
  auto codes = [&](int64_t units) { // read for each of them, or each pair
    return all_tokens * double(stays ? llvm::divideCeil(uint64_t(tile.all_units), uint64_t(units))
                                     : uint64_t(tile.all_units * tile.pairs));
  };
  use.rows = tile.units * tile.pairs * 32;
  use.tokens = tile.tokens_beside;
  use.near = tiles * double(tile.all_units) * double(tile.unit_bytes);
  use.cache = codes(tile.units);
  use.cache_alone = use.near + codes(1);
  return use;
}

std::string hexagon::kernelCode(const KernelSpec &spec, const Machine &machine) {
  std::string code = Writer(spec, machine).run();
  // Codes of 16 bits lie as these functions alone have them (QuantizeShape), for which every layer
  // that reads integers has a form.
  assert((!code.empty() || llvm::none_of(spec.values,
                                         [](const KernelValue &value) {
                                           return value.kind == KernelValue::Kind::quant &&
                                                  value.codeBits() == 16;
                                         })) &&
         "a kernel of codes of 16 bits that the runtime lacks");
  return code;
}
