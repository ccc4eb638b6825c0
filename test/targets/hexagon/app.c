/* An app's side on the DSP: a model that is linked into it, asked through the C API. There is no C
   library; what it says goes to the system. */
#include "model.h"

static void say(const char *bytes, int32_t length) {
  register int32_t r0 asm("r0") = 1;
  register const char *r1 asm("r1") = bytes;
  register int32_t r2 asm("r2") = length, r6 asm("r6") = 64;
  asm volatile("trap0(#1)" : "+r"(r0) : "r"(r1), "r"(r2), "r"(r6) : "memory");
}

/* What would be the DSP's vector memory. Where it begins and how much it is does not matter. */
static char near[300001];

int main(int argc, char **argv) {
  const char *text = argc > 1 ? argv[1] : "";
  int32_t length = 0, tokens[64], count;
  while (text[length])
    ++length;
  ingot_session_options options = ingot_default_session_options();
  const ingot_near_memory lent = {near + 3, sizeof near - 3};
  options.near_memory = &lent;
  ingot_session *session;
  if (ingot_session_create(&model_program, &options, &session) != INGOT_OK)
    return 1;
  ingot_sampling sampling = ingot_default_sampling();
  sampling.temperature = 0;
  ingot_set_sampling(session, &sampling);
  if (ingot_tokenize(session, text, (size_t)length, 0, tokens, 64, &count) != INGOT_OK ||
      ingot_eval(session, tokens, count) != INGOT_OK)
    return 2;
  for (int32_t i = 0; i < 12; ++i) {
    int32_t token;
    const char *bytes;
    if (ingot_sample(session, &token) != INGOT_OK)
      return 3;
    if (ingot_is_stop_token(session, token))
      break;
    length = ingot_token_bytes(session, token, &bytes);
    say(bytes, length);
    if (ingot_eval(session, &token, 1) != INGOT_OK)
      return 4;
  }
  say("\n", 1);
  ingot_session_destroy(session);
  int used = 0;
  for (size_t i = 0; i < sizeof near; ++i)
    used |= near[i];
  return used ? 0 : 5;
}
