// What kernel tests share: specs by name, memory laid out as the contracts say, and compiled
// kernels loaded into this process.
#pragma once

#include "codegen/halide/Kernel.h"
#include "targets/Target.h"

#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace ingot::test {

/// The kind of codes of activations that a C++ type holds.
template <typename Code>
constexpr CodeKind code_kind = std::is_integral_v<Code> ? CodeKind::i : CodeKind::f16;

/// Builds a KernelSpec op by op.
class SpecMaker {
public:
  KernelSpec spec;

  explicit SpecMaker(int32_t max_tokens, const std::string &name = "kernel") {
    spec.name = name;
    spec.max_tokens = max_tokens;
  }
  int32_t value(KernelValue::Kind kind, int64_t width) {
    KernelValue v;
    v.kind = kind;
    v.width = width;
    spec.values.push_back(v);
    return int32_t(spec.values.size()) - 1;
  }
  int32_t input(KernelValue::Kind kind, int64_t width) {
    spec.inputs.push_back(value(kind, width));
    return spec.inputs.back();
  }
  int32_t rows(int64_t width) { return input(KernelValue::Kind::rows, width); }
  int32_t matrix(const Target &target, const Encoding &encoding, int64_t height, int64_t width) {
    const int32_t index = input(KernelValue::Kind::matrix, width);
    KernelValue &v = spec.values[index];
    v.height = height;
    v.encoding = encoding;
    v.layout = target.packedLayout(encoding);
    return index;
  }
  KernelOp &op(KernelOp::Kind kind, std::vector<int32_t> operands, int32_t result) {
    KernelOp made;
    made.kind = kind;
    made.operands = std::move(operands);
    made.result = result;
    spec.ops.push_back(made);
    return spec.ops.back();
  }
  /// Adds an op whose result is rows; returns the result.
  int32_t rowsOp(KernelOp::Kind kind, std::vector<int32_t> operands, int64_t width) {
    const int32_t result = value(KernelValue::Kind::rows, width);
    op(kind, std::move(operands), result);
    return result;
  }
  int32_t quantize(int32_t rows, int32_t group, int32_t bits = 8, CodeKind code = CodeKind::i) {
    const int32_t result = value(KernelValue::Kind::quant, spec.values[rows].width);
    spec.values[result].encoding.code = code;
    spec.values[result].encoding.bits = uint8_t(bits);
    op(KernelOp::Kind::quantize, {rows}, result).act_group = group;
    return result;
  }
  KernelSpec finish(const Target &target, std::vector<int32_t> outputs) {
    spec.outputs = std::move(outputs);
    spec.tile = target.tile(spec);
    return spec;
  }
};

/// A matrix as numbers, and packed.
struct TestMatrix {
  Encoding encoding;
  int64_t rows = 0, columns = 0, groups = 0;
  std::vector<int16_t> codes;      ///< [rows][columns]
  std::vector<float> scales, mins; ///< [rows][groups], rounded to the layout's type
  std::vector<float> floats;       ///< float encodings: [rows][columns]
  std::vector<uint8_t> packed_codes, packed_scales, packed_mins, packed_supers;

  float at(int64_t row, int64_t column) const {
    if (encoding.isFloat())
      return floats[row * columns + column];
    const int64_t g = column / encoding.groupElements(columns);
    float value = float(codes[row * columns + column]) * scales[row * groups + g];
    return encoding.symmetric() ? value : value + mins[row * groups + g];
  }
};

enum class Codes { random, largest, smallest };
TestMatrix makeMatrix(const KernelValue &value, uint32_t seed, Codes codes = Codes::random);

/// Buffers of a kernel's values, 64-byte aligned, with a guard behind each.
class Memory {
public:
  explicit Memory(const KernelSpec &spec);
  template <typename T> T *get(int32_t value, int32_t part = 0) {
    return reinterpret_cast<T *>(buffers.at({value, part}).data.get());
  }
  int64_t bytes(int32_t value, int32_t part = 0) const { return buffers.at({value, part}).bytes; }
  /// Uses the memory of `other` for `value`: in-place results.
  void alias(int32_t value, int32_t other) { aliases[value] = other; }
  void setMatrix(int32_t value, const TestMatrix &matrix);
  void randomRows(int32_t value, uint32_t seed, float scale = 1);
  /// True when no guard was overwritten.
  bool intact() const;
  /// All memory, guards included: where and how much.
  std::vector<std::pair<uint8_t *, int64_t>> all() const;
  void *host(int32_t value, int32_t part) {
    auto alias = aliases.find(value);
    return buffers.at({alias == aliases.end() ? value : alias->second, part}).data.get();
  }

private:
  struct Free {
    void operator()(uint8_t *pointer) const { std::free(pointer); }
  };
  struct Buffer {
    std::unique_ptr<uint8_t, Free> data;
    int64_t bytes = 0;
  };
  std::map<std::pair<int32_t, int32_t>, Buffer> buffers;
  std::map<int32_t, int32_t> aliases;
};

class EmulatedKernel;

/// A compiled kernel: in this process, or where it is for another machine, in an emulator's.
class LoadedKernel {
public:
  /// Fails the current test and stays empty when the kernel does not compile.
  LoadedKernel(const KernelSpec &spec, const Target &target);
  ~LoadedKernel();
  explicit operator bool() const { return function || emulated; }

  void run(Memory &memory, int32_t begin, int32_t extent, int32_t tokens, int32_t position = 0);
  /// All slices in one call.
  void runAll(Memory &memory, int32_t tokens, int32_t position = 0) {
    run(memory, 0, slices(tokens), tokens, position);
  }
  /// Near memory for kernels of an emulated machine: `bytes` of `data` from `offset` on.
  void lend(std::vector<uint8_t> &data, int64_t offset, int64_t bytes) {
    near = &data;
    near_offset = offset;
    near_bytes = bytes;
  }
  int32_t grain() const { return int32_t(interface.grain); } ///< what slices are handed out in
  int32_t slices(int32_t tokens) const {
    return interface.slices ? int32_t(interface.slices) : tokens;
  }

private:
  void runEmulated(Memory &memory, int32_t begin, int32_t extent, int32_t tokens, int32_t position);

  struct Jit;
  KernelSpec spec;
  KernelInterface interface;
  std::unique_ptr<Jit> jit;
  void *function = nullptr;
  std::unique_ptr<EmulatedKernel> emulated;
  std::vector<uint8_t> *near = nullptr;
  int64_t near_offset = 0, near_bytes = 0;
};

/// The targets that tests run on: the least machine of each instruction set, and the host, as far
/// as they or their emulators are here.
std::vector<std::unique_ptr<Target>> testTargets();

inline Encoding integers(CodeKind code, int bits, uint32_t group, CodeKind scale, bool min) {
  Encoding e;
  e.code = code;
  e.bits = uint8_t(bits);
  e.group_size = group;
  e.scale.type = scale;
  e.min.type = min ? scale : CodeKind::none;
  return e;
}
inline Encoding floats(CodeKind code) {
  Encoding e;
  e.code = code;
  e.bits = code == CodeKind::f32 ? 32 : 16;
  return e;
}
inline int64_t roundUp(int64_t value, int64_t to) { return (value + to - 1) / to * to; }

} // namespace ingot::test
