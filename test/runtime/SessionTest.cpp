// Sessions over a fake program whose steps record their calls: how tokens are split into steps,
// that no split changes the logits, and what every error leaves behind.
#include "runtime/core/session.h"
#include "fake.h"
#include "runtime/include/ingot.h"
#include "runtime/main/conversation.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

namespace {

alignas(8) const uint8_t manifest[] = {
#include "fake_manifest.inc"
};

constexpr int32_t context_length = 50;

struct Call {
  char step; // 'd'ecode, 'p'refill, 's'core, 'b'atch
  int32_t position, count;
  bool operator==(const Call &) const = default;
};
std::vector<Call> calls;
ingot_session *interrupt_after_step = nullptr;

template <char name, bool every_row>
void recorded(const ingot_step_context *context, int32_t thread, int32_t threads) {
  if (thread == 0)
    calls.push_back({name, context->position, context->token_count});
  fake::step(context, thread, threads, every_row);
  if (thread == 0 && interrupt_after_step)
    ingot_interrupt(interrupt_after_step);
}

void recorded_batch(const ingot_step_context *context, int32_t thread, int32_t threads) {
  if (thread == 0)
    calls.push_back({'b', context->positions[0], context->token_count});
  fake::batch_step(context, thread, threads);
  if (thread == 0 && interrupt_after_step)
    ingot_interrupt(interrupt_after_step);
}

constexpr ingot_variant steps = {recorded<'d', false>,
                                 recorded<'p', false>,
                                 recorded<'s', true>,
                                 {recorded_batch, recorded_batch}};
const ingot_variant variants[fake::variant_count] = {steps, steps, steps};
const ingot_program program = fake::program(variants, manifest, sizeof manifest, context_length);

class Session : public testing::TestWithParam<int32_t> {
protected:
  void SetUp() override {
    ingot_session_options options = ingot_default_session_options();
    options.threads = GetParam();
    ASSERT_EQ(ingot_session_create(&program, &options, &session), INGOT_OK);
    calls.clear();
    interrupt_after_step = nullptr;
  }
  void TearDown() override {
    interrupt_after_step = nullptr;
    ingot_session_destroy(session);
  }
  std::vector<int32_t> sequence(int32_t count) {
    std::vector<int32_t> tokens;
    tokens.reserve(static_cast<size_t>(count));
    for (int32_t i = 0; i < count; ++i)
      tokens.push_back((i * 37 + 11) % fake::vocab_size);
    return tokens;
  }
  /// ingot_logits is what the fake model says after `tokens`.
  void expect_logits(const std::vector<int32_t> &tokens) {
    const uint64_t chain = fake::chain_of(tokens.data(), static_cast<int32_t>(tokens.size()));
    ASSERT_NE(ingot_logits(session), nullptr);
    for (int32_t j = 0; j < fake::vocab_size; ++j)
      ASSERT_EQ(ingot_logits(session)[j], fake::logit(chain, tokens.back(), j)) << j;
  }
  ingot_session *session = nullptr;
};

TEST_P(Session, PrefillIsSplitAndOneTokenDecodes) {
  const auto tokens = sequence(21);
  ASSERT_EQ(ingot_eval(session, tokens.data(), 17), INGOT_OK);
  ASSERT_EQ(ingot_eval(session, tokens.data() + 17, 1), INGOT_OK);
  ASSERT_EQ(ingot_eval(session, tokens.data() + 18, 3), INGOT_OK);
  EXPECT_EQ(calls, (std::vector<Call>{
                       {'p', 0, 8}, {'p', 8, 8}, {'d', 16, 1}, {'d', 17, 1}, {'p', 18, 3}}));
  EXPECT_EQ(ingot_position(session), 21);
  EXPECT_EQ(std::vector<int32_t>(ingot_history(session), ingot_history(session) + 21), tokens);
  expect_logits(tokens);
}

TEST_P(Session, EverySplitGivesTheSameLogits) {
  const auto tokens = sequence(20);
  for (int32_t first = 0; first <= 20; ++first) {
    ingot_reset(session);
    ASSERT_EQ(ingot_eval(session, tokens.data(), first), INGOT_OK);
    ASSERT_EQ(ingot_eval(session, tokens.data() + first, 20 - first), INGOT_OK);
    expect_logits(tokens);
  }
}

struct Rows {
  std::vector<int32_t> firsts, counts;
  std::vector<float> logits;
  int32_t stop_after = 1000;
};

int32_t collect(void *user, int32_t first, int32_t rows, const float *logits, int32_t stride) {
  auto &all = *static_cast<Rows *>(user);
  all.firsts.push_back(first);
  all.counts.push_back(rows);
  for (int32_t i = 0; i < rows; ++i)
    all.logits.insert(all.logits.end(), logits + i * stride,
                      logits + i * stride + fake::vocab_size);
  return static_cast<int32_t>(all.firsts.size()) >= all.stop_after;
}

TEST_P(Session, EvalAllGivesEveryTokensLogits) {
  const auto tokens = sequence(10);
  Rows rows;
  ASSERT_EQ(ingot_eval_all(session, tokens.data(), 10, collect, &rows), INGOT_OK);
  EXPECT_EQ(rows.firsts, (std::vector<int32_t>{0, 4, 8}));
  EXPECT_EQ(rows.counts, (std::vector<int32_t>{4, 4, 2}));
  for (int32_t i = 0; i < 10; ++i) {
    const uint64_t chain = fake::chain_of(tokens.data(), i + 1);
    for (int32_t j = 0; j < fake::vocab_size; ++j)
      ASSERT_EQ(rows.logits[static_cast<size_t>(i * fake::vocab_size + j)],
                fake::logit(chain, tokens[static_cast<size_t>(i)], j));
  }
  expect_logits(tokens); // the last token's stay
  ingot_reset(session);
  rows.stop_after = static_cast<int32_t>(rows.firsts.size()) + 2;
  EXPECT_EQ(ingot_eval_all(session, tokens.data(), 10, collect, &rows), INGOT_INTERRUPTED);
  EXPECT_EQ(ingot_position(session), 8);
}

TEST_P(Session, PastTheContextNothingHappens) {
  const auto tokens = sequence(context_length + 1);
  Rows rows;
  EXPECT_EQ(ingot_eval(session, tokens.data(), context_length + 1), INGOT_CONTEXT_FULL);
  EXPECT_EQ(ingot_eval_all(session, tokens.data(), context_length + 1, collect, &rows),
            INGOT_CONTEXT_FULL);
  EXPECT_TRUE(calls.empty());
  EXPECT_EQ(ingot_position(session), 0);
  ASSERT_EQ(ingot_eval(session, tokens.data(), context_length), INGOT_OK);
  EXPECT_EQ(ingot_eval(session, tokens.data(), 1), INGOT_CONTEXT_FULL);
  EXPECT_EQ(ingot_position(session), context_length);
  expect_logits({tokens.begin(), tokens.end() - 1}); // still there
  EXPECT_EQ(ingot_eval(session, nullptr, 0), INGOT_OK);
}

TEST_P(Session, BadTokensAreFoundBeforeAnyStep) {
  for (int32_t bad : {-1, fake::vocab_size, INT32_MAX, INT32_MIN}) {
    auto tokens = sequence(12);
    tokens[11] = bad;
    EXPECT_EQ(ingot_eval(session, tokens.data(), 12), INGOT_BAD_TOKEN) << bad;
  }
  EXPECT_TRUE(calls.empty());
  EXPECT_EQ(ingot_eval(session, nullptr, 3), INGOT_BAD_ARGUMENT);
  EXPECT_EQ(ingot_eval(session, nullptr, -3), INGOT_BAD_ARGUMENT);
  EXPECT_EQ(ingot_eval(nullptr, nullptr, 0), INGOT_BAD_ARGUMENT);
}

TEST_P(Session, TruncateGoesBack) {
  const auto tokens = sequence(12);
  ASSERT_EQ(ingot_eval(session, tokens.data(), 12), INGOT_OK);
  EXPECT_EQ(ingot_truncate(session, 13), INGOT_BAD_ARGUMENT);
  EXPECT_EQ(ingot_truncate(session, -1), INGOT_BAD_ARGUMENT);
  ASSERT_EQ(ingot_truncate(session, 5), INGOT_OK);
  EXPECT_EQ(ingot_logits(session), nullptr);
  int32_t token;
  EXPECT_EQ(ingot_sample(session, &token), INGOT_NO_LOGITS);
  ASSERT_EQ(ingot_eval(session, tokens.data() + 8, 2), INGOT_OK);
  std::vector<int32_t> expected(tokens.begin(), tokens.begin() + 5);
  expected.insert(expected.end(), {tokens[8], tokens[9]});
  expect_logits(expected);
}

TEST_P(Session, InterruptKeepsWholeSteps) {
  const auto tokens = sequence(30);
  interrupt_after_step = session;
  EXPECT_EQ(ingot_eval(session, tokens.data(), 30), INGOT_INTERRUPTED);
  EXPECT_EQ(ingot_position(session), fake::prefill_tokens);
  expect_logits({tokens.begin(), tokens.begin() + fake::prefill_tokens});
  interrupt_after_step = nullptr;
  EXPECT_EQ(ingot_eval(session, tokens.data(), 1), INGOT_INTERRUPTED); // until it is cleared
  ingot_clear_interrupt(session);
  EXPECT_EQ(ingot_eval(session, tokens.data() + fake::prefill_tokens, 22), INGOT_OK);
  expect_logits(tokens);
}

TEST_P(Session, SamplesWithTheHistory) {
  ingot_sampling sampling = ingot_default_sampling();
  sampling.temperature = 0;
  ASSERT_EQ(ingot_set_sampling(session, &sampling), INGOT_OK);
  const int32_t prompt[] = {'b', 'a'};
  int32_t token;
  ASSERT_EQ(ingot_eval(session, prompt, 2), INGOT_OK);
  ASSERT_EQ(ingot_sample(session, &token), INGOT_OK);
  EXPECT_EQ(token, 'b');
  sampling.repeat_penalty = 100; // 'b' is in the prompt
  ASSERT_EQ(ingot_set_sampling(session, &sampling), INGOT_OK);
  ASSERT_EQ(ingot_sample(session, &token), INGOT_OK);
  EXPECT_NE(token, 'b');
}

TEST_P(Session, TextAndBack) {
  int32_t tokens[64], count;
  ASSERT_EQ(ingot_tokenize(session, "Hi \xc3\xa9!", 6, 0, tokens, 64, &count), INGOT_OK);
  char text[64];
  size_t bytes;
  ASSERT_EQ(ingot_detokenize(session, tokens, count, text, sizeof text, &bytes), INGOT_OK);
  EXPECT_EQ(std::string(text, bytes), "Hi \xc3\xa9!");
  EXPECT_EQ(ingot_detokenize(session, tokens, count, text, 2, &bytes), INGOT_BUFFER_TOO_SMALL);
  EXPECT_EQ(bytes, 6u);
  EXPECT_EQ(ingot_detokenize(session, nullptr, 0, nullptr, 0, &bytes), INGOT_OK);
  EXPECT_EQ(ingot_tokenize(session, "Hi \xc3\xa9!", 6, 0, tokens, 2, &count),
            INGOT_BUFFER_TOO_SMALL);
  EXPECT_EQ(ingot_tokenize(session, "x", (1u << 20) + 1, 0, tokens, 64, &count),
            INGOT_TEXT_TOO_LONG);
  const char *piece;
  EXPECT_EQ(ingot_token_bytes(session, fake::im_end, &piece), 10);
  EXPECT_EQ(std::string(piece, 10), "<|im_end|>");
  EXPECT_EQ(ingot_token_bytes(session, fake::vocab_size, &piece), -1);
  EXPECT_TRUE(ingot_is_stop_token(session, fake::im_end));
  EXPECT_FALSE(ingot_is_stop_token(session, 'a'));
}

// --- Several sequences -----------------------------------------------------------------------

class Sequences : public testing::TestWithParam<int32_t> {
protected:
  static constexpr int32_t count = 7;
  void SetUp() override {
    ingot_session_options options = ingot_default_session_options();
    options.threads = GetParam();
    options.sequences = count;
    ASSERT_EQ(ingot_session_create(&program, &options, &session), INGOT_OK);
    calls.clear();
    interrupt_after_step = nullptr;
  }
  void TearDown() override {
    interrupt_after_step = nullptr;
    ingot_session_destroy(session);
  }
  /// One token each, remembered in `texts`.
  ingot_status batch(const std::vector<int32_t> &sequences, const std::vector<int32_t> &tokens) {
    const ingot_status status = ingot_eval_batch(session, sequences.data(), tokens.data(),
                                                 static_cast<int32_t>(sequences.size()));
    for (size_t i = 0; i < sequences.size() && !status; ++i)
      texts[sequences[i]].push_back(tokens[i]);
    return status;
  }
  ingot_status eval(int32_t sequence, const std::vector<int32_t> &tokens) {
    EXPECT_EQ(ingot_select(session, sequence), INGOT_OK);
    const ingot_status status =
        ingot_eval(session, tokens.data(), static_cast<int32_t>(tokens.size()));
    if (!status)
      texts[sequence].insert(texts[sequence].end(), tokens.begin(), tokens.end());
    return status;
  }
  void expect_row(const float *row, const std::vector<int32_t> &text) {
    ASSERT_NE(row, nullptr);
    const uint64_t chain = fake::chain_of(text.data(), static_cast<int32_t>(text.size()));
    for (int32_t j = 0; j < fake::vocab_size; ++j)
      ASSERT_EQ(row[j], fake::logit(chain, text.back(), j)) << j;
  }
  /// Position, history and logits of a sequence are those of its text.
  void expect_sequence(int32_t sequence) {
    ASSERT_EQ(ingot_select(session, sequence), INGOT_OK);
    EXPECT_EQ(history(session), texts[sequence]);
    expect_row(ingot_logits(session), texts[sequence]);
  }
  static std::vector<int32_t> history(const ingot_session *session) {
    return {ingot_history(session), ingot_history(session) + ingot_position(session)};
  }
  ingot_session *session = nullptr;
  std::vector<int32_t> texts[count];
};

TEST_P(Sequences, EachHasItsOwnText) {
  EXPECT_EQ(ingot_sequences(session), count);
  EXPECT_EQ(ingot_selected(session), 0);
  ASSERT_EQ(eval(2, {1, 2, 3}), INGOT_OK);
  ASSERT_EQ(eval(5, {4}), INGOT_OK);
  // Prompts one after another, then all of their logits.
  expect_sequence(2);
  expect_sequence(5);
  ASSERT_EQ(ingot_select(session, 0), INGOT_OK);
  EXPECT_EQ(ingot_logits(session), nullptr);
  EXPECT_EQ(ingot_position(session), 0);
  ASSERT_EQ(batch({5, 0, 2}, {7, 8, 9}), INGOT_OK);
  EXPECT_EQ(ingot_selected(session), 0);
  for (int32_t sequence : {5, 0, 2})
    expect_sequence(sequence);
  expect_row(ingot_batch_logits(session, 0), texts[5]);
  expect_row(ingot_batch_logits(session, 2), texts[2]);
  EXPECT_EQ(ingot_batch_logits(session, 3), nullptr);
  EXPECT_EQ(ingot_batch_logits(session, -1), nullptr);
}

TEST_P(Sequences, TheFewestStepsThatTakeAll) {
  const std::vector<int32_t> all{6, 1, 4, 0, 3, 2, 5}, tokens{9, 8, 7, 6, 5, 4, 3};
  const std::vector<std::vector<int32_t>> expected = {{},  {1},    {2},    {3},
                                                      {4}, {4, 1}, {4, 2}, {4, 3}};
  for (size_t n = 0; n <= all.size(); ++n) {
    calls.clear();
    ASSERT_EQ(batch({all.begin(), all.begin() + static_cast<int64_t>(n)},
                    {tokens.begin(), tokens.begin() + static_cast<int64_t>(n)}),
              INGOT_OK);
    std::vector<int32_t> counts;
    for (const Call &call : calls) {
      counts.push_back(call.count);
      EXPECT_EQ(call.step, call.count == 1 ? 'd' : 'b');
    }
    EXPECT_EQ(counts, expected[n]);
    for (size_t i = 0; i < n; ++i) {
      expect_row(ingot_batch_logits(session, static_cast<int32_t>(i)), texts[all[i]]);
      expect_sequence(all[i]);
    }
  }
}

TEST_P(Sequences, WhatIsWrongIsFoundBeforeAnyStep) {
  ASSERT_EQ(eval(3, std::vector<int32_t>(context_length, 1)), INGOT_OK);
  calls.clear();
  EXPECT_EQ(batch({0, 1, 2, 4, 5, 3}, {1, 1, 1, 1, 1, 1}), INGOT_CONTEXT_FULL);
  EXPECT_EQ(batch({0, 1, 0}, {1, 1, 1}), INGOT_BAD_ARGUMENT);
  EXPECT_EQ(batch({0, count}, {1, 1}), INGOT_BAD_ARGUMENT);
  EXPECT_EQ(batch({-1}, {1}), INGOT_BAD_ARGUMENT);
  EXPECT_EQ(batch({0, 1}, {1, fake::vocab_size}), INGOT_BAD_TOKEN);
  EXPECT_EQ(batch({0, 1}, {1, -1}), INGOT_BAD_TOKEN);
  const int32_t one = 1;
  EXPECT_EQ(ingot_eval_batch(nullptr, &one, &one, 1), INGOT_BAD_ARGUMENT);
  EXPECT_EQ(ingot_eval_batch(session, nullptr, &one, 1), INGOT_BAD_ARGUMENT);
  EXPECT_EQ(ingot_eval_batch(session, &one, nullptr, 1), INGOT_BAD_ARGUMENT);
  EXPECT_EQ(ingot_eval_batch(session, &one, &one, -1), INGOT_BAD_ARGUMENT);
  EXPECT_EQ(ingot_eval_batch(session, &one, &one, count + 1), INGOT_BAD_ARGUMENT);
  EXPECT_EQ(ingot_eval_batch(session, nullptr, nullptr, 0), INGOT_OK);
  for (int32_t bad : {-1, count}) {
    EXPECT_EQ(ingot_select(session, bad), INGOT_BAD_ARGUMENT);
    EXPECT_EQ(ingot_fork(session, 0, bad), INGOT_BAD_ARGUMENT);
    EXPECT_EQ(ingot_fork(session, bad, 0), INGOT_BAD_ARGUMENT);
  }
  EXPECT_EQ(ingot_select(nullptr, 0), INGOT_BAD_ARGUMENT);
  EXPECT_EQ(ingot_fork(nullptr, 0, 1), INGOT_BAD_ARGUMENT);
  EXPECT_TRUE(calls.empty());
  expect_sequence(3);
}

TEST_P(Sequences, ALaterBatchTakesTheRowsOfAnEarlierOne) {
  ASSERT_EQ(batch({0, 1}, {1, 2}), INGOT_OK);
  ASSERT_EQ(eval(2, {3}), INGOT_OK);
  expect_sequence(0);
  ASSERT_EQ(batch({1, 3}, {4, 5}), INGOT_OK);
  ASSERT_EQ(ingot_select(session, 0), INGOT_OK);
  EXPECT_EQ(ingot_logits(session), nullptr); // rather than another sequence's
  for (int32_t sequence : {1, 2, 3})
    expect_sequence(sequence);
}

TEST_P(Sequences, AForkIsACopyThatGoesItsOwnWay) {
  for (int32_t length : {1, 3, 4, 9}) {
    ASSERT_EQ(ingot_select(session, 0), INGOT_OK);
    ingot_reset(session);
    texts[0].clear();
    std::vector<int32_t> text;
    for (int32_t i = 0; i < length; ++i)
      text.push_back(20 + i);
    ASSERT_EQ(eval(0, text), INGOT_OK);
    ASSERT_EQ(ingot_fork(session, 0, 6), INGOT_OK);
    texts[6] = texts[0];
    expect_sequence(6);
    ASSERT_EQ(batch({6, 0}, {1, 2}), INGOT_OK);
    expect_sequence(0);
    expect_sequence(6);
    ASSERT_EQ(ingot_fork(session, 6, 6), INGOT_OK);
    expect_sequence(6);
  }
  ASSERT_EQ(ingot_fork(session, 1, 6), INGOT_OK); // nothing, over something
  ASSERT_EQ(ingot_select(session, 6), INGOT_OK);
  EXPECT_EQ(ingot_position(session), 0);
  EXPECT_EQ(ingot_logits(session), nullptr);
}

TEST_P(Sequences, AnInterruptKeepsWholeSteps) {
  interrupt_after_step = session;
  const std::vector<int32_t> all{0, 1, 2, 3, 4, 5}, tokens{1, 2, 3, 4, 5, 6};
  EXPECT_EQ(batch(all, tokens), INGOT_INTERRUPTED);
  interrupt_after_step = nullptr;
  ingot_clear_interrupt(session);
  for (int32_t i = 0; i < 4; ++i) {
    texts[i] = {tokens[static_cast<size_t>(i)]};
    expect_row(ingot_batch_logits(session, i), texts[i]);
    expect_sequence(i);
  }
  EXPECT_EQ(ingot_batch_logits(session, 4), nullptr);
  ASSERT_EQ(ingot_select(session, 5), INGOT_OK);
  EXPECT_EQ(ingot_position(session), 0);
}

TEST_P(Sequences, WhatASequenceSamplesDoesNotDependOnTheOthers) {
  ingot_sampling sampling = ingot_default_sampling();
  sampling.temperature = 5;
  sampling.top_k = 0;
  sampling.seed = 3;
  const auto sample = [&](int32_t sequence) {
    int32_t token = -1;
    EXPECT_EQ(ingot_select(session, sequence), INGOT_OK);
    EXPECT_EQ(ingot_sample(session, &token), INGOT_OK);
    return token;
  };
  ASSERT_EQ(ingot_set_sampling(session, &sampling), INGOT_OK);
  ASSERT_EQ(eval(1, {1, 2}), INGOT_OK);
  ASSERT_EQ(ingot_fork(session, 1, 2), INGOT_OK);
  std::vector<int32_t> alone, beside, other;
  for (int32_t i = 0; i < 8; ++i)
    alone.push_back(sample(1));
  ASSERT_EQ(ingot_set_sampling(session, &sampling), INGOT_OK);
  for (int32_t i = 0; i < 8; ++i) {
    other.push_back(sample(2));
    beside.push_back(sample(1));
  }
  EXPECT_EQ(alone, beside);
  EXPECT_NE(alone, other); // the same text, other numbers
}

TEST(SequencesCreate, AsManyAsAskedFor) {
  ingot_session_options options = ingot_default_session_options();
  EXPECT_EQ(options.sequences, 1);
  ingot_session *session = nullptr;
  for (int32_t bad : {0, -1, INGOT_MAX_SEQUENCES + 1}) {
    options.sequences = bad;
    EXPECT_EQ(ingot_session_create(&program, &options, &session), INGOT_BAD_ARGUMENT);
  }
  options.sequences = INGOT_MAX_SEQUENCES;
  ASSERT_EQ(ingot_session_create(&program, &options, &session), INGOT_OK);
  std::vector<int32_t> all, tokens;
  for (int32_t i = 0; i < INGOT_MAX_SEQUENCES; ++i) {
    all.push_back(i);
    tokens.push_back(i);
  }
  ASSERT_EQ(ingot_eval_batch(session, all.data(), tokens.data(), INGOT_MAX_SEQUENCES), INGOT_OK);
  for (int32_t i = 0; i < INGOT_MAX_SEQUENCES; ++i)
    EXPECT_EQ(ingot_batch_logits(session, i)[0],
              fake::logit(fake::chain_of(&tokens[static_cast<size_t>(i)], 1), i, 0));
  ingot_session_destroy(session);
}

INSTANTIATE_TEST_SUITE_P(Threads, Sequences, testing::Values(1, 2, 5));

// --- Conversations ---------------------------------------------------------------------------

std::vector<int32_t> ids(const std::string &text) { // <s> start, <e> end
  std::vector<int32_t> tokens;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text.compare(i, 3, "<s>") == 0 || text.compare(i, 3, "<e>") == 0) {
      tokens.push_back(text[i + 1] == 's' ? fake::im_start : fake::im_end);
      i += 2;
    } else {
      tokens.push_back(static_cast<unsigned char>(text[i]));
    }
  }
  return tokens;
}

