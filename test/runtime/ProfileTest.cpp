// The profile of steps of the fake program: every nanosecond and every launch has one place, in
// the sums and in the trace.
#include "runtime/main/profile.h"

#include "fake.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

using namespace ingot::runtime;
namespace manifest = ingot::manifest;

namespace {

alignas(8) const uint8_t manifest_bytes[] = {
#include "fake_manifest.inc"
};

int32_t extra_marks = 0;
bool profiled_step = false;

template <bool every_row>
void step(const ingot_step_context *context, int32_t thread, int32_t threads) {
  if (thread == 0)
    profiled_step = context->profile != nullptr;
  fake::step(context, thread, threads, every_row);
  for (int32_t i = 0; i < extra_marks; ++i)
    fake::mark(context, thread);
}

constexpr int32_t context_length = 90;
constexpr ingot_variant steps = {
    step<false>, step<false>, step<true>, {fake::batch_step, fake::batch_step},
    nullptr,     nullptr,     nullptr,    0};
const ingot_variant variants[fake::variant_count] = {steps, steps, steps};
const ingot_program program =
    fake::program(variants, manifest_bytes, sizeof manifest_bytes, context_length);

class Profile : public testing::TestWithParam<int32_t> {
protected:
  void SetUp() override {
    ingot_session_options options = ingot_default_session_options();
    options.threads = GetParam();
    options.sequences = 3;
    ASSERT_EQ(ingot_session_create(&program, &options, &session), INGOT_OK);
    extra_marks = 0;
  }
  void TearDown() override {
    destroy_profile(profile);
    ingot_session_destroy(session);
  }

  ProfilePhase &start(uint64_t trace_bytes = 0) {
    profile = create_profile(*session->manifest, GetParam(), trace_bytes);
    session->profile = profile;
    profile->phase = profile->phases;
    profile->tracing = trace_bytes != 0;
    return *profile->phase;
  }

  const manifest::Kernel &kernel(uint32_t index) {
    return *session->manifest->kernels()->Get(index);
  }

  /// The sums over kernels and over layers are the time of all threads, to the nanosecond.
  void expectWhole(const ProfilePhase &phase) {
    uint64_t kernels = phase.start_ns + phase.end_ns, layers = kernels;
    for (int32_t i = 0; i < 3; ++i)
      kernels += phase.kernels[i].kernel_ns + phase.kernels[i].wait_ns;
    for (int32_t i = 0; i < 4; ++i)
      layers += phase.layers[i].kernel_ns + phase.layers[i].wait_ns;
    EXPECT_EQ(kernels, phase.step_ns * static_cast<uint64_t>(GetParam()));
    EXPECT_EQ(layers, kernels);
    EXPECT_FALSE(profile->broken);
  }

