// Loads kernels with LLVM's JIT linker and fills their buffers.
#include "test/codegen/halide/Harness.h"

#include "test/codegen/halide/Emulated.h"

#include "HalideRuntime.h"

#include "llvm/ExecutionEngine/Orc/LLJIT.h"
#include "llvm/Support/TargetSelect.h"

#include "gtest/gtest.h"

#include <set>

using namespace ingot;
using namespace ingot::test;

namespace {
constexpr int64_t kGuard = 64;
constexpr uint8_t kGuardByte = 0xa5;

float roundTo(CodeKind kind, float value) {
  return kind == CodeKind::f16    ? float(_Float16(value))
         : kind == CodeKind::e8m0 ? e8m0ToFloat(floatToE8m0(value))
                                  : value;
}
uint16_t halfBits(float value) {
  const _Float16 half = _Float16(value);
  uint16_t bits;
  std::memcpy(&bits, &half, 2);
  return bits;
}
/// Truncated: only for values that bf16 holds.
uint16_t bfloatBits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return uint16_t(bits >> 16);
}
} // namespace

TestMatrix test::makeMatrix(const KernelValue &value, uint32_t seed, Codes kind) {
  const Encoding &e = value.encoding;
  const PackedLayout &layout = value.layout;
  TestMatrix m;
  m.encoding = e;
  m.rows = value.height;
  m.columns = value.width;
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(-1, 1);
  const int64_t padded = roundUp(m.rows, layout.rows), lanes = layout.rows;

  if (e.isFloat()) {
    m.floats.resize(m.rows * m.columns);
    m.packed_codes.assign(padded * m.columns * layout.code_bits / 8, 0);
    for (int64_t r = 0; r < m.rows; ++r)
      for (int64_t k = 0; k < m.columns; ++k) {
        float v = uniform(random) / 8;
        if (e.code == CodeKind::bf16) {
          uint32_t bits = uint32_t(bfloatBits(v)) << 16;
          std::memcpy(&v, &bits, 4);
        } else {
          v = roundTo(e.code, v);
        }
        m.floats[r * m.columns + k] = v;
        const int64_t at = ((r / lanes) * m.columns + k) * lanes + r % lanes; // [r % 16][k][r / 16]
        if (e.code == CodeKind::f32) {
          std::memcpy(m.packed_codes.data() + 4 * at, &v, 4);
        } else {
          const uint16_t bits = e.code == CodeKind::f16 ? halfBits(v) : bfloatBits(v);
          std::memcpy(m.packed_codes.data() + 2 * at, &bits, 2);
        }
      }
    return m;
  }

  const int64_t group = e.groupElements(m.columns), ki = layout.k_inner;
  m.groups = m.columns / group;
  m.codes.resize(m.rows * m.columns);
  m.scales.resize(m.rows * m.groups);
  m.mins.assign(m.rows * m.groups, 0);
  m.packed_codes.assign(padded * m.columns * layout.code_bits / 8, 0);
  const int64_t scale_bytes = scaleBytes(layout.scale_type), numbers = e.symmetric() ? 1 : 2;
  const int64_t group_bytes = e.twoLevel() ? 1 : scale_bytes, supers = m.columns / 256;
  m.packed_scales.assign(padded * m.groups * group_bytes, 0);
  if (!e.symmetric())
    m.packed_mins.assign(padded * m.groups * group_bytes, 0);
  if (e.twoLevel())
    m.packed_supers.assign(padded * supers * numbers * scale_bytes, 0);
  auto store = [&](std::vector<uint8_t> &bytes, int64_t at, float v) {
    const uint16_t half = halfBits(v);
    if (scale_bytes == 1)
      bytes[at] = floatToE8m0(v);
    else if (scale_bytes == 2)
      std::memcpy(bytes.data() + 2 * at, &half, 2);
    else
      std::memcpy(bytes.data() + 4 * at, &v, 4);
  };
  /// Stores the scale (or minimum) of a group, of about `v`, and returns it.
  std::vector<float> super(2);
  auto storeNumber = [&](int64_t r, int64_t g, int64_t number, const ScaleFormat &format, float v) {
    const int64_t block = r / lanes, n = r % lanes;
    const int64_t at = (block * m.groups + g) * lanes + n; // [n][g][block]
    std::vector<uint8_t> &bytes = number ? m.packed_mins : m.packed_scales;
    if (!format.sub_bits) {
      v = roundTo(layout.scale_type, v);
      store(bytes, at, v);
      return v;
    }
    if (g % (256 / group) == 0) {
      super[number] = roundTo(layout.scale_type, v / float(1 << (format.sub_bits - 1)));
      // [n][number][super][block]
      store(m.packed_supers, ((block * supers + g * group / 256) * numbers + number) * lanes + n,
            super[number]);
    }
    const int most = (1 << (format.sub_bits - format.sub_signed)) - 1;
    const int code =
        std::uniform_int_distribution<int>(format.sub_signed ? -most - 1 : 0, most)(random);
    bytes[at] = uint8_t(code);
    return super[number] * float(code);
  };
  std::uniform_int_distribution<int> code(e.minCode(), e.maxCode());
  for (int64_t r = 0; r < m.rows; ++r) {
    const int64_t block = r / lanes, n = r % lanes;
    for (int64_t g = 0; g < m.groups; ++g) {
      m.scales[r * m.groups + g] = storeNumber(r, g, 0, e.scale, (uniform(random) + 1.5f) / 64);
      const float min = uniform(random) / 8;
      if (!e.symmetric())
        m.mins[r * m.groups + g] = storeNumber(r, g, 1, e.min, min);
      for (int64_t k = 0; k < group; ++k) {
        const int any = code(random);
        const int c = kind == Codes::random
                          ? e.table == CodeTable::none ? any : e.values()[any & 15]
                      : kind == Codes::largest ? e.maxCode()
                                               : e.minCode();
        m.codes[r * m.columns + g * group + k] = int16_t(c);
        const uint8_t stored = e.storedCode(c);
        // Planes of [k % ki][n][k / ki][g][block].
        const int64_t bytes = group * layout.code_bits / 8 / ki; // steps of a group
        int64_t start = 0, shift = 0;
        for (int32_t bits : planesOf(layout.code_bits)) {
          const int64_t part = group * bits / 8, kk = k % part;
          uint8_t &byte =
              m.packed_codes[(((block * m.groups + g) * bytes + start + kk / ki) * lanes + n) * ki +
                             kk % ki];
          byte |= uint8_t((stored >> shift & ((1 << bits) - 1)) << (k / part * bits));
          start += part / ki;
          shift += bits;
        }
      }
    }
  }
  return m;
}