struct Turn {
  int32_t tokens[context_length];
  char plain[4096];
  ingot::runtime::Prompt prompt;
  Turn(ingot_session *session) : prompt{session, tokens, context_length, 0, plain, sizeof plain} {}
};

std::vector<int32_t> history(const ingot_session *session) {
  return {ingot_history(session), ingot_history(session) + ingot_position(session)};
}

TEST_P(Session, ConversationFollowsTheTemplate) {
  ingot::runtime::Conversation conversation{session};
  Turn first(session);
  ASSERT_EQ(conversation.ask(&first.prompt, "ab", 2), INGOT_OK);
  const std::string text = "<s>user\nab<e>\n<s>assistant\n";
  EXPECT_EQ(history(session), ids(text));
  const int32_t answer[] = {'x', 'y'};
  ASSERT_EQ(ingot_eval(session, answer, 2), INGOT_OK);
  calls.clear();
  Turn second(session);
  EXPECT_EQ(conversation.ask(&second.prompt, "cdefghi", 7), INGOT_CONTEXT_FULL); // 23 + 28 > 50
  EXPECT_EQ(history(session), ids(text + "xy"));
  EXPECT_TRUE(calls.empty());
  EXPECT_EQ(second.prompt.needed, 28);
  Turn fitting(session);
  ASSERT_EQ(conversation.ask(&fitting.prompt, "cdefgh", 6), INGOT_OK); // just
  EXPECT_EQ(history(session), ids(text + "xy<e>\n<s>user\ncdefgh<e>\n<s>assistant\n"));
  conversation.reset();
  Turn third(session);
  ASSERT_EQ(conversation.ask(&third.prompt, "d", 1), INGOT_OK);
  EXPECT_EQ(history(session), ids("<s>user\nd<e>\n<s>assistant\n"));
}

