/* Evaluates the same tokens in different splits, thread counts and ways: the logits of the last
 * token must be the same bits. Then fills the context to the last position and one beyond.
 *
 * usage: split TOKENS   (how many; at most the context) */
#include "ingot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern const ingot_program ingot_main_program;

static int failures;

static void expect(int holds, const char *what, long detail) {
  if (!holds) {
    printf("FAILED: %s (%ld)\n", what, detail);
    failures++;
  }
}

struct rows {
  const float *expected; /* the last row */
  int32_t last, vocab;
};

static int32_t compare_row(void *user, int32_t first, int32_t rows, const float *logits,
                           int32_t stride) {
  const struct rows *wanted = user;
  if (first <= wanted->last && wanted->last < first + rows)
    expect(!memcmp(logits + (size_t)(wanted->last - first) * stride, wanted->expected,
                   wanted->vocab * sizeof(float)),
           "scoring every token", first);
  return 0;
}

int main(int argc, char **argv) {
  const int32_t count = argc > 1 ? atoi(argv[1]) : 0;
  float *expected = NULL;
  for (int32_t threads = 1; threads <= 3; threads++) {
    ingot_session_options options = ingot_default_session_options();
    options.threads = threads;
    ingot_session *session;
    if (ingot_session_create(&ingot_main_program, &options, &session) != INGOT_OK) {
      printf("FAILED: no session\n");
      return 1;
    }
    const int32_t vocab = ingot_vocab_size(session), context = ingot_context_length(session);
    int32_t *tokens = malloc(context * sizeof *tokens);
    uint32_t random = 1;
    for (int32_t i = 0; i < context; i++)
      tokens[i] = (int32_t)((random = random * 1664525u + 1013904223u) >> 8) % vocab;

    /* Parts of this many tokens; 1 is decode alone. */
    const int32_t parts[] = {count, 1, 2, 7, 24, 191, 193};
    for (size_t p = 0; p < sizeof parts / sizeof *parts; p++) {
      ingot_reset(session);
      for (int32_t at = 0; at < count; at += parts[p]) {
        const int32_t n = count - at < parts[p] ? count - at : parts[p];
        expect(ingot_eval(session, tokens + at, n) == INGOT_OK, "evaluation", at);
      }
      const float *logits = ingot_logits(session);
      if (!expected) {
        expected = malloc(vocab * sizeof *expected);
        memcpy(expected, logits, vocab * sizeof *expected);
      }
      expect(!memcmp(expected, logits, vocab * sizeof *expected), "parts of", parts[p]);
    }
    ingot_reset(session);
    struct rows wanted = {expected, count - 1, vocab};
    expect(ingot_eval_all(session, tokens, count, compare_row, &wanted) == INGOT_OK, "scoring", 0);

    /* The last position is usable, the one after it is an error that changes nothing. */
    if (threads == 2) {
      ingot_reset(session);
      expect(ingot_eval(session, tokens, context - 1) == INGOT_OK, "a full context", context);
      expect(ingot_eval(session, tokens, 2) == INGOT_CONTEXT_FULL, "one token too many", 2);
      expect(ingot_position(session) == context - 1, "the position after it",
             ingot_position(session));
      expect(ingot_eval(session, tokens, 1) == INGOT_OK, "the last position", 1);
      expect(ingot_eval(session, tokens, 1) == INGOT_CONTEXT_FULL, "a token beyond", 1);
      expect(ingot_logits(session) && ingot_logits(session)[0] == ingot_logits(session)[0],
             "logits at the end", 0);
    }
    free(tokens);
    ingot_session_destroy(session);
  }
  free(expected);
  printf("%s\n", failures ? "some differ" : "all splits agree");
  return failures != 0;
}
