#include "test/codegen/spirv/Device.h"

#include "codegen/spirv/Program.h"
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

/// Runs a program; gives its status and what it says.
std::pair<int, std::string> say(const std::vector<llvm::StringRef> &command) {
  llvm::SmallString<128> out;
  EXPECT_FALSE(llvm::sys::fs::createTemporaryFile("kernel", "txt", out));
  llvm::FileRemover remove_out(out);
  const std::optional<llvm::StringRef> redirects[] = {llvm::StringRef(), out.str(), out.str()};
  const int status = llvm::sys::ExecuteAndWait(command[0], command, std::nullopt, redirects);
  auto text = llvm::MemoryBuffer::getFile(out);
  return {status, text ? (*text)->getBuffer().str() : ""};
}

struct Validator {
  std::string path; ///< empty: there is none
  bool knows_products = false;

  Validator() {
    if (auto found = llvm::sys::findProgramByName("spirv-val"))
      path = *found;
    if (path.empty()) {
      std::fprintf(stderr, "note: spirv-val is missing: modules are not validated\n");
      return;
    }
    const std::string version = say({path, "--version"}).second; // SPIRV-Tools v2023.1 ...
    const size_t year = version.find(" v");
    knows_products = year != std::string::npos && std::atoi(version.c_str() + year + 2) > 2023;
    if (!knows_products)
      std::fprintf(stderr, "note: spirv-val is of 2023: products of matrices are not validated\n");
  }
};

/// What spirv-val says against a module; empty: nothing, or none here knows such modules.
std::string invalid(const std::vector<uint32_t> &words, const spirv::Features &features) {
  static const Validator validator;
  const bool products = features.product >= 0;
  if (validator.path.empty() || (products && !validator.knows_products))
    return "";
  llvm::SmallString<128> path;
  EXPECT_FALSE(llvm::sys::fs::createTemporaryFile("kernel", "spv", path));
  llvm::FileRemover remove_path(path);
  {
    std::error_code error;
    llvm::raw_fd_ostream(path, error)
        .write(reinterpret_cast<const char *>(words.data()), words.size() * 4);
  }
  auto [status, text] =
      say({validator.path, "--target-env", products ? "vulkan1.3" : "vulkan1.1", path.str()});
  return status && text.empty() ? "spirv-val failed" : text;
}

uint32_t inexactForms() {
  uint32_t needs = 0;
  for (size_t i = 0; i < std::size(product_shapes); ++i)
    if (product_shapes[i].halves())
      needs |= INGOT_DEVICE_PRODUCT(i);
  return needs;
}

} // namespace

bool test::everyProduct() { return std::getenv("INGOT_EVERY_PRODUCT") != nullptr; }

uint32_t test::deviceFeatures() {
  platform::vulkan::Machine machine;
  if (platform::vulkan::find_machine(&machine))
    return 0;
  platform::vulkan::close_machine(&machine);
  return machine.features;
}

uint32_t &test::formsThatRan() {
  static uint32_t needs = 0;
  return needs;
}

const char *test::missingDevice() { return platform::vulkan::missing(); }

DeviceKernel::DeviceKernel(KernelSpec kernel, bool per_sequence)
    : spec(std::move(kernel)), per_sequence(per_sequence) {
  for (const spirv::Features &features : spirv::formsOf(spec)) {
    auto made = spirv::compileKernel(spec, per_sequence, features);
    if (!made) {
      ADD_FAILURE() << llvm::toString(made.takeError());
      return;
    }
    EXPECT_EQ(invalid(made->words, features), "");
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
    std::vector forms{spirv::createForm(buffer, features, *made)};
    std::vector kernels{
        device::CreateKernelDirect(buffer, "kernel", &forms, uint8_t(places.size()))};
    std::vector launches{device::CreateLaunchDirect(buffer, 0, false, &places)};
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

void DeviceKernel::runForms(Memory &memory, int32_t tokens, int32_t position,
                            const std::vector<int32_t> &positions, Images &exact, Images &others) {
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
    const device::Form &form = *device::GetCode(code.data())->kernels()->Get(0)->forms()->Get(0);
    if (everyProduct() && session->machine.features & INGOT_DEVICE_ANY_PRODUCT) {
      session->machine.features |= INGOT_DEVICE_ANY_PRODUCT;
      session->kernels[0].form = &form;
    }
    if (form.needs() & ~session->machine.features) {
      ingot_vulkan_device.close(session);
      continue;
    }
    std::vector<int32_t> ids(tokens), all = positions;
    all.resize(size_t(tokens), position);
    std::vector<uint8_t *> caches_of(tokens, cache);
    float logits[16 * 64];
    const ingot_step_context context{nullptr,    nullptr, ids.data(), logits,
                                     nullptr,    tokens,  position,   caches_of.data(),
                                     all.data(), nullptr, nullptr,    0};
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
    // What tokens hold that only pad the buffers is up to a form.
    for (uint32_t i = 0; i < interface.arguments.size(); ++i) {
      const KernelValue &value = spec.values[interface.arguments[i].value];
      if (!hasTokens(value) || per_sequence)
        continue;
      const device::Argument &place = *places.Get(i);
      const uint64_t each = place.bytes() / uint64_t(paddedTokens(spec.max_tokens)),
                     used = std::min<uint64_t>(place.bytes(), each * uint64_t(tokens));
      std::memset(after.data() + place.offset() + used, 0, place.bytes() - used);
    }
    formsThatRan() |= form.needs();
    if (form.needs() & inexactForms()) {
      others.push_back(after);
      continue;
    }
    exact.push_back(after);
    EXPECT_EQ(exact.back(), exact.front()) << "the form for " << form.needs() << " differs";
  }
}

void DeviceKernel::take(const std::vector<uint8_t> &image, Memory &memory) {
  const auto &places =
      *device::GetCode(programs[0].data())->steps()->Get(0)->launches()->Get(0)->arguments();
  const KernelInterface interface = kernelInterface(spec);
  for (uint32_t i = 0; i < interface.arguments.size(); ++i)
    if (llvm::is_contained(spec.outputs, interface.arguments[i].value))
      std::memcpy(memory.host(interface.arguments[i].value, interface.arguments[i].part),
                  image.data() + places.Get(i)->offset(), places.Get(i)->bytes());
}

void DeviceKernel::run(Memory &memory, int32_t tokens, int32_t position,
                       const std::vector<int32_t> &positions) {
  Images exact, others;
  runForms(memory, tokens, position, positions, exact, others);
  ASSERT_FALSE(exact.empty());
  EXPECT_TRUE(others.empty()) << "forms that nobody checks";
  take(exact.front(), memory);
}

void DeviceKernel::run(Memory &memory, int32_t tokens, const std::function<void()> &check) {
  Images exact, others;
  runForms(memory, tokens, 0, {}, exact, others);
  ASSERT_FALSE(exact.empty());
  others.push_back(exact.front());
  for (const std::vector<uint8_t> &image : others) {
    take(image, memory);
    check();
  }
}

void DeviceKernel::runExact(Memory &memory, int32_t tokens) {
  Images exact, others;
  runForms(memory, tokens, 0, {}, exact, others);
  ASSERT_FALSE(exact.empty());
  take(exact.front(), memory);
}