TEST_P(Session, MessagesAreTrimmedWhereTheTemplateSaysSo) {
  ingot::runtime::Conversation conversation{session, "\tS "};
  Turn turn(session);
  ASSERT_EQ(conversation.ask(&turn.prompt, " \n a b\n", 7), INGOT_OK);
  EXPECT_EQ(history(session), ids("<s>system\nS<e>\n<s>user\na b<e>\n<s>assistant\n"));
  conversation.reset();
  Turn empty(session);
  conversation.system = nullptr;
  ASSERT_EQ(conversation.ask(&empty.prompt, " \n ", 3), INGOT_OK);
  EXPECT_EQ(history(session), ids("<s>user\n<e>\n<s>assistant\n"));
}

TEST_P(Session, AUsersSpecialTokensArePlainText) {
  ingot::runtime::Conversation conversation{session};
  Turn turn(session);
  ASSERT_EQ(conversation.ask(&turn.prompt, "<|im_end|>", 10), INGOT_OK);
  std::vector<int32_t> expected = ids("<s>user\n");
  for (char c : std::string("<|im_end|>"))
    expected.push_back(c);
  for (int32_t token : ids("<e>\n<s>assistant\n"))
    expected.push_back(token);
  EXPECT_EQ(history(session), expected);
}

TEST_P(Session, AnInterruptedPromptLeavesTheConversationAsItWas) {
  ingot::runtime::Conversation conversation{session};
  interrupt_after_step = session;
  Turn turn(session);
  EXPECT_EQ(conversation.ask(&turn.prompt, "abcdefgh", 8), INGOT_INTERRUPTED);
  EXPECT_EQ(ingot_position(session), 0);
  EXPECT_FALSE(conversation.started);
}

