// Evaluation: tokens in steps, what they leave, and the choice of what comes next.
#include "runtime/core/session.h"

#include <string.h>

using namespace ingot::runtime;

namespace ingot::runtime {
namespace {

void set_step_tokens(ingot_session *session, const int32_t *tokens, int32_t count) {
  memcpy(session->step_tokens, tokens, static_cast<size_t>(count) * sizeof(int32_t));
  memset(session->step_tokens + count, 0,
         static_cast<size_t>(session->step_capacity - count) * sizeof(int32_t));
}

/// What runs `step`.
Runner runner_of(ingot_session *session, ingot_step_fn step) {
  return {session->pool, step, session->variant->device, session->device};
}

/// Tokens of the selected sequence.
ingot_status run_step(ingot_session *session, int32_t index, ingot_step_fn step,
                      const int32_t *tokens, int32_t count, float *logits) {
  Sequence &sequence = *session->selected;
  set_step_tokens(session, tokens, count);
  ingot_step_context context{session->arena,         session->weights,
                             session->step_tokens,   logits,
                             &session->pool.barrier, count,
                             sequence.position,      &sequence.caches,
                             &sequence.position,     nullptr,
                             session->near_memory,   session->near_bytes};
  sequence.current = nullptr;
  if (ingot_status status =
          run_profiled(session->profile, runner_of(session, step), index, context))
    return status;
  memcpy(sequence.history + sequence.position, tokens,
         static_cast<size_t>(count) * sizeof(int32_t));
  sequence.position += count;
  return INGOT_OK;
}

/// The rows are about to be overwritten: no sequence has its logits there any more.
void release_rows(ingot_session *session) {
  session->batch_rows = 0;
  for (int32_t i = 0; i < session->sequence_count; ++i)
    if (session->sequences[i].current != session->sequences[i].last_logits)
      session->sequences[i].current = nullptr;
}

/// The smallest batch step that takes `count` tokens, or else the widest; -1 when a decode step for
/// each is all there is. Takes *tokens of them.
int32_t batch_step(const ingot_program &program, int32_t count, int32_t *tokens) {
  if (count == 1 || !program.batch_steps)
    return -1;
  int32_t index = 0;
  while (index + 1 < program.batch_steps && program.batch_tokens[index] < count)
    ++index;
  *tokens = count < program.batch_tokens[index] ? count : program.batch_tokens[index];
  return index;
}

/// What can be known before the first step.
ingot_status check_tokens(const ingot_session *session, const int32_t *tokens, int32_t count) {
  if (count < 0 || (count && !tokens))
    return INGOT_BAD_ARGUMENT;
  if (count > session->program->context_length - session->selected->position)
    return INGOT_CONTEXT_FULL;
  for (int32_t i = 0; i < count; ++i)
    if (tokens[i] < 0 || tokens[i] >= session->program->vocab_size)
      return INGOT_BAD_TOKEN;
  return INGOT_OK;
}

} // namespace
} // namespace ingot::runtime

