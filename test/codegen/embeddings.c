/* Writes the hidden states of tokens 1, 2, 3 ... as floats: each token's, in one call; then the
 * mean's and the last one's, in two calls each. usage: embeddings TOKENS OUT */
#include "ingot.h"

#include <stdio.h>
#include <stdlib.h>

extern const ingot_program ingot_main_program;

static void need(ingot_status status) {
  if (status != INGOT_OK) {
    fprintf(stderr, "error: %s\n", ingot_status_string(status));
    exit(1);
  }
}

int main(int argc, char **argv) {
  const int32_t count = argc > 2 ? atoi(argv[1]) : 0;
  ingot_model_info info;
  need(ingot_model_info_of(&ingot_main_program, &info));
  ingot_session_options options = ingot_default_session_options();
  options.threads = 2;
  ingot_session *session;
  need(ingot_session_create(&ingot_main_program, &options, &session));
  int32_t *tokens = malloc((size_t)count * sizeof *tokens);
  for (int32_t i = 0; i < count; i++)
    tokens[i] = i % info.vocab_size;
  const size_t width = (size_t)info.embedding_length, all = (size_t)count * width;
  float *rows = malloc((all + 2 * width) * sizeof *rows);
  need(ingot_embed(session, tokens, count, INGOT_POOLING_NONE, rows, all));
  ingot_reset(session);
  need(ingot_embed(session, tokens, count, INGOT_POOLING_MEAN, rows + all, width));
  ingot_reset(session);
  /* The beginning by another step: hidden states do not depend on it. */
  need(ingot_eval(session, tokens, count - 3));
  need(ingot_embed(session, tokens + count - 3, 3, INGOT_POOLING_LAST, rows + all + width, width));
  FILE *out = fopen(argv[2], "wb");
  if (!out || fwrite(rows, sizeof *rows, all + 2 * width, out) != all + 2 * width || fclose(out))
    return 1;
  ingot_session_destroy(session);
  return 0;
}
