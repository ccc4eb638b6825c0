/* Evaluates several texts side by side, one token of each in any subset and order, between
 * prefills, forks and truncations: every row of logits must be the bits that the text gives alone.
 *
 * usage: batch POSITIONS   (tokens of each text; at most the context) */
#include "ingot.h"

#include <stdio.h>
#include <stdlib.h>

extern const ingot_program ingot_main_program;

enum { sequences = 11 }; /* more than the widest batch step */

static int failures;
static uint32_t state = 1;

static uint32_t randomBelow(uint32_t n) {
  return (uint32_t)(((uint64_t)(state = state * 1664525u + 1013904223u) * n) >> 32);
}

static void expect(int holds, const char *what, long detail) {
  if (!holds && failures++ < 20)
    printf("FAILED: %s (%ld)\n", what, detail);
}

static ingot_session *open_session(int32_t threads, int32_t count) {
  ingot_session_options options = ingot_default_session_options();
  options.threads = threads;
  options.sequences = count;
  ingot_session *session;
  if (ingot_session_create(&ingot_main_program, &options, &session) == INGOT_OK)
    return session;
  printf("FAILED: no session\n");
  exit(1);
}

/* Of the bits of a row of logits (FNV-1a, by words). */
static uint64_t hash(const float *logits, int32_t vocab) {
  uint64_t h = 14695981039346656037u;
  const uint32_t *words = (const uint32_t *)logits;
  for (int32_t i = 0; i < vocab; i++)
    h = (h ^ words[i]) * 1099511628211u;
  return h;
}

int main(int argc, char **argv) {
  const int32_t positions = argc > 1 ? atoi(argv[1]) : 0;
  int32_t *tokens[sequences];
  uint64_t *expected[sequences];

  ingot_session *alone = open_session(1, 1);
  const int32_t vocab = ingot_vocab_size(alone);
  for (int32_t s = 0; s < sequences; s++) {
    tokens[s] = malloc(positions * sizeof *tokens[s]);
    expected[s] = malloc(positions * sizeof *expected[s]);
    ingot_reset(alone);
    for (int32_t p = 0; p < positions; p++) {
      tokens[s][p] = (int32_t)randomBelow(vocab);
      expect(ingot_eval(alone, tokens[s] + p, 1) == INGOT_OK, "evaluation alone", p);
      expected[s][p] = hash(ingot_logits(alone), vocab);
    }
  }
  ingot_session_destroy(alone);

  for (int32_t threads = 1; threads <= 3; threads++) {
    ingot_session *session = open_session(threads, sequences);
    int32_t at[sequences] = {0}, order[sequences], next[sequences];
    long rows = 0;
    for (int32_t done = 0; !done;) {
      /* Those that go on, shuffled; most rounds take most of them. */
      int32_t count = 0;
      const uint32_t keep = 1 + randomBelow(8);
      done = 1;
      for (int32_t s = 0; s < sequences; s++) {
        done &= at[s] == positions;
        if (at[s] == positions || randomBelow(8) > keep)
          continue;
        const int32_t place = (int32_t)randomBelow(++count);
        order[count - 1] = order[place];
        order[place] = s;
      }
      for (int32_t i = 0; i < count; i++)
        next[i] = tokens[order[i]][at[order[i]]];
      expect(ingot_eval_batch(session, order, next, count) == INGOT_OK, "batch of", count);
      for (int32_t i = 0; i < count; i++, rows++) {
        const int32_t s = order[i];
        expect(hash(ingot_batch_logits(session, i), vocab) == expected[s][at[s]++], "a batch's row",
               at[s]);
        ingot_select(session, s);
        expect(ingot_logits(session) == ingot_batch_logits(session, i), "its sequence's logits", s);
        expect(ingot_position(session) == at[s], "its position", s);
      }
      /* Now and then something that concerns one sequence only. */
      const int32_t s = (int32_t)randomBelow(sequences), left = positions - at[s];
      ingot_select(session, s);
      if (randomBelow(4) == 0 && left) {
        const int32_t part = 1 + (int32_t)randomBelow(left < 30 ? left : 30);
        expect(ingot_eval(session, tokens[s] + at[s], part) == INGOT_OK, "a prefill of", part);
        at[s] += part;
        expect(hash(ingot_logits(session), vocab) == expected[s][at[s] - 1], "after a prefill", s);
      } else if (randomBelow(8) == 0 && at[s] > 3) {
        at[s] -= 3;
        expect(ingot_truncate(session, at[s]) == INGOT_OK, "a truncation", s);
      } else if (randomBelow(8) == 0) {
        /* There and back, over a sequence that lost what it had. */
        const int32_t other = (s + 1) % sequences, kept = at[other];
        expect(ingot_fork(session, s, other) == INGOT_OK, "a fork", s);
        ingot_reset(session);
        expect(ingot_fork(session, other, s) == INGOT_OK, "a fork back", s);
        expect(ingot_position(session) == at[s], "a fork's position", s);
        ingot_select(session, other);
        ingot_reset(session);
        expect(ingot_eval(session, tokens[other], kept) == INGOT_OK, "after a fork", kept);
      }
    }
    printf("%d threads: %ld rows of batches\n", threads, rows);
    ingot_session_destroy(session);
  }
  for (int32_t s = 0; s < sequences; s++) {
    free(tokens[s]);
    free(expected[s]);
  }
  printf("%s\n", failures ? "some differ" : "all rows agree");
  return failures != 0;
}
