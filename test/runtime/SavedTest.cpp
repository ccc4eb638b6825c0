// Saving and restoring sequences, model information, and text by a callback, of the fake model.
#include "runtime/core/session.h"
#include "runtime/include/ingot.hpp"
#include "test/runtime/fake.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

namespace {

constexpr int32_t context_length = 96;
const uint8_t manifest[] = {
#include "fake_manifest.inc"
};

template <bool every_row>
void step(const ingot_step_context *context, int32_t thread, int32_t threads) {
  fake::step(context, thread, threads, every_row);
}
constexpr ingot_variant steps = {
    step<false>, step<false>, step<true>, {fake::batch_step, fake::batch_step}};
const ingot_variant variants[fake::variant_count] = {steps, steps, steps};
const ingot_program program = fake::program(variants, manifest, sizeof manifest, context_length);

ingot_session *opened(const ingot_program &of = program) {
  ingot_session_options options = ingot_default_session_options();
  options.threads = 2;
  ingot_session *session = nullptr;
  EXPECT_EQ(ingot_session_create(&of, &options, &session), INGOT_OK);
  return session;
}

std::vector<uint8_t> saved(const ingot_session *session) {
  size_t bytes = 0;
  EXPECT_EQ(ingot_save(session, nullptr, 0, &bytes), INGOT_BUFFER_TOO_SMALL);
  std::vector<uint8_t> out(bytes);
  EXPECT_EQ(ingot_save(session, out.data(), bytes - 1, &bytes), INGOT_BUFFER_TOO_SMALL);
  EXPECT_EQ(ingot_save(session, out.data(), out.size(), &bytes), INGOT_OK);
  EXPECT_EQ(bytes, out.size());
  return out;
}

/// Tokens that are sampled with chance, and the logits behind them.
std::pair<std::vector<int32_t>, std::vector<float>> continued(ingot_session *session) {
  std::vector<int32_t> tokens;
  for (int32_t i = 0; i < 9; ++i) {
    int32_t token = -1;
    EXPECT_EQ(ingot_sample(session, &token), INGOT_OK);
    EXPECT_EQ(ingot_eval(session, &token, 1), INGOT_OK);
    tokens.push_back(token);
  }
  const float *logits = ingot_logits(session);
  return {tokens, {logits, logits + fake::vocab_size}};
}

class Saved : public testing::Test {
protected:
  void SetUp() override {
    session = opened();
    ingot_sampling sampling = ingot_default_sampling();
    sampling.temperature = 8; // chance, not the model, decides
    sampling.seed = 7;
    ASSERT_EQ(ingot_set_sampling(session, &sampling), INGOT_OK);
    const int32_t tokens[] = {'a', 'q', 'L', 7, 200, 'x', 'y', 1, 2, 3, 'b'};
    ASSERT_EQ(ingot_eval(session, tokens, 11), INGOT_OK);
    other = opened();
    ASSERT_EQ(ingot_set_sampling(other, &sampling), INGOT_OK);
  }
  void TearDown() override {
    ingot_session_destroy(session);
    ingot_session_destroy(other);
  }
  ingot_session *session = nullptr, *other = nullptr;
};

TEST_F(Saved, GoesOnWithTheSameBits) {
  int32_t token;
  ASSERT_EQ(ingot_sample(session, &token), INGOT_OK); // random numbers are under way
  const std::vector<uint8_t> bytes = saved(session);
  const auto expected = continued(session);
  const int32_t first[] = {'z', 'z'};
  ASSERT_EQ(ingot_eval(other, first, 2), INGOT_OK); // is replaced
  ASSERT_EQ(ingot_restore(other, bytes.data(), bytes.size()), INGOT_OK);
  EXPECT_EQ(ingot_position(other), 11);
  EXPECT_EQ(continued(other), expected);
  ASSERT_EQ(ingot_restore(session, bytes.data(), bytes.size()), INGOT_OK);
  EXPECT_EQ(continued(session), expected);
}

TEST_F(Saved, AlsoWhatHasNoLogits) {
  ASSERT_EQ(ingot_truncate(session, 5), INGOT_OK);
  const std::vector<uint8_t> bytes = saved(session);
  ASSERT_EQ(ingot_restore(other, bytes.data(), bytes.size()), INGOT_OK);
  EXPECT_EQ(ingot_position(other), 5);
  EXPECT_EQ(ingot_logits(other), nullptr);
  ingot_reset(session);
  const std::vector<uint8_t> empty = saved(session);
  ASSERT_EQ(ingot_restore(other, empty.data(), empty.size()), INGOT_OK);
  EXPECT_EQ(ingot_position(other), 0);
}

TEST_F(Saved, RefusesWhatIsDamaged) {
  std::vector<uint8_t> bytes = saved(session);
  for (size_t length = 0; length < bytes.size(); ++length)
    ASSERT_NE(ingot_restore(other, bytes.data(), length), INGOT_OK) << length;
  EXPECT_EQ(ingot_restore(other, bytes.data(), bytes.size() - 1), INGOT_DAMAGED_SAVE);
  for (size_t i = 0; i < bytes.size(); ++i)
    for (const uint8_t bit : {1, 128}) {
      bytes[i] ^= bit;
      ASSERT_NE(ingot_restore(other, bytes.data(), bytes.size()), INGOT_OK) << i;
      bytes[i] ^= bit;
    }
  bytes.push_back(0);
  EXPECT_EQ(ingot_restore(other, bytes.data(), bytes.size()), INGOT_DAMAGED_SAVE);
  EXPECT_EQ(ingot_position(other), 0);
  EXPECT_EQ(ingot_logits(other), nullptr);
}

TEST_F(Saved, RefusesWhatIsForeign) {
  std::vector<uint8_t> bytes = saved(session);
  std::vector<uint8_t> another(manifest, manifest + sizeof manifest);
  another.push_back(0); // the same model to us, another program to whoever compares
  const ingot_program changed =
      fake::program(variants, another.data(), another.size(), context_length);
  ingot_session *foreign = opened(changed);
  EXPECT_EQ(ingot_restore(foreign, bytes.data(), bytes.size()), INGOT_FOREIGN_SAVE);
  ingot_session_destroy(foreign);
  const std::string text(500, 'x');
  EXPECT_EQ(ingot_restore(other, text.data(), text.size()), INGOT_FOREIGN_SAVE);
  ++bytes[8]; // the format
  EXPECT_EQ(ingot_restore(other, bytes.data(), bytes.size()), INGOT_FOREIGN_SAVE);
}

TEST_F(Saved, BadArguments) {
  size_t bytes = 0;
  uint8_t byte = 0;
  EXPECT_EQ(ingot_save(nullptr, &byte, 1, &bytes), INGOT_BAD_ARGUMENT);
  EXPECT_EQ(ingot_save(session, nullptr, 1, &bytes), INGOT_BAD_ARGUMENT);
  EXPECT_EQ(ingot_save(session, &byte, 1, nullptr), INGOT_BAD_ARGUMENT);
  EXPECT_EQ(ingot_restore(nullptr, &byte, 1), INGOT_BAD_ARGUMENT);
  EXPECT_EQ(ingot_restore(session, nullptr, 1), INGOT_BAD_ARGUMENT);
}

struct Answer {
  std::string text;
  int32_t stop_after = 1000;
  ingot_session *interrupt = nullptr;

