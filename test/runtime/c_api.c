/* The public API from plain C, in a program with a main of its own. */
#include "runtime/include/ingot.h"

#include <unistd.h>

static int fail(ingot_status status) {
  const char *text = ingot_status_string(status);
  size_t length = 0;
  while (text[length])
    ++length;
  return write(2, text, length) < 0 || status;
}

int main(void) {
  ingot_session_options options = ingot_default_session_options();
  options.threads = 2;
  ingot_session *session;
  ingot_status status = ingot_session_create(&ingot_main_program, &options, &session);
  if (status)
    return fail(status);
  ingot_sampling sampling = ingot_default_sampling();
  sampling.temperature = 0;
  int32_t tokens[16], count, token;
  if ((status = ingot_set_sampling(session, &sampling)) ||
      (status = ingot_tokenize(session, "abcu", 4, 0, tokens, 16, &count)) ||
      (status = ingot_eval(session, tokens, count)))
    return fail(status);
  while (!(status = ingot_sample(session, &token)) && !ingot_is_stop_token(session, token)) {
    const char *bytes;
    const int32_t length = ingot_token_bytes(session, token, &bytes);
    if (write(1, bytes, (size_t)length) != length)
      return 1;
    if ((status = ingot_eval(session, &token, 1)))
      break;
  }
  ingot_session_destroy(session);
  return status ? fail(status) : 0;
}
