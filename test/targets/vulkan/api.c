/* Sessions on a device beside one on the processor, of a program for both: everything of ingot.h
 * that is about what has been evaluated. */
#include "ingot.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern const ingot_program ingot_main_program;

#define NEED(condition)                                                                            \
  do {                                                                                             \
    if (!(condition)) {                                                                            \
      printf("line %d: not so: %s\n", __LINE__, #condition);                                       \
      exit(1);                                                                                     \
    }                                                                                              \
  } while (0)
#define CHECK(call, wanted)                                                                        \
  do {                                                                                             \
    const ingot_status status_ = (call);                                                           \
    if (status_ != (wanted)) {                                                                     \
      printf("line %d: %s\n", __LINE__, ingot_status_string(status_));                             \
      exit(1);                                                                                     \
    }                                                                                              \
  } while (0)
#define OK(call) CHECK(call, INGOT_OK)

enum { most_tokens = 300, room = 1 << 20 };
static int32_t tokens[most_tokens], vocab;
static size_t row_bytes, width;
static uint8_t saved[room], again[room];
static size_t saved_bytes;

static ingot_session *open_session(const char *isa) {
  char problem[INGOT_PROBLEM_BYTES];
  ingot_session_options options = ingot_default_session_options();
  options.sequences = 2;
  options.problem = problem;
  options.isa = isa;
  ingot_session *session;
  if (ingot_session_create(&ingot_main_program, &options, &session)) {
    printf("no session: %s\n", problem);
    exit(1);
  }
  ingot_sampling sampling = ingot_default_sampling();
  sampling.seed = 5;
  sampling.temperature = 4;
  OK(ingot_set_sampling(session, &sampling));
  return session;
}

static void save(ingot_session *session) {
  CHECK(ingot_save(session, NULL, 0, &saved_bytes), INGOT_BUFFER_TOO_SMALL);
  NEED(saved_bytes < room);
  OK(ingot_save(session, saved, saved_bytes, &saved_bytes));
}

/* How far a row of logits is from another, of the largest. */
static double distance(const float *a, const float *b, size_t count) {
  double worst = 0, largest = 0;
  for (size_t i = 0; i < count; i++) {
    worst = fmax(worst, fabs((double)a[i] - b[i]));
    largest = fmax(largest, fabs(b[i]));
  }
  return worst / largest;
}

/* Tokens that are sampled with chance, and the logits behind each. */
enum { continued = 5 };
struct said {
  int32_t tokens[continued];
  float *logits;
};
static struct said go_on(ingot_session *session) {
  struct said said = {{0}, malloc(continued * row_bytes)};
  for (int i = 0; i < continued; i++) {
    OK(ingot_sample(session, said.tokens + i));
    OK(ingot_eval(session, said.tokens + i, 1));
    memcpy(said.logits + (size_t)i * (size_t)vocab, ingot_logits(session), row_bytes);
  }
  return said;
}
static int same(const struct said *a, const struct said *b) {
  return !memcmp(a->tokens, b->tokens, sizeof a->tokens) &&
         !memcmp(a->logits, b->logits, continued * row_bytes);
}

static void saves(ingot_session *device, ingot_session *other, ingot_session *processor) {
  /* Positions that end blocks of the cache, and those beside them. */
  static const int32_t counts[] = {1, 2, 15, 16, 17, 33, 95, 200};
  for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
    ingot_reset(device);
    OK(ingot_eval(device, tokens, counts[i]));
    save(device);
    const struct said expected = go_on(device);
    OK(ingot_restore(device, saved, saved_bytes)); /* where more has been evaluated */
    const struct said back = go_on(device);
    NEED(same(&back, &expected));
    /* Elsewhere, in the second sequence; what that says next leaves the first alone. */
    OK(ingot_select(other, 0));
    ingot_reset(other);
    OK(ingot_eval(other, tokens + 7, 40));
    OK(ingot_select(other, 1));
    OK(ingot_restore(other, saved, saved_bytes));
    NEED(ingot_position(other) == counts[i]);
    NEED(!memcmp(ingot_history(other), tokens, (size_t)counts[i] * sizeof *tokens));
    size_t bytes;
    OK(ingot_save(other, again, room, &bytes));
    NEED(bytes == saved_bytes && !memcmp(saved, again, bytes));
    const struct said there = go_on(other);
    NEED(same(&there, &expected));
    OK(ingot_select(other, 0));
    OK(ingot_eval(other, tokens, 1));
    memcpy(again, ingot_logits(other), row_bytes);
    ingot_reset(other);
    OK(ingot_eval(other, tokens + 7, 40));
    OK(ingot_eval(other, tokens, 1));
    NEED(!memcmp(again, ingot_logits(other), row_bytes));
    /* The processor goes on with it, and the device with what the processor saved. */
    OK(ingot_restore(processor, saved, saved_bytes));
    OK(ingot_eval(processor, expected.tokens, 1));
    NEED(distance(ingot_logits(processor), expected.logits, (size_t)vocab) < 1e-4);
    ingot_reset(processor);
    OK(ingot_eval(processor, tokens, counts[i]));
    save(processor);
    OK(ingot_restore(other, saved, saved_bytes));
    OK(ingot_eval(other, expected.tokens, 1));
    NEED(distance(ingot_logits(other), expected.logits, (size_t)vocab) < 1e-4);
    free(expected.logits);
    free(back.logits);
    free(there.logits);
  }
  /* What is damaged changes nothing. */
  saved[saved_bytes / 2] ^= 1;
  const int32_t before = ingot_position(device);
  CHECK(ingot_restore(device, saved, saved_bytes), INGOT_DAMAGED_SAVE);
  NEED(ingot_position(device) == before);
  /* Without logits, and without anything. */
  OK(ingot_truncate(device, 21));
  save(device);
  OK(ingot_restore(other, saved, saved_bytes));
  NEED(ingot_position(other) == 21 && !ingot_logits(other));
  ingot_reset(device);
  save(device);
  OK(ingot_restore(other, saved, saved_bytes));
  NEED(ingot_position(other) == 0);
}

