// Sessions of the fake model (fake.h), for tests that need no steps of their own.
#pragma once

#include "fake.h"
#include "runtime/include/ingot.h"

#include <gtest/gtest.h>

#include <cstddef>

namespace fake {

constexpr int32_t context_length = 96;
alignas(8) inline const uint8_t manifest[] = {
#include "fake_manifest.inc"
};
/// Whose weights are in a file; without a chat template.
alignas(8) inline const uint8_t split_manifest[] = {
#include "split_manifest.inc"
};
/// For what no processor has.
alignas(8) inline const uint8_t refused_manifest[] = {
#include "refused_manifest.inc"
};

template <bool every_row>
void whole_step(const ingot_step_context *context, int32_t thread, int32_t threads) {
  step(context, thread, threads, every_row);
}
inline constexpr ingot_variant steps = {
    whole_step<false>, whole_step<false>, whole_step<true>, {batch_step, batch_step},
    embed_step,        nullptr,           nullptr,          0};
inline const ingot_variant variants[variant_count] = {steps, steps, steps};

inline const ingot_program plain = program(variants, manifest, sizeof manifest, context_length);
inline const ingot_program split = program(variants, split_manifest, sizeof split_manifest,
                                           context_length, nullptr, sizeof weights_in_file);
inline const ingot_program refused =
    program(variants, refused_manifest, sizeof refused_manifest, context_length);

/// A session of two threads. Sampling takes the most likely token.
inline ingot_session *opened(const ingot_program &of = plain,
                             ingot_session_options options = ingot_default_session_options()) {
  if (!options.threads)
    options.threads = 2;
  ingot_session *session = nullptr;
  EXPECT_EQ(ingot_session_create(&of, &options, &session), INGOT_OK);
  ingot_sampling sampling = ingot_default_sampling();
  sampling.temperature = 0;
  EXPECT_EQ(ingot_set_sampling(session, &sampling), INGOT_OK);
  return session;
}

} // namespace fake
