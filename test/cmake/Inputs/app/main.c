/* Completes a text by the most likely tokens, with the first model (or the second: app TEXT 2). */
#include "other.h"
#include "tiny-model.h"

#include <stdio.h>
#include <string.h>

int main(int argc, char **argv) {
  if (argc == 1) {
    printf("%s of %s, context %d and %d, vocabulary %d, end %d\n", TINY_MODEL_MODEL_NAME,
           TINY_MODEL_ARCHITECTURE, TINY_MODEL_CONTEXT_LENGTH, OTHER_CONTEXT_LENGTH,
           TINY_MODEL_VOCAB_SIZE, TINY_MODEL_TOKEN_IM_END);
    return 0;
  }
  ingot_session_options options = ingot_default_session_options();
  ingot_session *session;
#ifdef TINY_MODEL_WEIGHTS_FILE
  ingot_weights *weights;
  if (ingot_weights_open(&tiny_model_program, NULL, /*verify=*/1, &weights)) {
    fputs("error: no " TINY_MODEL_WEIGHTS_FILE " beside the app\n", stderr);
    return 1;
  }
  options.weights = weights;
#endif
  ingot_status status =
      ingot_session_create(argc > 2 ? &other_program : &tiny_model_program, &options, &session);
  if (status) {
    fprintf(stderr, "error: %s\n", ingot_status_string(status));
    return 1;
  }
  ingot_sampling sampling = ingot_default_sampling();
  sampling.temperature = 0;
  ingot_set_sampling(session, &sampling);
  int32_t tokens[64], count, token;
  if (!(status = ingot_tokenize(session, argv[1], strlen(argv[1]), 0, tokens, 64, &count)))
    status = ingot_eval(session, tokens, count);
  for (int i = 0; i < 12 && !status; ++i) {
    if ((status = ingot_sample(session, &token)) || ingot_is_stop_token(session, token))
      break;
    const char *bytes;
    const int32_t length = ingot_token_bytes(session, token, &bytes);
    fwrite(bytes, 1, (size_t)length, stdout);
    status = ingot_eval(session, &token, 1);
  }
  putchar('\n');
  ingot_session_destroy(session);
  return status;
}
