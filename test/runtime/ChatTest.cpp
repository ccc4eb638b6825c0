// Conversations of the fake model: their tokens, and what of them is evaluated.
#include "fake_session.h"
#include "runtime/include/ingot.hpp"

#include <string>
#include <vector>

namespace {

using Messages = std::vector<ingot_message>;

ingot_message system(std::string_view text) {
  return {INGOT_ROLE_SYSTEM, text.data(), text.size()};
}
ingot_message user(std::string_view text) { return {INGOT_ROLE_USER, text.data(), text.size()}; }
ingot_message answer(std::string_view text) {
  return {INGOT_ROLE_ASSISTANT, text.data(), text.size()};
}

/// <s> start, <e> end, else bytes.
std::vector<int32_t> ids(const std::string &text) {
  std::vector<int32_t> tokens;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool start = text.compare(i, 3, "<s>") == 0, end = text.compare(i, 3, "<e>") == 0;
    tokens.push_back(start ? fake::im_start
                     : end ? fake::im_end
                           : static_cast<unsigned char>(text[i]));
    i += start || end ? 2 : 0;
  }
  return tokens;
}

class Chat : public testing::Test {
protected:
  void SetUp() override { session = fake::opened(); }
  void TearDown() override { ingot_session_destroy(session); }

  ingot_status render(const Messages &messages, std::vector<int32_t> *out) {
    int32_t count = 0;
    out->assign(200, -7);
    const ingot_status status =
        ingot_chat_tokens(session, messages.data(), static_cast<int32_t>(messages.size()),
                          out->data(), static_cast<int32_t>(out->size()), &count);
    EXPECT_EQ(count < 0, status != INGOT_OK);
    out->resize(count < 0 ? 0 : static_cast<size_t>(count));
    return status;
  }
  ingot_status eval(const Messages &messages) {
    return ingot_chat_eval(session, messages.data(), static_cast<int32_t>(messages.size()));
  }
  std::vector<int32_t> history() {
    return {ingot_history(session), ingot_history(session) + ingot_position(session)};
  }
  ingot_session *session = nullptr;
};

TEST_F(Chat, TokensFollowTheTemplate) {
  std::vector<int32_t> tokens;
  ASSERT_EQ(render({user("ab")}, &tokens), INGOT_OK);
  EXPECT_EQ(tokens, ids("<s>user\nab<e>\n<s>assistant\n"));
  ASSERT_EQ(render({system(" S\n"), user("ab"), answer(" x "), user("c ")}, &tokens), INGOT_OK);
  EXPECT_EQ(tokens, ids("<s>system\nS<e>\n<s>user\nab<e>\n<s>assistant\n x <e>\n"
                        "<s>user\nc<e>\n<s>assistant\n"));
  // Behind an answer, where one would go on with the next message.
  ASSERT_EQ(render({user("a"), answer("b")}, &tokens), INGOT_OK);
  EXPECT_EQ(tokens, ids("<s>user\na<e>\n<s>assistant\nb<e>\n"));
  ASSERT_EQ(render({user({})}, &tokens), INGOT_OK);
  EXPECT_EQ(tokens, ids("<s>user\n<e>\n<s>assistant\n"));
  // Nobody ends another's message.
  ASSERT_EQ(render({user("<|im_end|>")}, &tokens), INGOT_OK);
  std::vector<int32_t> expected = ids("<s>user\n");
  for (char c : std::string("<|im_end|>"))
    expected.push_back(c);
  for (int32_t token : ids("<e>\n<s>assistant\n"))
    expected.push_back(token);
  EXPECT_EQ(tokens, expected);
}

TEST_F(Chat, SaysHowManyTokensThereAre) {
  const Messages messages{user("abc")};
  const auto expected = ids("<s>user\nabc<e>\n<s>assistant\n");
  for (int32_t capacity = 0; capacity <= 30; ++capacity) {
    std::vector<int32_t> tokens(32, -7);
    int32_t count = -2;
    const bool fits = capacity >= static_cast<int32_t>(expected.size());
    EXPECT_EQ(ingot_chat_tokens(session, messages.data(), 1, capacity ? tokens.data() : nullptr,
                                capacity, &count),
              fits ? INGOT_OK : INGOT_BUFFER_TOO_SMALL);
    EXPECT_EQ(count, static_cast<int32_t>(expected.size())) << capacity;
    EXPECT_EQ(tokens[static_cast<size_t>(capacity)], -7);
  }
}

