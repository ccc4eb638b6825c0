#include "codegen/tune/KernelRun.h"

#include "dialects/lm/StoredFloat.h"
#include "support/Error.h"

#include "HalideRuntime.h"

#include <array>
#include <cmath>
#include <cstring>
#include <dlfcn.h>
#include <utility>

using namespace ingot;

namespace {

constexpr size_t kMostArguments = 16;

template <size_t... I>
void callWith(void *function, int32_t begin, int32_t extent, int32_t tokens, int32_t position,
              halide_buffer_t *buffers, std::index_sequence<I...>) {
  using Argument = halide_buffer_t *;
  auto call =
      reinterpret_cast<int32_t (*)(int32_t, int32_t, int32_t, int32_t, decltype(I, Argument())...)>(
          function);
  call(begin, extent, tokens, position, &buffers[I]...);
}

using Caller = void (*)(void *, int32_t, int32_t, int32_t, int32_t, halide_buffer_t *);
template <size_t... N>
constexpr std::array<Caller, sizeof...(N)> callers(std::index_sequence<N...>) {
  return {[](void *function, int32_t begin, int32_t extent, int32_t tokens, int32_t position,
             halide_buffer_t *buffers) {
    callWith(function, begin, extent, tokens, position, buffers, std::make_index_sequence<N>());
  }...};
}

/// The same numbers on every machine (xorshift64*).
class Random {
public:
  explicit Random(uint64_t seed) : state(seed * 2654435769u + 1) {}
  uint64_t next() {
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return state * 2685821657736338717u;
  }
  /// In [0, below).
  int32_t whole(int32_t below) { return int32_t((next() >> 32) * uint64_t(below) >> 32); }
  float real(float least, float most) {
    return least + (most - least) * float(next() >> 40) * 0x1p-24f;
  }

private:
  uint64_t state;
};

int32_t actGroup(const KernelSpec &spec, int32_t value) {
  for (const KernelOp &op : spec.ops)
    if ((op.kind == KernelOp::Kind::quantize && op.result == value) ||
        (op.kind == KernelOp::Kind::linear && op.operands[0] == value))
      return op.act_group;
  return 32;
}

void fillReals(uint8_t *data, int64_t bytes, CodeKind type, float least, float most,
               Random &random) {
  const int64_t size = scaleBytes(type);
  for (int64_t at = 0; at + size <= bytes; at += size)
    storeFloat(type, data + at, random.real(least, most));
}

void fillCodes16(uint8_t *data, int64_t bytes, int32_t limit, Random &random) {
  for (int64_t at = 0; at + 2 <= bytes; at += 2) {
    const auto code = int16_t(random.whole(2 * limit + 1) - limit);
    std::memcpy(data + at, &code, 2);
  }
}

} // namespace

//===--- LoadedKernel ---------------------------------------------------------------===//

llvm::Expected<LoadedKernel> LoadedKernel::load(const std::string &path,
                                                const std::string &symbol) {
  void *handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  void *function = handle ? dlsym(handle, symbol.c_str()) : nullptr;
  if (function)
    return LoadedKernel(handle, function);
  const char *said = dlerror();
  llvm::Error error = inputError(
      path, "", std::string("cannot be loaded to measure it: ") + (said ? said : "no such symbol"));
  if (handle)
    dlclose(handle);
  return error;
}

LoadedKernel::~LoadedKernel() {
  if (handle)
    dlclose(handle);
}

void LoadedKernel::call(int32_t begin, int32_t extent, int32_t tokens, int32_t position,
                        llvm::ArrayRef<uint8_t *> hosts) const {
  static constexpr auto table = callers(std::make_index_sequence<kMostArguments + 1>());
  assert(hosts.size() < table.size());
  halide_buffer_t arguments[kMostArguments]{}; // kernels read `host` only
  for (size_t i = 0; i < hosts.size(); ++i)
    arguments[i].host = hosts[i];
  table[hosts.size()](function, begin, extent, tokens, position, arguments);
}

//===--- KernelMemory ---------------------------------------------------------------===//

KernelMemory::KernelMemory(const KernelSpec &spec, int64_t weight_bytes)
    : spec(spec), interface(kernelInterface(spec)) {
  slice_count = interface.slices ? int32_t(interface.slices) : spec.max_tokens;
  int64_t weights = 0;
  for (const KernelArgument &argument : interface.arguments)
    if (spec.values[argument.value].kind == KernelValue::Kind::matrix)
      weights += bufferBytes(spec, argument.value, argument.part);
  constexpr int64_t most_copies = 4096;
  if (weights)
    copies = int32_t(std::clamp<int64_t>((weight_bytes + weights - 1) / weights, 1, most_copies));
  for (const KernelArgument &argument : interface.arguments) {
    Buffer buffer;
    buffer.bytes = bufferBytes(spec, argument.value, argument.part);
    const bool many = spec.values[argument.value].kind == KernelValue::Kind::matrix && copies > 1;
    const int64_t size = (buffer.bytes + 63) / 64 * 64;
    buffer.step = many ? size : 0;
    buffer.data.reset(static_cast<uint8_t *>(std::aligned_alloc(64, size * (many ? copies : 1))));
    if (!buffer.data)
      llvm::report_bad_alloc_error("no memory to measure a kernel");
    std::memset(buffer.data.get(), 0, size);
    buffers.push_back(std::move(buffer));
  }
  for (int32_t value : spec.inputs)
    fill(value);
  // Attention reads what it is given as an input; a cache that is only written starts as zeros.
  for (const Buffer &buffer : buffers)
    for (int32_t copy = 1; buffer.step && copy < copies; ++copy)
      std::memcpy(buffer.data.get() + copy * buffer.step, buffer.data.get(), buffer.bytes);
}

