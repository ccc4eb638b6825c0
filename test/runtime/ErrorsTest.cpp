// Errors that only the outside causes: memory, threads, devices, files of weights. What is wrong is
// told to the session that was to be made, and to no other.
#include "fake_session.h"
#include "runtime/core/device.h"
#include "runtime/core/weights.h"

#include <atomic>
#include <cstdio>
#include <cstring>
#include <pthread.h>
#include <string>
#include <thread>
#include <vector>

namespace {

bool no_threads = false; // what the system says

} // namespace

// What the runtime calls: the linker's --wrap.
extern "C" int __real_pthread_create(pthread_t *, const pthread_attr_t *, void *(*)(void *),
                                     void *);
extern "C" int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                                     void *(*run)(void *), void *argument) {
  return no_threads ? EAGAIN : __real_pthread_create(thread, attributes, run, argument);
}

namespace {

ingot_status create(const ingot_program &program, const ingot_session_options &options,
                    std::string *problem = nullptr) {
  ingot_session_options with = options;
  char text[INGOT_PROBLEM_BYTES] = "unchanged";
  if (problem)
    with.problem = text;
  ingot_session *session = nullptr;
  const ingot_status status = ingot_session_create(&program, &with, &session);
  EXPECT_EQ(session == nullptr, status != INGOT_OK);
  ingot_session_destroy(session);
  if (problem)
    *problem = text;
  return status;
}

TEST(Errors, EachHasWordsOfItsOwn) {
  std::vector<std::string> said;
  for (int32_t code = INGOT_OK; code <= INGOT_NO_EMBEDDINGS; ++code) {
    const std::string text = ingot_status_string(static_cast<ingot_status>(code));
    EXPECT_NE(text, "unknown status") << code;
    EXPECT_NE(text.back(), '.');
    for (const std::string &other : said)
      EXPECT_NE(text, other);
    said.push_back(text);
  }
  EXPECT_STREQ(ingot_status_string(static_cast<ingot_status>(1000)), "unknown status");
}

TEST(Errors, NoThreads) {
  ingot_session_options options = ingot_default_session_options();
  options.threads = 3;
  no_threads = true;
  EXPECT_EQ(create(fake::plain, options), INGOT_NO_THREADS);
  options.threads = 1; // the caller's own
  EXPECT_EQ(create(fake::plain, options), INGOT_OK);
  no_threads = false;
  options.threads = 3;
  EXPECT_EQ(create(fake::plain, options), INGOT_OK);
}

TEST(Errors, NoMemory) {
  ingot_program large = fake::plain;
  large.arena_bytes = uint64_t{1} << 46;
  ingot_session_options options = ingot_default_session_options();
  options.sequences = INGOT_MAX_SEQUENCES;
  large.cache_bytes = uint64_t{1} << 46; // more than a process has addresses
  EXPECT_EQ(create(large, options), INGOT_NO_MEMORY);
}

TEST(Errors, ProcessorsAndNames) {
  ingot_session_options options = ingot_default_session_options();
  std::string problem;
  EXPECT_EQ(create(fake::refused, options, &problem), INGOT_UNSUPPORTED_CPU);
  EXPECT_EQ(problem, "this processor has no flux1");
  options.isa = "future";
  EXPECT_EQ(create(fake::plain, options, &problem), INGOT_UNSUPPORTED_CPU);
  EXPECT_EQ(problem, "this processor has no flux2");
  const std::string name(1000, 'n');
  options.isa = name.c_str();
  EXPECT_EQ(create(fake::plain, options, &problem), INGOT_BAD_ARGUMENT);
  EXPECT_EQ(problem, ("the program has no kernels for " + name).substr(0, INGOT_PROBLEM_BYTES - 1));
  options.isa = nullptr;
  EXPECT_EQ(create(fake::plain, options, &problem), INGOT_OK);
  EXPECT_EQ(problem, "");
  options.threads = -1;
  EXPECT_EQ(create(fake::plain, options, &problem), INGOT_BAD_ARGUMENT);
  EXPECT_EQ(problem, "");
}

//===--- Weights in a file -----------------------------------------------------------------===//

struct WeightsFile {
  std::string path = testing::TempDir() + "ingot-errors.weights";
  std::vector<uint8_t> bytes;