extern "C" {

ingot_status ingot_eval(ingot_session *session, const int32_t *tokens, int32_t count) {
  if (!session)
    return INGOT_BAD_ARGUMENT;
  if (ingot_status status = check_tokens(session, tokens, count))
    return status;
  session->prefault.work();
  const ingot_program &program = *session->program;
  const ingot_variant &variant = *session->variant;
  while (count) {
    if (ingot_interrupted(session))
      return INGOT_INTERRUPTED;
    const int32_t step = count < program.prefill_tokens ? count : program.prefill_tokens;
    Sequence &sequence = *session->selected;
    const bool one = step == 1;
    if (ingot_status status =
            run_step(session, one ? decode_step : prefill_step,
                     one ? variant.decode : variant.prefill, tokens, step, sequence.last_logits))
      return status;
    sequence.current = sequence.last_logits;
    tokens += step;
    count -= step;
  }
  return INGOT_OK;
}

ingot_status ingot_eval_all(ingot_session *session, const int32_t *tokens, int32_t count,
                            ingot_logits_callback callback, void *user) {
  if (!session || !callback)
    return INGOT_BAD_ARGUMENT;
  if (ingot_status status = check_tokens(session, tokens, count))
    return status;
  session->prefault.work();
  release_rows(session);
  const ingot_program &program = *session->program;
  for (int32_t first = 0; first < count;) {
    if (ingot_interrupted(session))
      return INGOT_INTERRUPTED;
    const int32_t left = count - first;
    const int32_t step = left < program.score_tokens ? left : program.score_tokens;
    if (ingot_status status = run_step(session, score_step, session->variant->score, tokens + first,
                                       step, session->rows))
      return status;
    session->selected->current =
        session->rows + static_cast<int64_t>(step - 1) * program.logits_stride;
    if (callback(user, first, step, session->rows, program.logits_stride))
      return INGOT_INTERRUPTED;
    first += step;
  }
  return INGOT_OK;
}

ingot_status ingot_eval_batch(ingot_session *session, const int32_t *sequences,
                              const int32_t *tokens, int32_t count) {
  if (!session || count < 0 || count > session->sequence_count ||
      (count && (!sequences || !tokens)))
    return INGOT_BAD_ARGUMENT;
  const ingot_program &program = *session->program;
  const ingot_variant &variant = *session->variant;
  uint64_t taken[INGOT_MAX_SEQUENCES / 64] = {};
  for (int32_t i = 0; i < count; ++i) {
    if (sequences[i] < 0 || sequences[i] >= session->sequence_count)
      return INGOT_BAD_ARGUMENT;
    uint64_t &word = taken[sequences[i] / 64], bit = uint64_t{1} << sequences[i] % 64;
    if (word & bit)
      return INGOT_BAD_ARGUMENT;
    word |= bit;
    if (tokens[i] < 0 || tokens[i] >= program.vocab_size)
      return INGOT_BAD_TOKEN;
    if (session->sequences[sequences[i]].position >= program.context_length)
      return INGOT_CONTEXT_FULL;
  }
  session->prefault.work();
  release_rows(session);
  for (int32_t first = 0; first < count;) {
    if (ingot_interrupted(session))
      return INGOT_INTERRUPTED;
    int32_t step_count = 1;
    const int32_t batch = batch_step(program, count - first, &step_count);
    uint8_t *caches[max_batch_tokens];
    int32_t positions[max_batch_tokens];
    for (int32_t i = 0; i < step_count; ++i) {
      Sequence &sequence = session->sequences[sequences[first + i]];
      caches[i] = sequence.caches;
      positions[i] = sequence.position;
      sequence.current = nullptr;
    }
    set_step_tokens(session, tokens + first, step_count);
    float *rows = session->rows + static_cast<int64_t>(first) * program.logits_stride;
    ingot_step_context context{session->arena,
                               session->weights,
                               session->step_tokens,
                               rows,
                               &session->pool.barrier,
                               step_count,
                               positions[0],
                               caches,
                               positions,
                               nullptr,
                               session->near_memory,
                               session->near_bytes};
    Runner runner = runner_of(session, batch < 0 ? variant.decode : variant.batch[batch]);
    runner.batch = batch >= 0;
    if (ingot_status status = run_profiled(
            session->profile, runner, batch < 0 ? decode_step : first_batch_step + batch, context))
      return status;
    for (int32_t i = 0; i < step_count; ++i) {
      Sequence &sequence = session->sequences[sequences[first + i]];
      sequence.history[sequence.position++] = tokens[first + i];
      sequence.current = rows + static_cast<int64_t>(i) * program.logits_stride;
    }
    first += step_count;
    session->batch_rows = first;
  }
  return INGOT_OK;
}

const float *ingot_batch_logits(const ingot_session *session, int32_t index) {
  if (!session || index < 0 || index >= session->batch_rows)
    return nullptr;
  return session->rows + static_cast<int64_t>(index) * session->program->logits_stride;
}

ingot_status ingot_embed(ingot_session *session, const int32_t *tokens, int32_t count,
                         ingot_pooling pooling, float *out, size_t capacity) {
  if (!session || count < 1 || pooling < INGOT_POOLING_LAST || pooling > INGOT_POOLING_NONE ||
      (!out && capacity))
    return INGOT_BAD_ARGUMENT;
  const ingot_program &program = *session->program;
  const int32_t stride = sizes_of(program, session->manifest).embedding_stride;
  if (!stride || (!session->device && !session->variant->embed))
    return INGOT_NO_EMBEDDINGS;
  if (ingot_status status = check_tokens(session, tokens, count))
    return status;
  const auto width = static_cast<size_t>(session->manifest->model()->embedding_length());
  const bool each = pooling == INGOT_POOLING_NONE, mean = pooling == INGOT_POOLING_MEAN;
  if (capacity < width * (each ? static_cast<size_t>(count) : 1))
    return INGOT_BUFFER_TOO_SMALL;
  session->prefault.work();
  release_rows(session);
  for (int32_t first = 0; first < count;) {
    if (ingot_interrupted(session))
      return INGOT_INTERRUPTED;
    const int32_t left = count - first;
    const int32_t step = left < program.prefill_tokens ? left : program.prefill_tokens;
    if (ingot_status status =
            run_step(session, first_batch_step + program.batch_steps, session->variant->embed,
                     tokens + first, step, session->rows))
      return status;
    // One token after the other: the sum of a mean is the same in any steps.
    for (int32_t i = mean || each ? 0 : step - 1; i < step; ++i) {
      const float *row = session->rows + static_cast<int64_t>(i) * stride;
      if (!mean || first + i == 0)
        memcpy(out + (each ? static_cast<size_t>(first + i) * width : 0), row,
               width * sizeof(float));
      else
        for (size_t j = 0; j < width; ++j)
          out[j] += row[j];
    }
    first += step;
  }
  for (size_t j = 0; mean && j < width; ++j)
    out[j] /= static_cast<float>(count);
  return INGOT_OK;
}

} // extern "C"
