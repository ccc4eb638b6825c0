#include "test/codegen/spirv/Device.h"

#include "targets/vulkan/runtime/device.h"
#include "targets/vulkan/runtime/session.h"

#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/raw_ostream.h"

#include "gtest/gtest.h"

using namespace ingot;
using namespace ingot::test;

namespace {

constexpr uint64_t guard_bytes = 64, displaced = 64, alignment = 256;
constexpr uint8_t guard_byte = 0xa5;

/// What a session's functions are called for.
struct Counted {
  PFN_vkQueueSubmit submit;
  PFN_vkBeginCommandBuffer begin;
  int submissions, recordings;
} counted;

/// What spirv-val says against a module; empty: nothing, or there is no spirv-val.
std::string invalid(const std::vector<uint32_t> &words) {
  auto validator = llvm::sys::findProgramByName("spirv-val");
  if (!validator) {
    static bool said = false;
    if (!said)
      std::fprintf(stderr, "note: spirv-val is missing: modules are not validated\n");
    said = true;
    return "";
  }
  llvm::SmallString<128> path, out;
  EXPECT_FALSE(llvm::sys::fs::createTemporaryFile("kernel", "spv", path));
  EXPECT_FALSE(llvm::sys::fs::createTemporaryFile("kernel", "txt", out));
  llvm::FileRemover remove_path(path), remove_out(out);
  {
    std::error_code error;
    llvm::raw_fd_ostream(path, error)
        .write(reinterpret_cast<const char *>(words.data()), words.size() * 4);
  }
  const std::optional<llvm::StringRef> redirects[] = {llvm::StringRef(), out.str(), out.str()};
  if (!llvm::sys::ExecuteAndWait(*validator, {*validator, "--target-env", "vulkan1.1", path},
                                 std::nullopt, redirects))
    return "";
  auto text = llvm::MemoryBuffer::getFile(out);
  return text ? (*text)->getBuffer().str() : "spirv-val failed";
}

} // namespace

const char *test::missingDevice() { return platform::vulkan::missing(); }

DeviceKernel::DeviceKernel(KernelSpec kernel, bool per_sequence)
    : spec(std::move(kernel)), per_sequence(per_sequence) {
  for (const spirv::Features &features : spirv::allFeatures()) {
    auto made = spirv::compileKernel(spec, per_sequence, features);
    if (!made) {
      ADD_FAILURE() << llvm::toString(made.takeError());
      return;
    }
    EXPECT_EQ(invalid(made->words), "");
    flatbuffers::FlatBufferBuilder buffer;
    std::vector<device::Argument> places;
    uint64_t end = 0;
    for (const KernelArgument &argument : kernelInterface(spec).arguments) {
      places.emplace_back(end + displaced,
                          uint64_t(bufferBytes(spec, argument.value, argument.part)),
                          device::Space_weights);
      end = roundUp(end + displaced + places.back().bytes() + guard_bytes, alignment);
    }
    if (made->scratch_bytes) {
      const int32_t tokens = per_sequence ? INGOT_PARAMETER_TOKENS_MAX : 1;
      places.emplace_back(0, uint64_t(made->scratch_bytes * tokens), device::Space_scratch);
    }
    std::vector forms{device::CreateFormDirect(buffer, features.bits(), &made->words)};
    std::vector kernels{device::CreateKernelDirect(buffer, "kernel", &forms, uint8_t(places.size()),
                                                   uint32_t(made->shared_bytes))};
    std::vector launches{device::CreateLaunchDirect(
        buffer, 0, false, uint32_t(made->grid.x), uint32_t(made->grid.tokens_each),
        uint32_t(made->grid.more_tokens), uint32_t(made->grid.keys_each), &places)};
    // Steps for several sequences come behind decode, prefill and score.
    std::vector<flatbuffers::Offset<device::Step>> steps;
    for (int i = 0; i < 4; ++i)
      steps.push_back(
          device::CreateStepDirect(buffer, "step", per_sequence ? 8 : spec.max_tokens, &launches));
    device::FinishCodeBuffer(buffer, device::CreateCodeDirect(buffer, &kernels, &steps));
    programs.emplace_back(reinterpret_cast<const char *>(buffer.GetBufferPointer()),
                          buffer.GetSize());
  }
}