Memory::Memory(const KernelSpec &spec) {
  std::vector<int32_t> values = spec.inputs;
  values.insert(values.end(), spec.outputs.begin(), spec.outputs.end());
  for (int32_t value : values)
    for (int32_t part = 0; part < bufferCount(spec.values[value], spec.kv); ++part) {
      Buffer &buffer = buffers[{value, part}];
      buffer.bytes = bufferBytes(spec, value, part);
      buffer.data.reset(
          static_cast<uint8_t *>(std::aligned_alloc(64, roundUp(buffer.bytes, 64) + kGuard)));
      std::memset(buffer.data.get(), 0, buffer.bytes);
      std::memset(buffer.data.get() + buffer.bytes, kGuardByte,
                  roundUp(buffer.bytes, 64) + kGuard - buffer.bytes);
    }
}

void Memory::setMatrix(int32_t value, const TestMatrix &matrix) {
  const std::vector<uint8_t> *parts[] = {&matrix.packed_codes, &matrix.packed_scales,
                                         &matrix.packed_mins, &matrix.packed_supers};
  int32_t part = 0;
  for (const std::vector<uint8_t> *from : parts)
    if (!from->empty()) {
      ASSERT_EQ(int64_t(from->size()), bytes(value, part));
      std::memcpy(get<uint8_t>(value, part++), from->data(), from->size());
    }
}

void Memory::randomRows(int32_t value, uint32_t seed, float scale) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, scale);
  float *data = get<float>(value);
  for (int64_t i = 0; i < bytes(value) / 4; ++i)
    data[i] = normal(random);
}

std::vector<std::pair<uint8_t *, int64_t>> Memory::all() const {
  std::vector<std::pair<uint8_t *, int64_t>> result;
  for (const auto &[key, buffer] : buffers)
    result.emplace_back(buffer.data.get(), roundUp(buffer.bytes, 64) + kGuard);
  return result;
}

bool Memory::intact() const {
  for (const auto &[key, buffer] : buffers)
    for (int64_t i = buffer.bytes; i < roundUp(buffer.bytes, 64) + kGuard; ++i)
      if (buffer.data.get()[i] != kGuardByte)
        return false;
  return true;
}

struct LoadedKernel::Jit {
  std::unique_ptr<llvm::orc::LLJIT> jit;
};

LoadedKernel::LoadedKernel(const KernelSpec &spec, const Target &target)
    : spec(spec), interface(kernelInterface(spec)), jit(std::make_unique<Jit>()) {
  llvm::Expected<std::string> object = compileKernel(spec, target);
  if (!object) {
    ADD_FAILURE() << llvm::toString(object.takeError());
    return;
  }
  if (!target.runsHere()) {
    emulated = std::make_unique<EmulatedKernel>(*object, spec.name, target);
    return;
  }
  static const bool initialized =
      !llvm::InitializeNativeTarget() && !llvm::InitializeNativeTargetAsmPrinter();
  EXPECT_TRUE(initialized);
  auto made = llvm::orc::LLJITBuilder().create();
  if (!made) {
    ADD_FAILURE() << llvm::toString(made.takeError());
    return;
  }
  jit->jit = std::move(*made);
  auto error = jit->jit->addObjectFile(llvm::MemoryBuffer::getMemBufferCopy(*object, spec.name));
  auto symbol = error ? llvm::Expected<llvm::orc::ExecutorAddr>(std::move(error))
                      : jit->jit->lookup(spec.name);
  if (!symbol) {
    ADD_FAILURE() << llvm::toString(symbol.takeError());
    return;
  }
  function = symbol->toPtr<void *>();
}

