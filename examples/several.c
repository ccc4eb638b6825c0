/* Completes several texts side by side: each step takes one token of every text and reads the
 * model's weights once for all of them.
 *
 *   ingot compile model.gguf --emit object -o model.o
 *   clang-22 -I RUNTIME/include several.c model.o libingot_runtime.a -lm -pthread -o several
 *   ./several "The capital of France is" "The capital of Italy is"
 */
#include "ingot.h"

#include <stdio.h>
#include <string.h>

enum { kMaxTexts = 16, kMaxTokens = 512, kNewTokens = 16, kMaxBytes = 4096 };

static int fail(const char *what, ingot_status status) {
  fprintf(stderr, "error: %s: %s\n", what, ingot_status_string(status));
  return 1;
}

int main(int argc, char **argv) {
  const int32_t texts = argc - 1;
  if (texts < 1 || texts > kMaxTexts) {
    fprintf(stderr, "error: give 1 to %d texts\nhelp: several TEXT TEXT ...\n", kMaxTexts);
    return 2;
  }

  ingot_session_options options = ingot_default_session_options();
  options.sequences = texts; /* a KV cache for each */
  ingot_session *session;
  ingot_status status = ingot_session_create(&ingot_main_program, &options, &session);
  if (status != INGOT_OK)
    return fail("starting", status);

  ingot_sampling sampling = ingot_default_sampling();
  sampling.temperature = 0; /* the most likely token, so every run prints the same */
  ingot_set_sampling(session, &sampling);

  ingot_model_info info;
  ingot_model_info_of(&ingot_main_program, &info);
  const int32_t first = info.add_bos ? 1 : 0; /* some models want a token before a text */

  /* The texts themselves, one after another: a text's tokens are evaluated together anyway. */
  int32_t live[kMaxTexts], count = texts;
  for (int32_t i = 0; i < texts; ++i) {
    int32_t tokens[kMaxTokens] = {info.bos_token}, length;
    const char *text = argv[1 + i];
    live[i] = i;
    ingot_select(session, i);
    status = ingot_tokenize(session, text, strlen(text), /*parse_special=*/0, tokens + first,
                            kMaxTokens - first, &length);
    if (status == INGOT_OK)
      status = ingot_eval(session, tokens, first + length);
    if (status != INGOT_OK)
      return fail(text, status);
  }

  char answers[kMaxTexts][kMaxBytes];
  size_t used[kMaxTexts] = {0};
  for (int step = 0; step < kNewTokens && count; ++step) {
    int32_t tokens[kMaxTexts], going = 0;
    for (int32_t i = 0; i < count; ++i) {
      const int32_t text = live[i];
      int32_t token;
      ingot_select(session, text);
      if ((status = ingot_sample(session, &token)) != INGOT_OK)
        return fail("sampling", status);
      const char *bytes;
      const size_t length = (size_t)ingot_token_bytes(session, token, &bytes);
      if (ingot_is_stop_token(session, token) || used[text] + length > kMaxBytes)
        continue; /* this text is done, the others go on */
      memcpy(answers[text] + used[text], bytes, length);
      used[text] += length;
      live[going] = text;
      tokens[going++] = token;
    }
    count = going;
    if ((status = ingot_eval_batch(session, live, tokens, count)) != INGOT_OK)
      return fail("evaluating", status);
  }
  for (int32_t i = 0; i < texts; ++i)
    printf("%s%.*s\n", argv[1 + i], (int)used[i], answers[i]);
  ingot_session_destroy(session);
  return 0;
}