  WeightsFile() : bytes(4096) {
    ingot::runtime::WeightsHasher hasher;
    hasher.add(fake::weights_in_file, sizeof fake::weights_in_file);
    ingot::runtime::WeightsHeader header{{},   ingot::runtime::weights_version, 0,
                                         4096, sizeof fake::weights_in_file,    hasher.finish(),
                                         {}};
    std::memcpy(header.magic, ingot::runtime::weights_magic, sizeof header.magic);
    header.check = header.checked();
    std::memcpy(bytes.data(), &header, sizeof header);
    bytes.insert(bytes.end(), std::begin(fake::weights_in_file), std::end(fake::weights_in_file));
  }
  ~WeightsFile() { std::remove(path.c_str()); }

  ingot_status open(int32_t verify, ingot_weights **weights) const {
    FILE *file = std::fopen(path.c_str(), "wb");
    EXPECT_EQ(std::fwrite(bytes.data(), 1, bytes.size(), file), bytes.size());
    std::fclose(file);
    return ingot_weights_open(&fake::split, path.c_str(), verify, weights);
  }
};

TEST(WeightsFiles, AreOpenedForAnyNumberOfSessions) {
  const WeightsFile file;
  ingot_session_options options = ingot_default_session_options();
  std::string problem;
  EXPECT_EQ(create(fake::split, options, &problem), INGOT_NO_WEIGHTS);
  EXPECT_EQ(problem, "the model's weights are in a file: fake.weights");
  ingot_weights *weights = nullptr;
  ASSERT_EQ(file.open(1, &weights), INGOT_OK);
  options.weights = weights;
  ingot_session *first = fake::opened(fake::split, options);
  ingot_session *second = fake::opened(fake::split, options);
  const ingot_message message{INGOT_ROLE_USER, "a", 1};
  int32_t count;
  EXPECT_EQ(ingot_chat_eval(first, &message, 1), INGOT_NO_TEMPLATE);
  EXPECT_EQ(ingot_chat_tokens(first, &message, 1, nullptr, 0, &count), INGOT_NO_TEMPLATE);
  ingot_session_destroy(first);
  ingot_session_destroy(second);
  ingot_weights_close(weights);
  ingot_weights_close(nullptr);
}

TEST(WeightsFiles, AreRefused) {
  ingot_weights *weights = nullptr;
  auto opened = [&](auto change, int32_t verify) {
    WeightsFile file;
    change(file.bytes);
    const ingot_status status = file.open(verify, &weights);
    EXPECT_EQ(weights == nullptr, status != INGOT_OK);
    ingot_weights_close(weights);
    return status;
  };
  using Bytes = std::vector<uint8_t>;
  for (int32_t verify : {0, 1}) {
    EXPECT_EQ(opened([](Bytes &) {}, verify), INGOT_OK);
    EXPECT_EQ(opened([](Bytes &bytes) { bytes[0] ^= 1; }, verify), INGOT_WRONG_WEIGHTS);
    EXPECT_EQ(opened([](Bytes &bytes) { bytes[33] ^= 1; }, verify), INGOT_DAMAGED_WEIGHTS);
    EXPECT_EQ(opened([](Bytes &bytes) { bytes.pop_back(); }, verify), INGOT_DAMAGED_WEIGHTS);
    EXPECT_EQ(opened([](Bytes &bytes) { bytes.resize(63); }, verify), INGOT_WRONG_WEIGHTS);
    EXPECT_EQ(opened([](Bytes &bytes) { bytes.back() ^= 1; }, verify),
              verify ? INGOT_DAMAGED_WEIGHTS : INGOT_OK);
    // Whole, but another model's.
    EXPECT_EQ(opened(
                  [](Bytes &bytes) {
                    ingot::runtime::WeightsHeader header;
                    std::memcpy(&header, bytes.data(), sizeof header);
                    header.hash.words[0] ^= 1;
                    header.check = header.checked();
                    std::memcpy(bytes.data(), &header, sizeof header);
                  },
                  verify),
              INGOT_WRONG_WEIGHTS);
  }
  EXPECT_EQ(ingot_weights_open(&fake::split, "/no/such/file", 1, &weights),
            INGOT_WEIGHTS_UNREADABLE);
  EXPECT_EQ(ingot_weights_open(&fake::split, "/", 1, &weights), INGOT_WEIGHTS_UNREADABLE);
  EXPECT_EQ(ingot_weights_open(&fake::split, nullptr, 1, &weights), INGOT_WEIGHTS_UNREADABLE);
  EXPECT_EQ(ingot_weights_open(&fake::plain, "/", 1, &weights), INGOT_BAD_ARGUMENT);
  EXPECT_EQ(ingot_weights_open(nullptr, "/", 1, &weights), INGOT_BAD_PROGRAM);
  EXPECT_EQ(ingot_weights_open(&fake::split, "/", 1, nullptr), INGOT_BAD_ARGUMENT);
}

//===--- Devices -----------------------------------------------------------------------------===//

std::atomic<int32_t> opens{0};
ingot_status opening = INGOT_OK;

ingot_status open_device(const ingot_device_request *, ingot_device_session **session,
                         char *problem) {
  *session = reinterpret_cast<ingot_device_session *>(1);
  if (opening)
    std::snprintf(problem, INGOT_PROBLEM_BYTES, "there is no device %d", ++opens);
  return opening;
}
void close_device(ingot_device_session *) {}
ingot_status lose(ingot_device_session *, int32_t, const ingot_step_context *) {
  return INGOT_DEVICE_LOST;
}
ingot_status copy(ingot_device_session *, int32_t, int32_t, int32_t) { return INGOT_OK; }
const char *describe(const ingot_device_session *) { return "device"; }
ingot_status read_nothing(ingot_device_session *, int32_t, int32_t, uint8_t *) {
  return INGOT_DEVICE_LOST;
}
ingot_status write_nothing(ingot_device_session *, int32_t, int32_t, const uint8_t *) {
  return INGOT_DEVICE_LOST;
}
const ingot_device device{"fake", open_device,  close_device,  lose,
                          copy,   read_nothing, write_nothing, describe};
const uint8_t code[] = {0};
constexpr ingot_variant on_device{nullptr, nullptr, nullptr, {}, nullptr, &device, code, 1};

/// "future" needs what no processor has; then comes a device, and with `fallback` the processor.
struct DeviceProgram {
  ingot_variant variants[fake::variant_count];
  ingot_program program = fake::plain;

