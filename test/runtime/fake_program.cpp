// A compiled program without a compiler: the fake model (fake.h) linked with the runtime's main.
#include "fake.h"

namespace {

alignas(8) const uint8_t manifest[] = {
#include FAKE_MANIFEST
};
alignas(4096) const uint8_t weights[3 * 4096 + 5] = {1};

void last(const ingot_step_context *context, int32_t thread, int32_t threads) {
  fake::step(context, thread, threads, false);
}
void all(const ingot_step_context *context, int32_t thread, int32_t threads) {
  fake::step(context, thread, threads, true);
}

// The steps of a variant that must not run.
void never(const ingot_step_context *, int32_t, int32_t) { __builtin_trap(); }

constexpr ingot_variant works = {
    last, last, all, {fake::batch_step, fake::batch_step}, fake::embed_step, nullptr, nullptr, 0};
const ingot_variant variants[fake::variant_count] = {
    {never, never, never, {never, never}, never, nullptr, nullptr, 0}, works, works};

} // namespace

extern "C" const ingot_program ingot_main_program =
    fake::program(variants, manifest, sizeof manifest, FAKE_CONTEXT, weights, sizeof weights);