INSTANTIATE_TEST_SUITE_P(Threads, Session, testing::Values(1, 2, 5));

// --- Programs that do not fit -----------------------------------------------------------------

template <typename Change> ingot_status create(Change change, int32_t threads = 1) {
  ingot_program changed = program;
  change(changed);
  ingot_session_options options = ingot_default_session_options();
  options.threads = threads;
  ingot_session *session = nullptr;
  const ingot_status status = ingot_session_create(&changed, &options, &session);
  EXPECT_EQ(session == nullptr, status != INGOT_OK);
  ingot_session_destroy(session);
  return status;
}

TEST(Create, RefusesWhatDoesNotFit) {
  EXPECT_EQ(create([](ingot_program &) {}), INGOT_OK);
  EXPECT_EQ(create([](ingot_program &p) { p.abi = 99; }), INGOT_BAD_PROGRAM);
  EXPECT_EQ(create([](ingot_program &p) { p.manifest = nullptr; }), INGOT_BAD_PROGRAM);
  EXPECT_EQ(create([](ingot_program &p) { p.manifest_bytes = 4; }), INGOT_BAD_PROGRAM);
  EXPECT_EQ(create([](ingot_program &p) { p.prefill_tokens = 0; }), INGOT_BAD_PROGRAM);
  EXPECT_EQ(create([](ingot_program &p) { p.vocab_size = 300; }), INGOT_BAD_PROGRAM);
  EXPECT_EQ(create([](ingot_program &p) { p.logits_stride = 10; }), INGOT_BAD_PROGRAM);
  EXPECT_EQ(create([](ingot_program &p) { p.context_length = -1; }), INGOT_BAD_PROGRAM);
  EXPECT_EQ(create([](ingot_program &p) { p.batch_steps = 5; }), INGOT_BAD_PROGRAM);
  EXPECT_EQ(create([](ingot_program &p) { p.batch_steps = -1; }), INGOT_BAD_PROGRAM);
  EXPECT_EQ(create([](ingot_program &p) { p.batch_tokens[0] = 1; }), INGOT_BAD_PROGRAM);
  EXPECT_EQ(create([](ingot_program &p) { p.batch_tokens[1] = 2; }), INGOT_BAD_PROGRAM);
  EXPECT_EQ(create([](ingot_program &p) { p.batch_tokens[1] = 65; }), INGOT_BAD_PROGRAM);
  EXPECT_EQ(create([](ingot_program &p) { p.cache_bytes = uint64_t{1} << 47; }), INGOT_BAD_PROGRAM);
  EXPECT_EQ(create([](ingot_program &) {}, -1), INGOT_BAD_ARGUMENT);
  EXPECT_EQ(create([](ingot_program &) {}, INGOT_MAX_THREADS + 1), INGOT_BAD_ARGUMENT);
  // More than the address space holds.
  EXPECT_EQ(create([](ingot_program &p) { p.arena_bytes = uint64_t{1} << 47; }), INGOT_BAD_PROGRAM);
}

TEST(Create, DefaultThreadsAreTheCores) {
  ingot_session_options options = ingot_default_session_options();
  ingot_session *session = nullptr;
  ASSERT_EQ(ingot_session_create(&program, &options, &session), INGOT_OK);
  EXPECT_EQ(ingot_threads(session), ingot::platform::core_count());
  EXPECT_GE(ingot_threads(session), 1);
  ingot_session_destroy(session);
  ingot_session_destroy(nullptr);
}

} // namespace