void KernelMemory::fill(int32_t index) {
  const KernelValue &value = spec.values[index];
  Random random(uint64_t(index) + 1);
  uint8_t *parts[4]{};
  int64_t bytes[4]{};
  for (size_t i = 0; i < buffers.size(); ++i)
    if (interface.arguments[i].value == index) {
      const int32_t part = interface.arguments[i].part;
      parts[part] = buffers[i].data.get();
      bytes[part] = buffers[i].bytes;
    }
  switch (value.kind) {
  case KernelValue::Kind::tokens: // id 0 is in every vocabulary
    break;
  case KernelValue::Kind::rows:
  case KernelValue::Kind::vector:
  case KernelValue::Kind::angles:
    fillReals(parts[0], bytes[0], CodeKind::f32, -1, 1, random);
    break;
  case KernelValue::Kind::quant: {
    const int32_t group = actGroup(spec, index);
    if (value.holdsHalves())
      fillReals(parts[0], bytes[0], CodeKind::f16, -1, 1, random);
    else
      for (int64_t g = 0; g * 4 < bytes[2]; ++g) {
        int32_t sum = 0;
        for (int32_t i = 0; i < group; ++i) {
          const int32_t code = random.whole(255) - 127;
          reinterpret_cast<int8_t *>(parts[0])[g * group + i] = int8_t(code);
          sum += code;
        }
        std::memcpy(parts[2] + 4 * g, &sum, 4);
      }
    fillReals(parts[1], bytes[1], CodeKind::f32, 0.001f, 0.01f, random);
    break;
  }
  case KernelValue::Kind::matrix: {
    const Encoding &encoding = value.encoding;
    if (encoding.isFloat()) {
      fillReals(parts[0], bytes[0], encoding.code, -0.1f, 0.1f, random);
      break;
    }
    // Which planes of codes may hold anything; of others, those of each code.
    const int32_t container = value.layout.code_bits;
    const auto mask = uint8_t((1 << encoding.bits) - 1);
    const auto codes = uint8_t(encoding.bits == container ? 255
                               : container == 4           ? mask | mask << 4
                                                          : mask);
    auto fillBytes = [&](int32_t part, uint8_t bits) {
      for (int64_t i = 0; i < bytes[part]; ++i)
        parts[part][i] = uint8_t(random.next() >> 56) & bits;
    };
    fillBytes(0, codes);
    if (encoding.twoLevel()) {
      const int32_t supers = encoding.symmetric() ? 2 : 3;
      for (int32_t part = 1; part < supers; ++part)
        fillBytes(part, uint8_t((1 << encoding.scale.sub_bits) - 1));
      fillReals(parts[supers], bytes[supers], value.layout.scale_type, 0.0001f, 0.001f, random);
      break;
    }
    fillReals(parts[1], bytes[1], value.layout.scale_type, 0.001f, 0.01f, random);
    if (parts[2])
      fillReals(parts[2], bytes[2], value.layout.scale_type, -0.01f, 0.01f, random);
    break;
  }
  case KernelValue::Kind::cache:
    if (spec.kv != CodeKind::i) {
      for (int32_t part : {0, 1})
        fillReals(parts[part], bytes[part], spec.kv, -1, 1, random);
      break;
    }
    fillCodes16(parts[0], bytes[0], kValueCodeLimit, random);
    fillCodes16(parts[1], bytes[1], kValueCodeLimit, random);
    for (int32_t part : {2, 3})
      fillReals(parts[part], bytes[part], CodeKind::f32, 0.0001f, 0.001f, random);
    break;
  }
}

std::vector<Window> KernelMemory::windows(int32_t extent) const {
  std::vector<Window> result;
  for (int32_t copy = 0; copy < copies; ++copy)
    for (int32_t begin = 0; begin + extent <= slice_count; begin += extent)
      result.push_back({begin, extent, copy});
  return result;
}

void KernelMemory::run(const LoadedKernel &kernel, const Window &window, int32_t tokens,
                       int32_t position) {
  uint8_t *hosts[kMostArguments];
  for (size_t i = 0; i < buffers.size(); ++i)
    hosts[i] = buffers[i].data.get() + window.copy * buffers[i].step +
               window.begin * interface.arguments[i].slice_stride_bytes;
  kernel.call(window.begin, window.extent, tokens, position, llvm::ArrayRef(hosts, buffers.size()));
}

void KernelMemory::spoilOutputs() {
  for (size_t i = 0; i < buffers.size(); ++i)
    if (llvm::is_contained(spec.outputs, interface.arguments[i].value) &&
        hasTokens(spec.values[interface.arguments[i].value]))
      std::memset(buffers[i].data.get(), 0xa5, buffers[i].bytes);
}

std::string KernelMemory::outputs(int32_t tokens) const {
  std::string result;
  const int64_t padded = paddedTokens(spec.max_tokens);
  for (size_t i = 0; i < buffers.size(); ++i) {
    const KernelValue &value = spec.values[interface.arguments[i].value];
    if (!llvm::is_contained(spec.outputs, interface.arguments[i].value) || !hasTokens(value))
      continue;
    const int64_t stride = buffers[i].bytes / padded;
    const int64_t used = value.kind == KernelValue::Kind::rows ? 4 * value.width : stride;
    for (int32_t token = 0; token < tokens; ++token)
      result.append(reinterpret_cast<const char *>(buffers[i].data.get()) + token * stride, used);
  }
  return result;
}