void DeviceKernel::run(Memory &memory, int32_t tokens, int32_t position,
                       const std::vector<int32_t> &positions) {
  std::vector<std::vector<uint8_t>> results;
  for (const std::string &code : programs) {
    const auto &places =
        *device::GetCode(code.data())->steps()->Get(0)->launches()->Get(0)->arguments();
    const KernelInterface interface = kernelInterface(spec);
    std::vector<uint8_t> image;
    for (uint32_t i = 0; i < interface.arguments.size(); ++i) {
      const device::Argument &place = *places.Get(i);
      image.resize(place.offset() + place.bytes() + guard_bytes, guard_byte);
      std::memcpy(image.data() + place.offset(),
                  memory.host(interface.arguments[i].value, interface.arguments[i].part),
                  place.bytes());
    }
    image.resize(roundUp(int64_t(image.size()), alignment), guard_byte);
    ingot_program program{};
    program.weights = image.data();
    program.weights_bytes = image.size();
    program.arena_bytes = program.cache_bytes = 4096;
    program.prefill_tokens = program.score_tokens = 512;
    program.vocab_size = program.logits_stride = 16;
    program.context_length = 16;
    ingot_variant variant{};
    variant.device = &ingot_vulkan_device;
    variant.device_code = reinterpret_cast<const uint8_t *>(code.data());
    variant.device_code_bytes = code.size();
    uint8_t caches = 0, *cache = &caches;
    const ingot_device_request request{&program, program.weights, &variant, 1, cache, 4096};
    char problem[256] = "";
    ingot_device_session *session;
    ASSERT_EQ(ingot_vulkan_device.open(&request, &session, problem), INGOT_OK) << problem;
    session->machine.properties.limits.minStorageBufferOffsetAlignment = alignment;
    if (device::GetCode(code.data())->kernels()->Get(0)->forms()->Get(0)->needs() &
        ~session->machine.features) {
      ingot_vulkan_device.close(session);
      continue;
    }
    std::vector<int32_t> ids(tokens), all = positions;
    all.resize(size_t(tokens), position);
    std::vector<uint8_t *> caches_of(tokens, cache);
    float logits[16 * 64];
    const ingot_step_context context{nullptr, nullptr,  ids.data(),       logits,     nullptr,
                                     tokens,  position, caches_of.data(), all.data(), nullptr};
    const uint8_t *mapped = session->chunks[0].buffer.mapped;
    ASSERT_NE(mapped, nullptr) << "memory that the processor does not see";
    // Each time one submission, recorded the first time only; nothing here adds to what it reads.
    counted =
        Counted{session->machine.vk.QueueSubmit, session->machine.vk.BeginCommandBuffer, 0, 0};
    session->machine.vk.QueueSubmit = [](auto... arguments) {
      return ++counted.submissions, counted.submit(arguments...);
    };
    session->machine.vk.BeginCommandBuffer = [](auto... arguments) {
      return ++counted.recordings, counted.begin(arguments...);
    };
    for (int times = 1; times <= 2; ++times) {
      std::memcpy(session->chunks[0].buffer.mapped, image.data(), image.size());
      EXPECT_EQ(ingot_vulkan_device.run(session, per_sequence ? 3 : 0, &context), INGOT_OK);
      EXPECT_EQ(counted.submissions, times);
      EXPECT_EQ(counted.recordings, 1);
    }
    std::vector<uint8_t> after(mapped, mapped + image.size());
    // A device that is lost stays lost.
    session->machine.vk.QueueSubmit = [](auto...) { return VK_ERROR_DEVICE_LOST; };
    for (int times = 0; times < 2; ++times) {
      EXPECT_EQ(ingot_vulkan_device.run(session, per_sequence ? 3 : 0, &context),
                INGOT_DEVICE_LOST);
      session->machine.vk.QueueSubmit = counted.submit;
    }
    ingot_vulkan_device.close(session);
    uint64_t end = 0;
    for (const device::Argument *place : places) {
      if (place->space() == device::Space_scratch)
        continue;
      for (uint64_t i = end; i < place->offset(); ++i)
        ASSERT_EQ(after[i], guard_byte) << "written outside of its arguments";
      end = place->offset() + place->bytes();
    }
    results.push_back(after);
  }
  ASSERT_FALSE(results.empty());
  for (const auto &result : results)
    EXPECT_EQ(result, results.front()) << "the forms differ";
  const auto &places =
      *device::GetCode(programs[0].data())->steps()->Get(0)->launches()->Get(0)->arguments();
  const KernelInterface interface = kernelInterface(spec);
  for (uint32_t i = 0; i < interface.arguments.size(); ++i)
    if (llvm::is_contained(spec.outputs, interface.arguments[i].value))
      std::memcpy(memory.host(interface.arguments[i].value, interface.arguments[i].part),
                  results.front().data() + places.Get(i)->offset(), places.Get(i)->bytes());
}