  ingot_session *session = nullptr;
  ingot_profile *profile = nullptr;
};

const std::vector<int32_t> tokens(80, 'a');

TEST_P(Profile, AddsUp) {
  ProfilePhase &phase = start();
  ASSERT_EQ(ingot_eval(session, tokens.data(), 20), INGOT_OK); // 8 + 8 + 4
  EXPECT_TRUE(profiled_step);
  EXPECT_EQ(phase.steps, 3u);
  expectWhole(phase);
  const ProfileRow &chain = phase.kernels[0], &logits = phase.kernels[1];
  EXPECT_EQ(chain.launches, 3u);
  EXPECT_EQ(logits.launches, 3u);
  EXPECT_EQ(phase.kernels[2].launches, 0u);
  EXPECT_EQ(logits.wait_ns, 0u); // the barrier is behind the other
  EXPECT_EQ(phase.layers[1].launches, 3u);
  EXPECT_EQ(phase.layers[1].kernel_ns, chain.kernel_ns);
  EXPECT_EQ(phase.layers[1].wait_ns, chain.wait_ns);
  EXPECT_EQ(phase.layers[3].kernel_ns, logits.kernel_ns);
  // 20 tokens that attend to 1 .. 20 keys; positions 0, 8, 16.
  EXPECT_EQ(evaluate(kernel(0).macs(), chain.factors), 3u * 20 + 5u * 210);
  EXPECT_EQ(evaluate(kernel(0).weight_bytes(), chain.factors), 3u * 2560);
  EXPECT_EQ(evaluate(kernel(0).cache_bytes(), chain.factors), 8u * 20 + 2u * 24);
  EXPECT_EQ(evaluate(kernel(1).macs(), logits.factors), 7u * 3); // one token a step

  // Off: the time and the launches of other steps are not added.
  profile->phase = nullptr;
  ASSERT_EQ(ingot_eval(session, tokens.data(), 9), INGOT_OK);
  EXPECT_FALSE(profiled_step);
  EXPECT_EQ(phase.steps, 3u);
  // Another phase has sums of its own.
  profile->phase = profile->phases + 1;
  ASSERT_EQ(ingot_eval(session, tokens.data(), 1), INGOT_OK);
  EXPECT_EQ(phase.steps, 3u);
  EXPECT_EQ(profile->phases[1].steps, 1u);
  EXPECT_EQ(profile->phases[1].kernels[0].factors.positions, 29u);
  expectWhole(profile->phases[1]);
}

TEST_P(Profile, ScoresAndBatches) {
  ProfilePhase &phase = start();
  auto ignore = [](void *, int32_t, int32_t, const float *, int32_t) { return 0; };
  ASSERT_EQ(ingot_eval_all(session, tokens.data(), 6, ignore, nullptr), INGOT_OK); // 4 + 2
  EXPECT_EQ(phase.steps, 2u);
  EXPECT_EQ(phase.kernels[0].factors.keys, 21u);
  expectWhole(phase);

  ingot_select(session, 2);
  profile->phase = nullptr;
  ASSERT_EQ(ingot_eval(session, tokens.data(), 11), INGOT_OK);
  profile->phase = profile->phases + 2;
  const int32_t sequences[] = {2, 0, 1};
  ASSERT_EQ(ingot_eval_batch(session, sequences, tokens.data(), 3), INGOT_OK);
  const ProfilePhase &batch = profile->phases[2];
  EXPECT_EQ(batch.steps, 1u);
  const ProfileRow &both = batch.kernels[2];
  EXPECT_EQ(both.launches, 1u);
  EXPECT_EQ(both.factors.calls, 3u); // one for each sequence, at positions 11, 6, 0
  EXPECT_EQ(both.factors.positions, 17u);
  EXPECT_EQ(both.factors.keys, 12u + 7 + 1);
  expectWhole(batch);
}

TEST_P(Profile, SaysWhenMarksDoNotFit) {
  start();
  for (int32_t extra : {1, 100}) { // 100: more than there is room for
    extra_marks = extra;
    profile->broken = false;
    ASSERT_EQ(ingot_eval(session, tokens.data(), 8), INGOT_OK);
    EXPECT_TRUE(profile->broken);
    EXPECT_EQ(profile->phases[0].steps, 0u);
  }
}

struct Slice {
  int thread = 0;
  int64_t begin = 0, end = 0; ///< nanoseconds
  std::string category, text;
};

/// The complete events, of which print_trace writes one a line.
std::vector<Slice> slices_of(const std::string &trace) {
  std::vector<Slice> slices;
  for (size_t at = 0; at < trace.size();) {
    const size_t end = trace.find('\n', at);
    const std::string line = trace.substr(at, end - at);
    at = end == std::string::npos ? trace.size() : end + 1;
    int thread;
    double begin, length;
    char category[16];
    // NOLINTNEXTLINE(bugprone-unchecked-string-to-number-conversion): the values are compared
    if (std::sscanf(line.c_str(),
                    "{\"ph\":\"X\",\"pid\":1,\"tid\":%d,\"ts\":%lf,\"dur\":%lf,\"cat\":\"%15[a-z]",
                    &thread, &begin, &length, category) != 4)
      continue;
    const int64_t from = std::llround(begin * 1000);
    slices.push_back({thread, from, from + std::llround(length * 1000), category, line});
  }
  return slices;
}

std::string trace_of(const ingot_profile &profile) {
  std::string text(1 << 20, 0);
  Writer out(text.data(), text.size());
  print_trace(out, profile);
  EXPECT_EQ(out.error, 0);
  text.resize(out.used);
  return text;
}

TEST_P(Profile, TraceNests) {
  start(1 << 16);
  ASSERT_EQ(ingot_eval(session, tokens.data(), 12), INGOT_OK); // 8 + 4
  ASSERT_EQ(ingot_eval(session, tokens.data(), 1), INGOT_OK);
  const std::string trace = trace_of(*profile);
  EXPECT_EQ(trace.rfind("{\"displayTimeUnit\":\"ns\",\"otherData\":{\"steps_left_out\":0},", 0),
            0u);
  EXPECT_EQ(trace.substr(trace.size() - 4), "\n]}\n");
  const std::vector<Slice> slices = slices_of(trace);
  // A step, two kernels, a barrier and the barrier at the end; three times on each thread.
  ASSERT_EQ(slices.size(), static_cast<size_t>(5 * 3 * GetParam()));
  std::vector<int64_t> free(static_cast<size_t>(GetParam())); // until when a thread is taken
  for (size_t i = 0; i < slices.size(); i += 5) {
    const Slice &outer = slices[i];
    EXPECT_EQ(outer.category, "step");
    EXPECT_GE(outer.begin, free[static_cast<size_t>(outer.thread)]);
    int64_t at = outer.begin;
    for (size_t j = i + 1; j < i + 5; ++j) {
      EXPECT_EQ(slices[j].thread, outer.thread);
      EXPECT_GE(slices[j].begin, at);
      EXPECT_LE(slices[j].begin, at + (j > i + 1)); // slices end a nanosecond early
      EXPECT_EQ(slices[j].category, j % 5 % 2 ? "kernel" : "barrier");
      at = slices[j].end;
    }
    EXPECT_GE(outer.end, at);
    EXPECT_LE(outer.end, at + 1);
    free[static_cast<size_t>(outer.thread)] = outer.end;
  }
  // The first step: 8 tokens at 0.
  EXPECT_NE(slices[0].text.find("\"name\":\"prefill\",\"args\":{\"tokens\":8,\"position\":0}}"),
            std::string::npos);
  EXPECT_NE(
      slices[1].text.find("\"name\":\"chain\",\"args\":{\"layer\":0,\"bytes\":2680,\"macs\":204}}"),
      std::string::npos)
      << slices[1].text;
  EXPECT_NE(slices[3].text.find("\"layer\":\"output\""), std::string::npos);
  EXPECT_NE(slices.back().text.find("barrier"), std::string::npos);
}

TEST_P(Profile, FullTraceIsCutAndSaysSo) {
  const uint64_t step_bytes = sizeof(TracedStep) + static_cast<uint64_t>(GetParam()) * 4 * 8;
  ProfilePhase &phase = start(2 * step_bytes + step_bytes / 2);
  ASSERT_EQ(ingot_eval(session, tokens.data(), 40), INGOT_OK);
  EXPECT_EQ(phase.steps, 5u); // the sums go on
  expectWhole(phase);
  EXPECT_EQ(profile->steps_left_out, 3u);
  const std::string trace = trace_of(*profile);
  EXPECT_NE(trace.find("\"otherData\":{\"steps_left_out\":3}"), std::string::npos);
  const std::vector<Slice> slices = slices_of(trace);
  ASSERT_EQ(slices.size(), static_cast<size_t>(5 * 2 * GetParam() + 1));
  EXPECT_NE(slices.back().text.find("the trace is full"), std::string::npos);
}

TEST_P(Profile, Text) {
  start();
  ASSERT_EQ(ingot_eval(session, tokens.data(), 16), INGOT_OK);
  PhaseReport report{"prefill", "prompt", 16, 1, 0, profile->phases};
  report.elapsed_ns = report.phase->step_ns + 1000;
  char text[4096];
  Writer out(text, sizeof text);
  print_profile(out, *profile, report);
  ASSERT_EQ(out.error, 0);
  const std::string table(text, out.used);
  for (const char *part : {" ms a prompt, the mean of 1;", "\nchain  ", "\nlogits  ", "\n0  ",
                           "\noutput  ", "\noutside steps"})
    EXPECT_NE(table.find(part), std::string::npos) << part << "\n" << table;
  EXPECT_EQ(table.find("\nboth"), std::string::npos); // did not run
  EXPECT_EQ(table.find("\nembedding"), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(Threads, Profile, testing::Values(1, 2, 5));

} // namespace
