// Embeddings of the fake model: which rows they are, in any split into steps.
#include "fake_session.h"
#include "runtime/include/ingot.hpp"

#include <cmath>
#include <vector>

namespace {

using Floats = std::vector<float>;

class Embed : public testing::Test {
protected:
  void SetUp() override {
    session = fake::opened();
    for (int32_t i = 0; i < 21; ++i) // three steps
      tokens.push_back((i * 37 + 11) % fake::vocab_size);
  }
  void TearDown() override { ingot_session_destroy(session); }

  float hidden(int32_t token, int32_t column) {
    return fake::hidden(fake::chain_of(tokens.data(), token + 1), column);
  }
  ingot_status embed(ingot_pooling pooling, Floats *out) {
    return ingot_embed(session, tokens.data(), static_cast<int32_t>(tokens.size()), pooling,
                       out->data(), out->size());
  }
  ingot_session *session = nullptr;
  std::vector<int32_t> tokens;
};

constexpr size_t width = fake::embedding_length;

TEST_F(Embed, TheLastTokens) {
  Floats out(width);
  ASSERT_EQ(embed(INGOT_POOLING_LAST, &out), INGOT_OK);
  for (size_t j = 0; j < width; ++j)
    EXPECT_EQ(out[j], hidden(20, static_cast<int32_t>(j)));
  EXPECT_EQ(ingot_position(session), 21);
  EXPECT_EQ(ingot_history(session)[20], tokens[20]);
  EXPECT_EQ(ingot_logits(session), nullptr);
  // One may go on from there.
  const int32_t token = 'a';
  ASSERT_EQ(ingot_eval(session, &token, 1), INGOT_OK);
  tokens.push_back(token);
  EXPECT_EQ(ingot_logits(session)[3], fake::logit(fake::chain_of(tokens.data(), 22), token, 3));
}

TEST_F(Embed, EachTokens) {
  Floats out(21 * width);
  ASSERT_EQ(embed(INGOT_POOLING_NONE, &out), INGOT_OK);
  for (int32_t i = 0; i < 21; ++i)
    for (size_t j = 0; j < width; ++j)
      ASSERT_EQ(out[static_cast<size_t>(i) * width + j], hidden(i, static_cast<int32_t>(j))) << i;
}

TEST_F(Embed, TheirMean) {
  Floats out(width);
  ASSERT_EQ(embed(INGOT_POOLING_MEAN, &out), INGOT_OK);
  for (size_t j = 0; j < width; ++j) {
    double sum = 0;
    for (int32_t i = 0; i < 21; ++i)
      sum += hidden(i, static_cast<int32_t>(j));
    EXPECT_NEAR(out[j], sum / 21, 1e-6);
  }
}

TEST_F(Embed, RefusesBeforeItEvaluates) {
  Floats out(width);
  EXPECT_EQ(ingot_embed(nullptr, tokens.data(), 1, INGOT_POOLING_LAST, out.data(), width),
            INGOT_BAD_ARGUMENT);
  EXPECT_EQ(ingot_embed(session, tokens.data(), 0, INGOT_POOLING_LAST, out.data(), width),
            INGOT_BAD_ARGUMENT);
  EXPECT_EQ(ingot_embed(session, nullptr, 1, INGOT_POOLING_LAST, out.data(), width),
            INGOT_BAD_ARGUMENT);
  EXPECT_EQ(ingot_embed(session, tokens.data(), 1, INGOT_POOLING_LAST, nullptr, width),
            INGOT_BAD_ARGUMENT);
  EXPECT_EQ(
      ingot_embed(session, tokens.data(), 1, static_cast<ingot_pooling>(3), out.data(), width),
      INGOT_BAD_ARGUMENT);
  EXPECT_EQ(ingot_embed(session, tokens.data(), 1, INGOT_POOLING_LAST, out.data(), width - 1),
            INGOT_BUFFER_TOO_SMALL);
  EXPECT_EQ(ingot_embed(session, tokens.data(), 2, INGOT_POOLING_NONE, out.data(), width),
            INGOT_BUFFER_TOO_SMALL);
  EXPECT_EQ(ingot_embed(session, tokens.data(), 97, INGOT_POOLING_LAST, out.data(), width),
            INGOT_CONTEXT_FULL);
  tokens[3] = fake::vocab_size;
  EXPECT_EQ(embed(INGOT_POOLING_LAST, &out), INGOT_BAD_TOKEN);
  EXPECT_EQ(ingot_position(session), 0);
  ingot_interrupt(session);
  EXPECT_EQ(ingot_embed(session, tokens.data(), 1, INGOT_POOLING_LAST, out.data(), width),
            INGOT_INTERRUPTED);
}

TEST_F(Embed, NeedsAStepForIt) {
  ingot_variant without[fake::variant_count];
  for (ingot_variant &variant : without)
    (variant = fake::steps).embed = nullptr;
  ingot_program program = fake::plain;
  program.variants = without;
  ingot_session *other = fake::opened(program);
  Floats out(width);
  EXPECT_EQ(ingot_embed(other, tokens.data(), 1, INGOT_POOLING_LAST, out.data(), width),
            INGOT_NO_EMBEDDINGS);
  ingot_session_destroy(other);
  ingot_model_info info;
  ASSERT_EQ(ingot_model_info_of(&fake::plain, &info), INGOT_OK);
  EXPECT_EQ(info.has_embeddings, 1);
  ASSERT_EQ(ingot_model_info_of(&fake::split, &info), INGOT_OK);
  EXPECT_EQ(info.has_embeddings, 0);
}

TEST_F(Embed, InTheWrapper) {
  ingot::Session wrapped(fake::plain);
  const Floats out = wrapped.embed(tokens, fake::embedding_length);
  EXPECT_EQ(out.size(), width);
  EXPECT_EQ(out[7], hidden(20, 7));
}

} // namespace