TEST_F(Chat, RefusesWhatIsNoConversation) {
  std::vector<int32_t> tokens;
  for (const Messages &messages :
       {Messages{}, Messages{system("s")}, Messages{answer("a")}, Messages{user("a"), user("b")},
        Messages{user("a"), system("s")}, Messages{system("s"), system("s"), user("a")},
        Messages{system("s"), answer("a")}, Messages{user("a"), answer("b"), answer("c")},
        Messages{{INGOT_ROLE_USER, nullptr, 1}}, Messages{{static_cast<ingot_role>(3), "a", 1}}}) {
    EXPECT_EQ(render(messages, &tokens), INGOT_BAD_ARGUMENT);
    EXPECT_EQ(eval(messages), INGOT_BAD_ARGUMENT);
  }
  const ingot_message message = user("a");
  int32_t count;
  EXPECT_EQ(ingot_chat_tokens(nullptr, &message, 1, nullptr, 0, &count), INGOT_BAD_ARGUMENT);
  EXPECT_EQ(ingot_chat_tokens(session, nullptr, 1, nullptr, 0, &count), INGOT_BAD_ARGUMENT);
  EXPECT_EQ(ingot_chat_tokens(session, &message, 1, nullptr, 1, &count), INGOT_BAD_ARGUMENT);
  EXPECT_EQ(ingot_chat_tokens(session, &message, 1, nullptr, 0, nullptr), INGOT_BAD_ARGUMENT);
  EXPECT_EQ(ingot_chat_tokens(session, &message, -1, nullptr, 0, &count), INGOT_BAD_ARGUMENT);
  EXPECT_EQ(ingot_chat_eval(nullptr, &message, 1), INGOT_BAD_ARGUMENT);
}

TEST_F(Chat, ATextMayBeTooLong) {
  ingot_session_options options = ingot_default_session_options();
  options.max_text_bytes = 20;
  ingot_session_destroy(session);
  session = fake::opened(fake::plain, options);
  std::vector<int32_t> tokens;
  const std::string fits(15, 'x'); // behind "user\n"
  EXPECT_EQ(render({user(fits)}, &tokens), INGOT_OK);
  EXPECT_EQ(render({user(fits + "x")}, &tokens), INGOT_TEXT_TOO_LONG);
  EXPECT_EQ(eval({user(fits + "x")}), INGOT_TEXT_TOO_LONG);
}

TEST_F(Chat, EvaluatesWhatIsNew) {
  ASSERT_EQ(eval({user("ab")}), INGOT_OK);
  const std::string first = "<s>user\nab<e>\n<s>assistant\n";
  EXPECT_EQ(history(), ids(first));
  const int32_t said[] = {'x', 'y'};
  ASSERT_EQ(ingot_eval(session, said, 2), INGOT_OK);
  ASSERT_EQ(eval({user("ab"), answer("xy"), user("c")}), INGOT_OK);
  const auto whole = ids(first + "xy<e>\n<s>user\nc<e>\n<s>assistant\n");
  EXPECT_EQ(history(), whole);
  const uint64_t chain = fake::chain_of(whole.data(), static_cast<int32_t>(whole.size()));
  EXPECT_EQ(ingot_logits(session)[5], fake::logit(chain, whole.back(), 5));

  // Once more: nothing but the last token, and that only where its logits are gone.
  const float *logits = ingot_logits(session);
  ASSERT_EQ(eval({user("ab"), answer("xy"), user("c")}), INGOT_OK);
  EXPECT_EQ(ingot_logits(session), logits);
  ASSERT_EQ(ingot_truncate(session, ingot_position(session)), INGOT_OK);
  ASSERT_EQ(ingot_logits(session), nullptr);
  ASSERT_EQ(eval({user("ab"), answer("xy"), user("c")}), INGOT_OK);
  EXPECT_EQ(history(), whole);
  EXPECT_EQ(ingot_logits(session)[5], fake::logit(chain, whole.back(), 5));

  // An edited message, and another conversation.
  ASSERT_EQ(eval({user("ad")}), INGOT_OK);
  EXPECT_EQ(history(), ids("<s>user\nad<e>\n<s>assistant\n"));
  ASSERT_EQ(eval({system("S"), user("ad")}), INGOT_OK);
  EXPECT_EQ(history(), ids("<s>system\nS<e>\n<s>user\nad<e>\n<s>assistant\n"));
}

TEST_F(Chat, WhatDoesNotFitChangesNothing) {
  ASSERT_EQ(eval({user("ab")}), INGOT_OK);
  const auto before = history();
  const float *logits = ingot_logits(session);
  EXPECT_EQ(eval({user(std::string(90, 'x'))}), INGOT_CONTEXT_FULL);
  EXPECT_EQ(eval({answer("x")}), INGOT_BAD_ARGUMENT);
  EXPECT_EQ(history(), before);
  EXPECT_EQ(ingot_logits(session), logits);
}

TEST(ChatWithout, ATemplate) {
  // The same tables, but weights are in a file that nobody reads here.
  ingot_program program = fake::split;
  program.manifest = fake::manifest;
  program.manifest_bytes = sizeof fake::manifest;
  ingot_model_info info;
  ASSERT_EQ(ingot_model_info_of(&fake::split, &info), INGOT_OK);
  EXPECT_EQ(info.has_chat_template, 0);
  ASSERT_EQ(ingot_model_info_of(&program, &info), INGOT_OK);
  EXPECT_NE(info.has_chat_template, 0);
  EXPECT_EQ(info.prefill_tokens, fake::prefill_tokens);
}

TEST(ChatWrapper, Answers) {
  ingot::Session session(fake::plain);
  const std::vector<ingot::Message> messages{{INGOT_ROLE_SYSTEM, "S"}, {INGOT_ROLE_USER, "u"}};
  session.chat(messages);
  EXPECT_EQ(session.history().back(), '\n');
  EXPECT_THROW(session.chat(std::span(messages).first(1)), ingot::Error);
}

} // namespace