LoadedKernel::~LoadedKernel() = default;

void LoadedKernel::run(Memory &memory, int32_t begin, int32_t extent, int32_t tokens,
                       int32_t position) {
  ASSERT_TRUE(*this);
  const size_t count = interface.arguments.size();
  ASSERT_LE(count, 10u);
  if (emulated)
    return runEmulated(memory, begin, extent, tokens, position);
  std::vector<halide_buffer_t> buffers(count);
  for (size_t i = 0; i < count; ++i) {
    const KernelArgument &argument = interface.arguments[i];
    // Everything but the host pointer is garbage: kernels must not read it.
    std::memset(static_cast<void *>(&buffers[i]), 0xee, sizeof(halide_buffer_t));
    buffers[i].host = static_cast<uint8_t *>(memory.host(argument.value, argument.part)) +
                      begin * argument.slice_stride_bytes;
  }
  using B = halide_buffer_t *;
  auto b = [&](size_t i) { return i < count ? &buffers[i] : nullptr; };
  // Surplus arguments are ignored by the callee.
  auto call = reinterpret_cast<int32_t (*)(int32_t, int32_t, int32_t, int32_t, B, B, B, B, B, B, B,
                                           B, B, B)>(function);
  EXPECT_EQ(call(begin, extent, tokens, position, b(0), b(1), b(2), b(3), b(4), b(5), b(6), b(7),
                 b(8), b(9)),
            0);
}

void LoadedKernel::runEmulated(Memory &memory, int32_t begin, int32_t extent, int32_t tokens,
                               int32_t position) {
  driver_call call{begin, extent, tokens, position, 0, 0, {}, {}, {}, 0, 0};
  std::vector<uint8_t *> buffers;
  const auto all = memory.all();
  ASSERT_LE(all.size(), size_t(DRIVER_ARGUMENTS));
  for (const auto &[data, bytes] : all) {
    call.bytes[call.buffers++] = uint64_t(bytes);
    buffers.push_back(data);
  }
  for (const KernelArgument &argument : interface.arguments) {
    const auto *host = static_cast<uint8_t *>(memory.host(argument.value, argument.part));
    call.buffer[call.arguments] = int32_t(llvm::find(buffers, host) - buffers.begin());
    call.offset[call.arguments++] = begin * argument.slice_stride_bytes;
  }
  if (near) {
    ASSERT_LT(call.buffers, DRIVER_ARGUMENTS);
    call.bytes[call.buffers++] = near->size();
    buffers.push_back(near->data());
    call.near_offset = uint64_t(near_offset);
    call.near_bytes = uint64_t(near_bytes);
  }
  int32_t result = -1;
  EXPECT_TRUE(emulated->run(call, buffers.data(), &result)) << "the kernel crashed";
  EXPECT_EQ(result, 0);
}

std::vector<std::unique_ptr<Target>> test::testTargets() {
  std::vector<std::unique_ptr<Target>> targets;
  std::set<std::string> seen;
  std::vector<std::string> names{"host"};
  for (const TargetName &name : targetNames())
    if (name.name != "host")
      names.push_back(name.name);
  std::reverse(names.begin(), names.end());
  for (const std::string &name : names) {
    llvm::Expected<std::unique_ptr<Target>> target = makeTarget(name);
    if (!target) {
      llvm::consumeError(target.takeError());
      continue;
    }
    // Without vectors, kernels are the same code lane by lane, which takes LLVM minutes to compile:
    // tests of whole programs have those (test/targets).
    const Machine &machine = (*target)->machine();
    if (machine.vector_bits < 128 || (*target)->variants().size() > 1 ||
        (!seen.insert(machine.triple + machine.isa).second && name != "host"))
      continue;
    // Kernels that a target makes itself round in their own way: tests of theirs are in
    // test/targets.
    SpecMaker make(1);
    const int32_t quantized = make.quantize(make.rows(64), 32);
    if (!(*target)->kernelCode(make.finish(**target, {quantized})).empty())
      continue;
    const bool emulated =
        EmulatedKernel::drives(machine) && !EmulatedKernel::emulator(**target).empty();
    if (!EmulatedKernel::drives(machine) && !llvm::StringRef(machine.isa).starts_with("avx"))
      continue;
    if (!(*target)->runsHere() && !emulated && !(*target)->emulator().empty())
      std::fprintf(stderr, "note: %s is missing: not tested for %s\n",
                   (*target)->emulator().c_str(), name.c_str());
    if ((*target)->runsHere() || emulated)
      targets.push_back(std::move(*target));
  }
  return targets;
}
