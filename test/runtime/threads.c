/* Sessions of one program on as many threads, each with threads of its own: each must say what one
 * alone says, and one is stopped by another thread. Built with ThreadSanitizer (threads.test).
 *
 * usage: threads [TEXT] */
#include "ingot.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern const ingot_program ingot_main_program;

enum { kSessions = 8, kTokens = 12, kRoom = 64 };

static const char *text = "hello";

#define CHECK(call)                                                                                \
  do {                                                                                             \
    const ingot_status status_ = (call);                                                           \
    if (status_ != INGOT_OK) {                                                                     \
      fprintf(stderr, "line %d: %s\n", __LINE__, ingot_status_string(status_));                    \
      exit(1);                                                                                     \
    }                                                                                              \
  } while (0)

struct said {
  int32_t tokens[2 * kTokens + 2], count;
};

static int32_t note(void *user, int32_t token, const char *bytes, size_t count) {
  (void)bytes, (void)count;
  struct said *said = user;
  said->tokens[said->count++] = token;
  return 0;
}

static ingot_session *opened(void) {
  ingot_session_options options = ingot_default_session_options();
  options.threads = 2;
  options.sequences = 2;
  ingot_session *session;
  CHECK(ingot_session_create(&ingot_main_program, &options, &session));
  ingot_sampling sampling = ingot_default_sampling();
  sampling.seed = 7;
  CHECK(ingot_set_sampling(session, &sampling));
  return session;
}

/* Uses what sessions have: text, prompts, saving, several sequences. */
static void *use(void *user) {
  struct said *said = user;
  ingot_session *session = opened();
  int32_t tokens[kRoom], count, made;
  CHECK(ingot_tokenize(session, text, strlen(text), 0, tokens, kRoom, &count));
  CHECK(ingot_eval(session, tokens, count));
  CHECK(ingot_generate(session, kTokens, note, said, &made));
  size_t bytes;
  ingot_save(session, NULL, 0, &bytes);
  void *saved = malloc(bytes);
  CHECK(ingot_save(session, saved, bytes, &bytes));
  CHECK(ingot_fork(session, 0, 1));
  const int32_t both[] = {0, 1}, next[] = {tokens[0], tokens[0]};
  CHECK(ingot_eval_batch(session, both, next, 2));
  if (memcmp(ingot_batch_logits(session, 0), ingot_batch_logits(session, 1),
             (size_t)ingot_vocab_size(session) * sizeof(float))) {
    fprintf(stderr, "two sequences differ\n");
    exit(1);
  }
  CHECK(ingot_restore(session, saved, bytes));
  free(saved);
  CHECK(ingot_generate(session, kTokens, note, said, &made));
  ingot_session_destroy(session);
  return NULL;
}

static atomic_int answered;
static ingot_session *endless;

static int32_t count_token(void *user, int32_t token, const char *bytes, size_t count) {
  (void)user, (void)token, (void)bytes, (void)count;
  atomic_fetch_add(&answered, 1);
  return 0;
}

/* Answers again and again until it is interrupted. */
static void *answer(void *user) {
  int32_t tokens[kRoom], count, made;
  CHECK(ingot_tokenize(endless, text, strlen(text), 0, tokens, kRoom, &count));
  ingot_status status;
  do {
    ingot_reset(endless);
    status = ingot_eval(endless, tokens, count);
    if (status == INGOT_OK)
      status = ingot_generate(endless, kTokens, count_token, NULL, &made);
  } while (status == INGOT_OK);
  *(ingot_status *)user = status;
  return NULL;
}

int main(int argc, char **argv) {
  if (argc > 1)
    text = argv[1];
  struct said alone = {{0}, 0}, together[kSessions] = {{{0}, 0}};
  use(&alone);
  if (!alone.count)
    return fprintf(stderr, "nothing was said\n"), 1;
  pthread_t threads[kSessions];
  for (int i = 0; i < kSessions; i++)
    if (pthread_create(&threads[i], NULL, use, &together[i]))
      return 1;
  for (int i = 0; i < kSessions; i++) {
    pthread_join(threads[i], NULL);
    if (memcmp(&together[i], &alone, sizeof alone))
      return fprintf(stderr, "session %d says something else\n", i), 1;
  }

  endless = opened();
  ingot_status status = INGOT_OK;
  if (pthread_create(&threads[0], NULL, answer, &status))
    return 1;
  while (atomic_load(&answered) < 3) {
  }
  ingot_interrupt(endless);
  pthread_join(threads[0], NULL);
  ingot_session_destroy(endless);
  if (status != INGOT_INTERRUPTED)
    return fprintf(stderr, "it ended with: %s\n", ingot_status_string(status)), 1;
  printf("%d sessions, %d tokens each, one interrupted\n", kSessions, alone.count);
  return 0;
}