  static int32_t add(void *user, int32_t, const char *bytes, size_t count) {
    auto &answer = *static_cast<Answer *>(user);
    answer.text.append(bytes, count);
    if (answer.interrupt)
      ingot_interrupt(answer.interrupt);
    return --answer.stop_after == 0;
  }
};

TEST_F(Saved, GeneratesUntilTheEnd) {
  ingot_sampling sampling = ingot_default_sampling();
  sampling.temperature = 0;
  ASSERT_EQ(ingot_set_sampling(session, &sampling), INGOT_OK);
  const int32_t u = 'u';
  ASSERT_EQ(ingot_eval(session, &u, 1), INGOT_OK);
  Answer answer;
  int32_t count = -1;
  EXPECT_EQ(ingot_generate(session, 3, Answer::add, &answer, &count), INGOT_OK);
  EXPECT_EQ(answer.text, "vwx");
  EXPECT_EQ(count, 3);
  EXPECT_EQ(ingot_generate(session, 9, Answer::add, &answer, &count), INGOT_OK);
  EXPECT_EQ(answer.text, "vwxyz"); // and the stop token is not passed on
  EXPECT_EQ(count, 2);
  EXPECT_EQ(ingot_position(session), 17);

  ingot_reset(session);
  EXPECT_EQ(ingot_generate(session, 9, Answer::add, &answer, &count), INGOT_NO_LOGITS);
  EXPECT_EQ(ingot_generate(session, 9, nullptr, &answer, &count), INGOT_BAD_ARGUMENT);
  EXPECT_EQ(ingot_generate(session, -1, Answer::add, &answer, &count), INGOT_BAD_ARGUMENT);
  const int32_t endless = 'L';
  ASSERT_EQ(ingot_eval(session, &endless, 1), INGOT_OK);
  answer = {"", 4, nullptr};
  EXPECT_EQ(ingot_generate(session, 90, Answer::add, &answer, &count), INGOT_INTERRUPTED);
  EXPECT_EQ(answer.text, "LLLL");
  answer = {"", 1000, session}; // what ingot_interrupt stops: no further token
  EXPECT_EQ(ingot_generate(session, 90, Answer::add, &answer, &count), INGOT_INTERRUPTED);
  EXPECT_EQ(answer.text, "L");
  ingot_clear_interrupt(session);
  answer = {};
  EXPECT_EQ(ingot_generate(session, 900, Answer::add, &answer, &count), INGOT_CONTEXT_FULL);
  EXPECT_EQ(ingot_position(session), context_length);
}

TEST(ModelInfo, IsTheManifests) {
  ingot_model_info info;
  ASSERT_EQ(ingot_model_info_of(&program, &info), INGOT_OK);
  EXPECT_EQ(info.vocab_size, fake::vocab_size);
  EXPECT_EQ(info.context_length, context_length);
  EXPECT_NE(info.name, nullptr);
  EXPECT_NE(info.architecture, nullptr);
  EXPECT_EQ(info.eos_token, fake::im_end);
  EXPECT_NE(info.has_chat_template, 0);
  EXPECT_EQ(info.add_bos, 0);
  EXPECT_EQ(ingot_model_info_of(nullptr, &info), INGOT_BAD_PROGRAM);
  EXPECT_EQ(ingot_model_info_of(&program, nullptr), INGOT_BAD_ARGUMENT);
  EXPECT_EQ(ingot_api_version(), INGOT_API_VERSION);
}

TEST(Wrapper, OwnsAndThrows) {
  ingot::Session session(program);
  ingot_sampling sampling = ingot_default_sampling();
  sampling.temperature = 0;
  session.set_sampling(sampling);
  const std::vector<int32_t> tokens = session.tokenize("tu");
  session.eval(tokens);
  EXPECT_EQ(session.detokenize(session.history()), "tu");
  EXPECT_EQ(session.logits().size(), static_cast<size_t>(fake::vocab_size));
  const std::vector<std::byte> bytes = session.save();
  EXPECT_EQ(session.sample(), 'v');
  std::string text;
  EXPECT_EQ(session.generate(9,
                             [&](int32_t, std::string_view piece) {
                               text += piece;
                               return text.size() < 3;
                             }),
            3);
  EXPECT_EQ(text, "vwx");
  ingot::Session other(program);
  other.restore(bytes);
  EXPECT_EQ(other.history().size(), tokens.size());
  ingot::Session moved = std::move(other);
  EXPECT_EQ(moved.tokenize(std::string(100, 'x')).size(), 100u);
  try {
    moved.truncate(99);
    FAIL();
  } catch (const ingot::Error &error) {
    EXPECT_EQ(error.status(), INGOT_BAD_ARGUMENT);
  }
  EXPECT_EQ(ingot::model_info(program).vocab_size, fake::vocab_size);
  EXPECT_THROW(ingot::Weights{program}, ingot::Error); // it has none in a file
}

TEST(ManySessions, OnAsManyThreads) {
  std::vector<std::string> answers(8);
  std::vector<std::thread> threads;
  for (std::string &answer : answers)
    threads.emplace_back([&answer] {
      ingot_session *session = opened();
      ingot_sampling sampling = ingot_default_sampling();
      sampling.temperature = 0;
      ingot_set_sampling(session, &sampling);
      const int32_t a = 'a';
      EXPECT_EQ(ingot_eval(session, &a, 1), INGOT_OK);
      Answer said;
      int32_t count;
      EXPECT_EQ(ingot_generate(session, 40, Answer::add, &said, &count), INGOT_OK);
      answer = said.text;
      ingot_session_destroy(session);
    });
  for (std::thread &thread : threads)
    thread.join();
  for (const std::string &answer : answers)
    EXPECT_EQ(answer, "bcdefghijklmnopqrstuvwxyz");
}

} // namespace