static void embeds(ingot_session *device, ingot_session *processor) {
  enum { count = 250 }; /* more than a step takes */
  float *here = malloc(count * width * sizeof *here),
        *there = malloc(count * width * sizeof *there);
  OK(ingot_select(device, 0));
  for (int pooling = INGOT_POOLING_LAST; pooling <= INGOT_POOLING_NONE; pooling++) {
    const size_t floats = pooling == INGOT_POOLING_NONE ? count * width : width;
    ingot_reset(device);
    ingot_reset(processor);
    CHECK(ingot_embed(device, tokens, count, (ingot_pooling)pooling, here, floats - 1),
          INGOT_BUFFER_TOO_SMALL);
    OK(ingot_embed(device, tokens, count, (ingot_pooling)pooling, here, floats));
    OK(ingot_embed(processor, tokens, count, (ingot_pooling)pooling, there, floats));
    NEED(distance(here, there, floats) < 1e-4);
    NEED(!ingot_logits(device) && ingot_position(device) == count);
  }
  /* `here` has the last one's behind the same steps and behind others. */
  ingot_reset(device);
  OK(ingot_eval(device, tokens, count - 3));
  OK(ingot_embed(device, tokens + count - 3, 3, INGOT_POOLING_LAST, there, width));
  NEED(!memcmp(there, here + (count - 1) * width, width * sizeof *here));
  /* And the sequence goes on behind them as behind others. */
  OK(ingot_eval(device, tokens + count, 1));
  memcpy(again, ingot_logits(device), row_bytes);
  ingot_reset(device);
  OK(ingot_eval(device, tokens, count + 1));
  NEED(!memcmp(again, ingot_logits(device), row_bytes));
  free(here);
  free(there);
}

static int32_t interrupt_after(void *user, int32_t token, const char *bytes, size_t count) {
  (void)token, (void)bytes, (void)count;
  ingot_interrupt(user);
  return 0;
}

static void others(ingot_session *device) {
  OK(ingot_select(device, 0));
  ingot_reset(device);
  int32_t count, given[32];
  OK(ingot_tokenize(device, "hello", 5, 0, given, 32, &count));
  OK(ingot_eval(device, given, count));
  OK(ingot_fork(device, 0, 1));
  const int32_t both[] = {1, 0}, next[] = {given[0], given[0]};
  OK(ingot_eval_batch(device, both, next, 2));
  NEED(!memcmp(ingot_batch_logits(device, 0), ingot_batch_logits(device, 1), row_bytes));
  memcpy(again, ingot_batch_logits(device, 0), row_bytes);
  OK(ingot_truncate(device, count));
  CHECK(ingot_sample(device, given), INGOT_NO_LOGITS);
  const int32_t beyond = vocab;
  CHECK(ingot_eval(device, &beyond, 1), INGOT_BAD_TOKEN);
  OK(ingot_eval(device, next, 1));
  NEED(!memcmp(again, ingot_logits(device), row_bytes));
  CHECK(ingot_generate(device, 9, interrupt_after, device, &count), INGOT_INTERRUPTED);
  NEED(count == 1);
  CHECK(ingot_eval(device, tokens, 1), INGOT_INTERRUPTED);
  ingot_clear_interrupt(device);
  const ingot_message message = {INGOT_ROLE_USER, "hi", 2};
  OK(ingot_chat_eval(device, &message, 1));
  NEED(ingot_logits(device));
}

int main(void) {
  ingot_session *device = open_session("vulkan"), *other = open_session("vulkan"),
                *processor = open_session("x86-64-v3");
  ingot_model_info info;
  OK(ingot_model_info_of(&ingot_main_program, &info));
  vocab = info.vocab_size;
  row_bytes = (size_t)vocab * sizeof(float);
  width = (size_t)info.embedding_length;
  for (int32_t i = 0; i < most_tokens; i++)
    tokens[i] = i * 37 % 250;
  saves(device, other, processor);
  embeds(device, processor);
  others(device);
  ingot_session_destroy(device);
  ingot_session_destroy(other);
  ingot_session_destroy(processor);
  printf("sessions on a device are like others\n");
  return 0;
}
