// The sampler: each filter alone, statistics of the draw, and inputs that are not numbers.
#include "runtime/sampling/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <memory>
#include <vector>

using namespace ingot::runtime;

namespace {

constexpr float inf = std::numeric_limits<float>::infinity();
constexpr float nan_value = std::numeric_limits<float>::quiet_NaN();

/// A sampler with its memory.
struct Sampling {
  std::vector<uint64_t> scratch;
  Sampler sampler;
  int32_t vocab_size;

  Sampling(int32_t vocab_size, ingot_sampling parameters) : vocab_size(vocab_size) {
    scratch.resize(Sampler::scratch_bytes(vocab_size) / 8 + 8);
    size_t room = scratch.size() * 8;
    void *aligned = scratch.data();
    std::align(64, Sampler::scratch_bytes(vocab_size), aligned, room);
    sampler.attach(aligned, vocab_size);
    EXPECT_EQ(sampler.set(parameters), INGOT_OK);
  }
  int32_t operator()(const std::vector<float> &logits, const std::vector<int32_t> &history = {}) {
    int32_t token = -1;
    EXPECT_EQ(sampler.sample(logits.data(), vocab_size, history.data(),
                             static_cast<int32_t>(history.size()), &token),
              INGOT_OK);
    return token;
  }
};

ingot_sampling plain(float temperature = 1) { return {temperature, 0, 1, 0, 1, 64, 42}; }

/// Draws `count` times; how often each token came.
std::map<int32_t, int> histogram(const std::vector<float> &logits, ingot_sampling parameters,
                                 int count, const std::vector<int32_t> &history = {}) {
  Sampling sampling(static_cast<int32_t>(logits.size()), parameters);
  std::map<int32_t, int> seen;
  for (int i = 0; i < count; ++i)
    ++seen[sampling(logits, history)];
  return seen;
}

TEST(Random, MatchesThePublishedSequence) {
  // The first outputs that the PCG paper's reference program prints for seed 42, sequence 54.
  Random random;
  random.seed(42, 54);
  for (uint32_t expected :
       {0xa15c02b7u, 0x7b47f409u, 0xba1d3330u, 0x83d2f293u, 0xbfa4784bu, 0xcbed606eu})
    EXPECT_EQ(random.next(), expected);
}

TEST(Random, UniformStaysBelowOne) {
  Random random;
  random.seed(3, 3);
  double least = 1, most = 0, sum = 0;
  for (int i = 0; i < 100000; ++i) {
    const double x = random.uniform();
    least = std::min(least, x);
    most = std::max(most, x);
    sum += x;
  }
  EXPECT_GE(least, 0);
  EXPECT_LT(most, 1);
  EXPECT_NEAR(sum / 100000, 0.5, 5 * std::sqrt(1.0 / 12 / 100000)); // five standard deviations
}

TEST(Exp, RelativeError) {
  double worst = 0;
  for (int i = 0; i <= 76000; ++i) {
    const double x = -0.00917 * i;
    worst = std::max(worst, std::abs(exp_of_negative(x) / std::exp(x) - 1));
  }
  EXPECT_LT(worst, 1e-13);
  EXPECT_EQ(exp_of_negative(0), 1);
  EXPECT_EQ(exp_of_negative(-1e300), 0);
  EXPECT_EQ(exp_of_negative(-HUGE_VAL), 0);
  EXPECT_EQ(exp_of_negative(nan_value), 1);
}

TEST(Sampler, GreedyTakesTheLowestOfEquals) {
  Sampling sampling(5, plain(0));
  EXPECT_EQ(sampling({1, 3, 2, 3, -inf}), 1);
  EXPECT_EQ(sampling({nan_value, -5, nan_value, -4, nan_value}), 3);
  EXPECT_EQ(sampling({1, inf, 2, inf, 0}), 1);
}

TEST(Sampler, NothingToPick) {
  for (float temperature : {0.0f, 1.0f}) {
    Sampling sampling(3, plain(temperature));
    int32_t token = 7;
    const float none[] = {nan_value, -inf, nan_value};
    EXPECT_EQ(sampling.sampler.sample(none, 3, nullptr, 0, &token), INGOT_BAD_LOGITS);
    EXPECT_EQ(token, 7);
  }
}

TEST(Sampler, FrequenciesFollowTheSoftmax) {
  const std::vector<float> logits{0, 1, -1, 2, nan_value, -inf};
  for (float temperature : {0.5f, 1.0f, 3.0f}) {
    double sum = 0;
    for (int i = 0; i < 4; ++i)
      sum += std::exp(logits[static_cast<size_t>(i)] / temperature);
    const int draws = 40000;
    for (int32_t top_k : {0, 5, 100}) { // both ways of selecting
      ingot_sampling parameters = plain(temperature);
      parameters.top_k = top_k;
      parameters.top_p = top_k == 5 ? 0.9999999f : 1;
      auto seen = histogram(logits, parameters, draws);
      for (int i = 0; i < 4; ++i) {
        const double p = std::exp(logits[static_cast<size_t>(i)] / temperature) / sum;
        EXPECT_NEAR(seen[i], draws * p, 5 * std::sqrt(draws * p * (1 - p)) + 1)
            << "token " << i << " temperature " << temperature << " top-k " << top_k;
      }
      EXPECT_EQ(seen.count(4) + seen.count(5), 0u);
    }
  }
}

TEST(Sampler, TopKKeepsTheBest) {
  std::vector<float> logits(1000);
  for (size_t i = 0; i < logits.size(); ++i)
    logits[i] = static_cast<float>((i * 7919) % 1000) * 1e-3f; // a permutation
  ingot_sampling parameters = plain();
  parameters.top_k = 20;
  auto seen = histogram(logits, parameters, 4000);
  EXPECT_EQ(seen.size(), 20u);
  for (auto [token, count] : seen)
    EXPECT_GE(logits[static_cast<size_t>(token)], 0.98f) << token << " " << count;
  // Equal logits: the lowest ids stay.
  seen = histogram(std::vector<float>(50, 1.0f), {1, 3, 1, 0, 1, 0, 5}, 500);
  EXPECT_EQ(seen.size(), 3u);
  EXPECT_EQ(seen.rbegin()->first, 2);
}

TEST(Sampler, TopPKeepsTheFewestThatHoldTheMass) {
  // Probabilities 0.5, 0.3, 0.15, 0.05.
  const std::vector<float> logits{std::log(0.15f), std::log(0.5f), std::log(0.05f), std::log(0.3f)};
  auto tokens = [&](float top_p) {
    ingot_sampling parameters = plain();
    parameters.top_p = top_p;
    std::vector<int32_t> ids;
    for (auto [token, count] : histogram(logits, parameters, 3000))
      ids.push_back(token);
    return ids;
  };
  EXPECT_EQ(tokens(0), (std::vector<int32_t>{1}));
  EXPECT_EQ(tokens(0.49f), (std::vector<int32_t>{1}));
  EXPECT_EQ(tokens(0.6f), (std::vector<int32_t>{1, 3}));
  EXPECT_EQ(tokens(0.9f), (std::vector<int32_t>{0, 1, 3}));
  EXPECT_EQ(tokens(0.97f), (std::vector<int32_t>{0, 1, 2, 3}));
}

TEST(Sampler, MinPIsRelativeToTheBest) {
  const std::vector<float> logits{0, std::log(0.5f), std::log(0.2f), std::log(0.05f)};
  for (float top_p : {1.0f, 0.9999f}) {
    ingot_sampling parameters = plain();
    parameters.top_p = top_p;
    parameters.min_p = 0.1f;
    EXPECT_EQ(histogram(logits, parameters, 3000).size(), 3u);
    parameters.min_p = 1;
    EXPECT_EQ(histogram(logits, parameters, 100).size(), 1u);
  }
}

TEST(Sampler, RepetitionPenalty) {
  // 2 / 4 = 0.5 and -1 * 4 = -4: token 2 wins once 0 is recent, whatever the sign.
  ingot_sampling parameters = plain(0);
  parameters.repeat_penalty = 4;
  parameters.repeat_window = 2;
  Sampling sampling(40, parameters);
  std::vector<float> logits(40, -9);
  logits[0] = 2;
  logits[35] = 1;
  EXPECT_EQ(sampling(logits), 0);
  EXPECT_EQ(sampling(logits, {0}), 35);
  EXPECT_EQ(sampling(logits, {0, 0}), 35);   // once, however often it occurs
  EXPECT_EQ(sampling(logits, {0, 5, 6}), 0); // outside the window
  EXPECT_EQ(sampling(logits, {0, 35}), 0);
  std::vector<float> negative(40, -9);
  negative[3] = -1;
  negative[4] = -2;
  EXPECT_EQ(sampling(negative, {3}), 4);
  parameters.repeat_window = -1;
  EXPECT_EQ(Sampling(40, parameters)(logits, {0, 5, 6}), 35);
  parameters.repeat_window = 0;
  EXPECT_EQ(Sampling(40, parameters)(logits, {0}), 0);
}

TEST(Sampler, ExtremeTemperaturesAndLogits) {
  const float huge = std::numeric_limits<float>::max();
  EXPECT_EQ(histogram({1, 2, 3}, plain(1e-30f), 50).size(), 1u);
  EXPECT_EQ(histogram({1, 2, 3}, plain(1e30f), 500).size(), 3u);
  EXPECT_EQ(histogram({-huge, huge}, plain(1), 50).size(), 1u);
  EXPECT_EQ(histogram({-huge, huge}, plain(huge), 500).size(), 2u);
  EXPECT_EQ(histogram({0, inf, -inf, inf}, plain(1e30f), 500),
            histogram({0, inf, -inf, inf}, plain(), 500));
  EXPECT_EQ(histogram({0, inf, -inf, inf}, plain(), 500).size(), 2u);
}

TEST(Sampler, SeedDecides) {
  std::vector<float> logits(100, 0.0f);
  auto sequence = [&](uint64_t seed) {
    ingot_sampling parameters = plain();
    parameters.seed = seed;
    Sampling sampling(100, parameters);
    std::vector<int32_t> tokens;
    tokens.reserve(20);
    for (int i = 0; i < 20; ++i)
      tokens.push_back(sampling(logits));
    return tokens;
  };
  EXPECT_EQ(sequence(1), sequence(1));
  EXPECT_NE(sequence(1), sequence(2));
}

TEST(Sampler, RefusesParametersOutOfRange) {
  auto refused = [](auto change) {
    ingot_sampling parameters = plain();
    change(parameters);
    Sampler sampler;
    return sampler.set(parameters) == INGOT_BAD_ARGUMENT;
  };
  for (float bad : {-0.1f, nan_value, inf, -inf})
    EXPECT_TRUE(refused([=](ingot_sampling &p) { p.temperature = bad; })) << bad;
  for (float bad : {-0.1f, nan_value, 1.1f, inf}) {
    EXPECT_TRUE(refused([=](ingot_sampling &p) { p.top_p = bad; })) << bad;
    EXPECT_TRUE(refused([=](ingot_sampling &p) { p.min_p = bad; })) << bad;
  }
  for (float bad : {0.0f, -1.0f, nan_value, inf})
    EXPECT_TRUE(refused([=](ingot_sampling &p) { p.repeat_penalty = bad; })) << bad;
  EXPECT_TRUE(refused([](ingot_sampling &p) { p.top_k = -1; }));
  EXPECT_TRUE(refused([](ingot_sampling &p) { p.repeat_window = -2; }));
  EXPECT_FALSE(refused([](ingot_sampling &) {}));
}

} // namespace
