/* A chat with a model that is linked into this program: reads lines, answers each. */
#include "model.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { kMessages = 64, kLine = 4096, kAnswer = 512 };

static ingot_session *session;

static void stop(int number) { (void)number, ingot_interrupt(session); } /* Ctrl-C ends an answer */

static void need(ingot_status status) {
  if (status == INGOT_OK || status == INGOT_INTERRUPTED)
    return;
  fprintf(stderr, "error: %s\n", ingot_status_string(status));
  exit(1);
}

static int32_t print(void *user, int32_t token, const char *bytes, size_t count) {
  (void)user, (void)token;
  return fwrite(bytes, 1, count, stdout) != count || fflush(stdout);
}

int main(int argc, char **argv) {
  const ingot_session_options options = ingot_default_session_options();
  need(ingot_session_create(&model_program, &options, &session));
  ingot_sampling sampling = ingot_default_sampling();
  sampling.temperature = 0; /* the same answer every time */
  need(ingot_set_sampling(session, &sampling));
  signal(SIGINT, stop);

  ingot_message messages[kMessages + 1];
  int32_t count = 0;
  if (argc > 1)
    messages[count++] = (ingot_message){INGOT_ROLE_SYSTEM, argv[1], strlen(argv[1])};
  for (char line[kLine]; count < kMessages && fputs("> ", stdout) >= 0 && !fflush(stdout) &&
                         fgets(line, sizeof line, stdin);) {
    line[strcspn(line, "\n")] = 0;
    messages[count++] = (ingot_message){INGOT_ROLE_USER, strdup(line), strlen(line)};
    ingot_clear_interrupt(session);
    need(ingot_chat_eval(session, messages, count)); /* evaluates what is new of the conversation */
    const int32_t begin = ingot_position(session);
    int32_t tokens;
    need(ingot_generate(session, kAnswer, print, NULL, &tokens));
    puts("");
    size_t bytes;
    char *answer = malloc(64 * kAnswer);
    need(ingot_detokenize(session, ingot_history(session) + begin, tokens, answer, 64 * kAnswer,
                          &bytes));
    messages[count++] = (ingot_message){INGOT_ROLE_ASSISTANT, answer, bytes};
  }
  ingot_session_destroy(session);
}