  explicit DeviceProgram(bool fallback)
      : variants{on_device, on_device, fallback ? fake::steps : on_device} {
    program.variants = variants;
  }
};

TEST(Devices, AreMissedBySessionsApart) {
  opening = INGOT_NO_DEVICE;
  opens = 0;
  const DeviceProgram only(false), either(true);
  const ingot_session_options options = ingot_default_session_options();
  // Two tries each, whose last one is told.
  std::vector<std::string> problems(8);
  std::vector<std::thread> threads;
  for (std::string &problem : problems)
    threads.emplace_back(
        [&] { EXPECT_EQ(create(only.program, options, &problem), INGOT_NO_DEVICE); });
  for (std::thread &thread : threads)
    thread.join();
  EXPECT_EQ(opens, 16);
  for (size_t i = 0; i < problems.size(); ++i) {
    EXPECT_EQ(problems[i].compare(0, 19, "there is no device "), 0) << problems[i];
    for (size_t j = 0; j < i; ++j)
      EXPECT_NE(problems[i], problems[j]);
  }
  // Without one, the processor does it, and the session says so.
  opens = 0;
  std::string problem;
  EXPECT_EQ(create(either.program, options, &problem), INGOT_OK);
  EXPECT_EQ(problem, "there is no device 1");
  EXPECT_EQ(create(only.program, options), INGOT_NO_DEVICE);
}

TEST(Devices, MayBeLost) {
  opening = INGOT_OK;
  const DeviceProgram only(false);
  ingot_session *session = fake::opened(only.program);
  const int32_t token = 1;
  EXPECT_EQ(ingot_eval(session, &token, 1), INGOT_DEVICE_LOST);
  EXPECT_EQ(ingot_position(session), 0);
  EXPECT_EQ(ingot_logits(session), nullptr);
  float out[fake::embedding_length];
  EXPECT_EQ(ingot_embed(session, &token, 1, INGOT_POOLING_LAST, out, fake::embedding_length),
            INGOT_DEVICE_LOST);
  // What another session of the same program saved.
  ingot_session *other = fake::opened();
  EXPECT_EQ(ingot_eval(other, &token, 1), INGOT_OK);
  std::vector<uint8_t> saved(1 << 16);
  size_t bytes;
  EXPECT_EQ(ingot_save(session, saved.data(), saved.size(), &bytes), INGOT_DEVICE_LOST);
  EXPECT_EQ(ingot_save(other, saved.data(), saved.size(), &bytes), INGOT_OK);
  EXPECT_EQ(ingot_restore(session, saved.data(), bytes), INGOT_DEVICE_LOST);
  EXPECT_EQ(ingot_restore(session, saved.data(), bytes - 1), INGOT_DAMAGED_SAVE);
  EXPECT_EQ(ingot_position(session), 0);
  EXPECT_EQ(ingot_logits(session), nullptr);
  ingot_session_destroy(other);
  ingot_session_destroy(session);
}

} // namespace
