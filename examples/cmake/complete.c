/* Completes a text with a model that is linked into this program, through Ingot's C API.
 * CMakeLists.txt beside this file compiles the model and this program. By hand:
 *
 *   ingot compile model.gguf --emit object -o model.o --symbol model_program --header model.h
 *   clang-22 -I RUNTIME/include -I . complete.c model.o libingot_runtime.a -lm -pthread -o complete
 *   ./complete "The capital of France is"
 */
#include "model.h"

#include <stdio.h>
#include <string.h>

enum { kMaxTokens = 512, kNewTokens = 16 };

static int fail(const char *what, ingot_status status) {
  fprintf(stderr, "error: %s: %s\n", what, ingot_status_string(status));
  return 1;
}

int main(int argc, char **argv) {
  const char *text = argc > 1 ? argv[1] : "The capital of France is";

  ingot_session_options options = ingot_default_session_options();
  ingot_session *session;
  ingot_status status = ingot_session_create(&model_program, &options, &session);
  if (status != INGOT_OK)
    return fail("starting", status);

  ingot_sampling sampling = ingot_default_sampling();
  sampling.temperature = 0; /* the most likely token, so every run prints the same */
  ingot_set_sampling(session, &sampling);

  int32_t tokens[kMaxTokens] = {MODEL_TOKEN_BOS}, count; /* some models want that one first */
  status = ingot_tokenize(session, text, strlen(text), /*parse_special=*/0, tokens + MODEL_ADD_BOS,
                          kMaxTokens - MODEL_ADD_BOS, &count);
  if (status == INGOT_OK)
    status = ingot_eval(session, tokens, MODEL_ADD_BOS + count);
  if (status != INGOT_OK)
    return fail("reading the text", status);

  for (int i = 0; i < kNewTokens; ++i) {
    int32_t token;
    if ((status = ingot_sample(session, &token)) != INGOT_OK)
      return fail("sampling", status);
    if (ingot_is_stop_token(session, token))
      break;
    const char *bytes;
    int32_t length = ingot_token_bytes(session, token, &bytes);
    fwrite(bytes, 1, (size_t)length, stdout);
    fflush(stdout);
    if ((status = ingot_eval(session, &token, 1)) != INGOT_OK)
      return fail("evaluating", status);
  }
  putchar('\n');
  ingot_session_destroy(session);
  return 0;
}
