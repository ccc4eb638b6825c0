// Sampling (sampler.h): penalty, then the best candidates in order, then one draw.
#include "runtime/sampling/sampler.h"

#include <string.h>

namespace ingot::runtime {
namespace {

constexpr float infinity = __builtin_inff();

/// True when `a` comes before `b`: more likely, or as likely with a lower id. A total order.
bool before(const Candidate &a, const Candidate &b) {
  return a.logit > b.logit || (a.logit == b.logit && a.token < b.token);
}

bool after(const Candidate &a, const Candidate &b) { return before(b, a); }

/// Restores the heap property (no child comes before its parent by `first`) below `at`.
template <typename Order> void sift_down(Candidate *heap, int32_t count, int32_t at, Order first) {
  const Candidate moved = heap[at];
  for (int32_t child; (child = 2 * at + 1) < count; at = child) {
    if (child + 1 < count && first(heap[child + 1], heap[child]))
      ++child;
    if (!first(heap[child], moved))
      break;
    heap[at] = heap[child];
  }
  heap[at] = moved;
}

template <typename Order> void make_heap(Candidate *heap, int32_t count, Order first) {
  for (int32_t at = count / 2 - 1; at >= 0; --at)
    sift_down(heap, count, at, first);
}

/// Keeps the `limit` best of logits[vocab_size] in candidates[], in no order, and leaves out minus
/// infinity and NaN. Returns how many.
int32_t select(const float *logits, int32_t vocab_size, int32_t limit, Candidate *candidates) {
  int32_t count = 0, token = 0;
  for (; token < vocab_size && count < limit; ++token)
    if (logits[token] > -infinity)
      candidates[count++] = {logits[token], token};
  if (token == vocab_size)
    return count;
  make_heap(candidates, count, after); // the worst one on top
  for (; token < vocab_size; ++token) {
    if (logits[token] > candidates[0].logit) { // later ids lose ties
      candidates[0] = {logits[token], token};
      sift_down(candidates, count, 0, after);
    }
  }
  return count;
}

/// Lowest id of the largest logit, -1 when there is none above minus infinity.
int32_t most_likely(const float *logits, int32_t vocab_size) {
  int32_t best = -1;
  float largest = -infinity;
  for (int32_t token = 0; token < vocab_size; ++token) {
    if (logits[token] > largest) {
      largest = logits[token];
      best = token;
    }
  }
  return best;
}

uint64_t aligned(uint64_t bytes) { return (bytes + 63) & ~uint64_t{63}; }

} // namespace

void Random::seed(uint64_t seed, uint64_t sequence) {
  state = 0;
  increment = sequence << 1 | 1;
  next();
  state += seed;
  next();
}

uint32_t Random::next() {
  const uint64_t old = state;
  state = old * 6364136223846793005u + increment;
  const auto folded = static_cast<uint32_t>((old >> 18 ^ old) >> 27);
  const auto turn = static_cast<uint32_t>(old >> 59);
  return folded >> turn | folded << (-turn & 31);
}

double Random::uniform() {
  const uint64_t high = next() >> 5, low = next() >> 6;
  return static_cast<double>(high << 26 | low) * 0x1p-53;
}

uint64_t Sampler::scratch_bytes(int32_t vocab_size) {
  const auto vocab = static_cast<uint64_t>(vocab_size);
  return aligned(vocab * sizeof(Candidate)) + aligned(vocab * sizeof(double)) +
         aligned(vocab * sizeof(float)) + aligned((vocab + 31) / 32 * 4);
}

void Sampler::attach(void *scratch, int32_t vocab_size) {
  const auto vocab = static_cast<uint64_t>(vocab_size);
  auto *at = static_cast<uint8_t *>(scratch);
  candidates = reinterpret_cast<Candidate *>(at);
  at += aligned(vocab * sizeof(Candidate));
  weights = reinterpret_cast<double *>(at);
  at += aligned(vocab * sizeof(double));
  penalized = reinterpret_cast<float *>(at);
  at += aligned(vocab * sizeof(float));
  seen = reinterpret_cast<uint32_t *>(at);
}

ingot_status Sampler::set(const ingot_sampling &sampling) {
  const bool valid = __builtin_isfinite(sampling.temperature) && sampling.temperature >= 0 &&
                     sampling.top_k >= 0 && sampling.top_p >= 0 && sampling.top_p <= 1 &&
                     sampling.min_p >= 0 && sampling.min_p <= 1 &&
                     __builtin_isfinite(sampling.repeat_penalty) && sampling.repeat_penalty > 0 &&
                     sampling.repeat_window >= -1;
  if (!valid)
    return INGOT_BAD_ARGUMENT;
  parameters = sampling;
  random.seed(sampling.seed, sampler_stream);
  return INGOT_OK;
}

ingot_status Sampler::sample(const float *logits, int32_t vocab_size, const int32_t *history,
                             int32_t history_count, int32_t *token) {
  int32_t window = parameters.repeat_window;
  if (window < 0 || window > history_count)
    window = history_count;
  if (parameters.repeat_penalty != 1 && window > 0) {
    memcpy(penalized, logits, static_cast<size_t>(vocab_size) * sizeof(float));
    const int32_t *recent = history + (history_count - window);
    for (int32_t i = 0; i < window; ++i) {
      const auto id = static_cast<uint32_t>(recent[i]);
      uint32_t &bits = seen[id / 32];
      if (bits >> (id % 32) & 1)
        continue;
      bits |= 1u << (id % 32);
      float &logit = penalized[id];
      logit = logit > 0 ? logit / parameters.repeat_penalty : logit * parameters.repeat_penalty;
    }
    for (int32_t i = 0; i < window; ++i)
      seen[static_cast<uint32_t>(recent[i]) / 32] = 0;
    logits = penalized;
  }

  if (parameters.temperature == 0 || parameters.top_k == 1) {
    const int32_t best = most_likely(logits, vocab_size);
    if (best < 0)
      return INGOT_BAD_LOGITS;
    *token = best;
    return INGOT_OK;
  }

  const int32_t limit =
      parameters.top_k > 0 && parameters.top_k < vocab_size ? parameters.top_k : vocab_size;
  int32_t count = select(logits, vocab_size, limit, candidates);
  if (!count)
    return INGOT_BAD_LOGITS;
  float largest = -infinity;
  for (int32_t i = 0; i < count; ++i)
    largest = candidates[i].logit > largest ? candidates[i].logit : largest;

  // Relative probabilities, 1 for the most likely. An infinite logit leaves only its like.
  const double scale = 1 / static_cast<double>(parameters.temperature);
  auto weight = [&](float logit) {
    if (logit == largest)
      return 1.0;
    return exp_of_negative((static_cast<double>(logit) - static_cast<double>(largest)) * scale);
  };
  const double least = static_cast<double>(parameters.min_p);
  double mass = 0;
  int32_t taken = 0;
  if (parameters.top_p == 1) { // nothing depends on the order
    for (int32_t i = 0; i < count; ++i) {
      const double share = weight(candidates[i].logit);
      if (share < least || share == 0)
        continue;
      candidates[taken] = candidates[i];
      weights[taken++] = share;
      mass += share;
    }
  } else {
    double total = 0;
    for (int32_t i = 0; i < count; ++i)
      total += weight(candidates[i].logit);
    const double enough = total * static_cast<double>(parameters.top_p);
    // Taken in order from a heap that shrinks from its end.
    make_heap(candidates, count, before);
    while (taken < count) {
      const Candidate next = candidates[0];
      const double share = weight(next.logit);
      if (taken && (share < least || share == 0 || mass >= enough))
        break;
      const int32_t last = count - 1 - taken;
      candidates[0] = candidates[last];
      sift_down(candidates, last, 0, before);
      candidates[last] = next;
      weights[taken++] = share;
      mass += share;
    }
    for (int32_t i = 0, j = count - 1; i < j; ++i, --j) { // the taken ones come first, in order
      const Candidate swapped = candidates[i];
      candidates[i] = candidates[j];
      candidates[j] = swapped;
    }
  }

  double draw = random.uniform() * mass;
  int32_t chosen = 0;
  while (chosen + 1 < taken && draw >= weights[chosen])
    draw -= weights[chosen++];
  *token = candidates[chosen].token;
  return INGOT_OK;
}

} // namespace ingot::runtime
