// Which of a program's variants runs: the choice on pretended processors, and that a session runs
// what was chosen.
#include "runtime/core/variants.h"
#include "fake.h"
#include "runtime/core/session.h"
#include "runtime/platform/platform.h"
#include "targets/x86/runtime/features.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

using namespace ingot::runtime;
namespace manifest = ingot::manifest;
namespace x86 = ingot::platform::x86;

namespace {

//===--- The choice ------------------------------------------------------------------===//

std::set<std::string> present; // what the pretended processor has
bool pretended(const char *name) { return present.count(name) != 0; }

struct Row {
  const char *name, *isa;
  std::vector<std::string> features;
};

/// Owns the buffer that it is read in place from.
class Variants {
public:
  Variants(const std::vector<Row> &rows) {
    std::vector<flatbuffers::Offset<manifest::Variant>> variants;
    for (const Row &row : rows) {
      auto features = builder.CreateVectorOfStrings(row.features);
      auto isa = builder.CreateString(row.isa), name = builder.CreateString(row.name);
      variants.push_back(manifest::CreateVariant(builder, name, isa, features));
    }
    builder.Finish(manifest::CreateBuildDirect(builder, "", "", &variants));
  }
  const manifest::Build &build() const {
    return *flatbuffers::GetRoot<manifest::Build>(builder.GetBufferPointer());
  }

private:
  flatbuffers::FlatBufferBuilder builder;
};

TEST(Variants, TheFirstThatRuns) {
  const Variants variants({{"new", "wide", {"a", "b", "c"}}, {"old", "narrow", {"a"}}});
  present = {"a", "b", "c"};
  EXPECT_EQ(best_variant(variants.build(), pretended), 0);
  EXPECT_EQ(missing_feature(*variants.build().variants()->Get(0), pretended), nullptr);
  present = {"a", "c"}; // all but one feature is as good as none
  EXPECT_EQ(best_variant(variants.build(), pretended), 1);
  EXPECT_STREQ(missing_feature(*variants.build().variants()->Get(0), pretended), "b");
  present = {"b", "c"};
  EXPECT_EQ(best_variant(variants.build(), pretended), -1);
  EXPECT_STREQ(missing_feature(*variants.build().variants()->Get(1), pretended), "a");
}

TEST(Variants, ByNameOrInstructionSet) {
  const Variants variants({{"newest", "wide", {"a", "b", "c"}},
                           {"new", "wide", {"a", "b"}},
                           {"old", "narrow", {"a"}},
                           {"wide", "odd", {}}});
  present = {"a", "b"};
  EXPECT_EQ(named_variant(variants.build(), "newest", pretended), 0); // though it does not run
  EXPECT_EQ(named_variant(variants.build(), "old", pretended), 2);
  EXPECT_EQ(named_variant(variants.build(), "wide", pretended), 3); // names come first
  EXPECT_EQ(named_variant(variants.build(), "narrow", pretended), 2);
  EXPECT_EQ(named_variant(variants.build(), "", pretended), -1);
  EXPECT_EQ(named_variant(variants.build(), "New", pretended), -1);
  const Variants two({{"newest", "wide", {"a", "b", "c"}}, {"new", "wide", {"a", "b"}}});
  EXPECT_EQ(named_variant(two.build(), "wide", pretended), 1); // the one that runs
  present = {};
  EXPECT_EQ(named_variant(two.build(), "wide", pretended), 0);
}

//===--- What a processor has ----------------------------------------------------------===//

TEST(Features, NeedTheSystemToSaveTheirRegisters) {
  x86::Processor processor = {};
  for (uint32_t &word : processor.words)
    word = ~0u;
  auto has = [&](const char *name) { return x86::has_feature(processor, name, nullptr); };
  for (const char *name : {"sse2", "popcnt", "lzcnt", "bmi2", "movbe"})
    EXPECT_TRUE(has(name)) << name;
  EXPECT_FALSE(has("avx2"));
  processor.saved = 0x3; // x87 and SSE
  EXPECT_FALSE(has("avx2"));
  processor.saved = 0x7;
  EXPECT_TRUE(has("avx2"));
  EXPECT_TRUE(has("fma"));
  EXPECT_FALSE(has("avx512vnni"));
  processor.saved = 0x67; // masks and upper halves, but not the upper sixteen registers
  EXPECT_FALSE(has("avx512f"));
  processor.saved = 0xe7;
  EXPECT_TRUE(has("avx512vnni"));
  processor.words[x86::leaf7_c] = 0;
  EXPECT_FALSE(has("avx512vnni"));
  EXPECT_TRUE(has("avx512f"));
}

TEST(Features, UnknownOnesAreAbsent) {
  x86::Processor processor = {};
  for (uint32_t &word : processor.words)
    word = ~0u;
  processor.saved = ~uint64_t{0};
  for (const char *name : {"", "avx512", "AVX2", "flux2"}) {
    bool known = true;
    EXPECT_FALSE(x86::has_feature(processor, name, &known)) << name;
    EXPECT_FALSE(known) << name;
  }
}

TEST(Features, OfThisProcessor) {
  // The compiler's own idea of it.
  EXPECT_EQ(ingot::platform::has_feature("avx2"), bool(__builtin_cpu_supports("avx2")));
  EXPECT_EQ(ingot::platform::has_feature("fma"), bool(__builtin_cpu_supports("fma")));
  EXPECT_EQ(ingot::platform::has_feature("f16c"), bool(__builtin_cpu_supports("f16c")));
  EXPECT_EQ(ingot::platform::has_feature("bmi2"), bool(__builtin_cpu_supports("bmi2")));
  EXPECT_EQ(ingot::platform::has_feature("popcnt"), bool(__builtin_cpu_supports("popcnt")));
  EXPECT_EQ(ingot::platform::has_feature("avx512f"), bool(__builtin_cpu_supports("avx512f")));
  EXPECT_EQ(ingot::platform::has_feature("avx512vnni"), bool(__builtin_cpu_supports("avx512vnni")));
}

//===--- Sessions ------------------------------------------------------------------------===//

alignas(8) const uint8_t fake_manifest[] = {
#include "fake_manifest.inc"
};
alignas(8) const uint8_t refused_manifest[] = {
#include "refused_manifest.inc"
};

std::string calls; // which steps ran: a letter for the variant, one for the step

template <char variant, char name, bool every_row>
void recorded(const ingot_step_context *context, int32_t thread, int32_t threads) {
  if (thread == 0)
    calls += {variant, name, ' '};
  fake::step(context, thread, threads, every_row);
}

template <char variant>
void recorded_batch(const ingot_step_context *context, int32_t thread, int32_t threads) {
  if (thread == 0)
    calls += {variant, 'b', ' '};
  fake::batch_step(context, thread, threads);
}

template <char variant>
constexpr ingot_variant steps = {recorded<variant, 'd', false>,
                                 recorded<variant, 'p', false>,
                                 recorded<variant, 's', true>,
                                 {recorded_batch<variant>, recorded_batch<variant>}};
const ingot_variant variants[fake::variant_count] = {steps<'F'>, steps<'C'>, steps<'B'>};

ingot_program program_of(const uint8_t *manifest, uint64_t bytes) {
  return fake::program(variants, manifest, bytes, 50);
}

int32_t ignore(void *, int32_t, int32_t, const float *, int32_t) { return 0; }

ingot_status create(const ingot_program &program, const char *isa, ingot_session **session) {
  ingot_session_options options = ingot_default_session_options();
  EXPECT_EQ(options.isa, nullptr);
  options.threads = 2;
  options.sequences = 2;
  options.isa = isa;
  return ingot_session_create(&program, &options, session);
}

TEST(VariantSession, RunsEveryStepOfTheChosenOne) {
  const ingot_program program = program_of(fake_manifest, sizeof fake_manifest);
  struct Case {
    const char *isa, *chosen, *calls;
  };
  for (const Case &c : {Case{nullptr, "common", "Cp Cd Cs Cb "},
                        {"base", "base", "Bp Bd Bs Bb "},
                        {"common", "common", "Cp Cd Cs Cb "},
                        {"plain", "common", "Cp Cd Cs Cb "}}) {
    calls.clear();
    ingot_session *session = nullptr;
    ASSERT_EQ(create(program, c.isa, &session), INGOT_OK);
    EXPECT_STREQ(ingot_isa(session), c.chosen);
    const int32_t tokens[] = {1, 2, 3}, both[] = {0, 1};
    EXPECT_EQ(ingot_eval(session, tokens, 3), INGOT_OK);
    EXPECT_EQ(ingot_eval(session, tokens, 1), INGOT_OK);
    EXPECT_EQ(ingot_eval_all(session, tokens, 2, ignore, nullptr), INGOT_OK);
    EXPECT_EQ(ingot_eval_batch(session, both, tokens, 2), INGOT_OK);
    EXPECT_EQ(calls, c.calls);
    ingot_session_destroy(session);
  }
}

TEST(VariantSession, RefusesWhatTheProcessorLacks) {
  const ingot_program program = program_of(fake_manifest, sizeof fake_manifest);
  ingot_session *session = nullptr;
  EXPECT_EQ(ingot_missing_feature(&program), nullptr);
  EXPECT_EQ(create(program, "future", &session), INGOT_UNSUPPORTED_CPU);
  EXPECT_EQ(create(program, "flux", &session), INGOT_UNSUPPORTED_CPU);
  EXPECT_EQ(create(program, "other", &session), INGOT_BAD_ARGUMENT);
  EXPECT_EQ(session, nullptr);
  const ingot_program refused = program_of(refused_manifest, sizeof refused_manifest);
  EXPECT_EQ(create(refused, nullptr, &session), INGOT_UNSUPPORTED_CPU);
  EXPECT_EQ(create(refused, "base", &session), INGOT_UNSUPPORTED_CPU);
  EXPECT_STREQ(ingot_missing_feature(&refused), "flux1");
}

TEST(VariantSession, NeedsTheStepsOfEveryVariant) {
  ingot_variant changed[fake::variant_count];
  ingot_program program = program_of(fake_manifest, sizeof fake_manifest);
  program.variants = changed;
  auto status = [&](auto change) {
    for (int32_t i = 0; i < fake::variant_count; ++i)
      changed[i] = variants[i];
    change();
    ingot_session *session = nullptr;
    const ingot_status result = create(program, nullptr, &session);
    ingot_session_destroy(session);
    return result;
  };
  EXPECT_EQ(status([] {}), INGOT_OK);
  EXPECT_EQ(status([&] { changed[2].decode = nullptr; }), INGOT_BAD_PROGRAM);
  EXPECT_EQ(status([&] { changed[0].score = nullptr; }), INGOT_BAD_PROGRAM);
  EXPECT_EQ(status([&] { changed[1].batch[1] = nullptr; }), INGOT_BAD_PROGRAM);
  for (int32_t count : {0, 2}) { // none, and another number than in the manifest
    program.variant_count = count;
    EXPECT_EQ(status([] {}), INGOT_BAD_PROGRAM);
  }
  program.variant_count = fake::variant_count;
  program.variants = nullptr;
  EXPECT_EQ(status([] {}), INGOT_BAD_PROGRAM);
}

} // namespace
