/* A line to type in, on a terminal, that a model completes: its suggestion stands behind the
 * cursor, Tab takes it, Enter prints the line and begins another, Ctrl-D leaves.
 *
 * The text is one sequence of a session, which is evaluated as it grows; each suggestion is made in
 * another one, a copy, and ends where the next key arrives. */
#include "model.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

enum { kText = 2000, kSuggested = 8, kTokens = 1024, kTypedSequence = 0, kSuggestedSequence = 1 };

static ingot_session *session;
static struct termios before;
static char text[kText], suggestion[kText];
static size_t text_bytes, suggestion_bytes;

static void need(ingot_status status) {
  if (status == INGOT_OK || status == INGOT_INTERRUPTED)
    return;
  fprintf(stderr, "\r\nerror: %s\r\n", ingot_status_string(status));
  exit(1);
}

static void restore(void) { tcsetattr(STDIN_FILENO, TCSAFLUSH, &before); }

/* The line, the suggestion (dim, or between bars where NO_COLOR is set), the cursor between them.
 */
static void draw(void) {
  const char *no_color = getenv("NO_COLOR");
  const int plain = no_color && *no_color;
  printf("\r\x1b[K> %.*s\x1b[s%s%.*s%s\x1b[u", (int)text_bytes, text, plain ? "|" : "\x1b[2m",
         (int)suggestion_bytes, suggestion, plain ? "|" : "\x1b[0m");
  fflush(stdout);
}

static int key_waits(void) {
  struct pollfd input = {STDIN_FILENO, POLLIN, 0};
  return poll(&input, 1, 0) > 0;
}

/* Adds a token's text to the suggestion, which is one line. Not 0 ends it. */
static int32_t suggest(void *user, int32_t token, const char *bytes, size_t count) {
  (void)user, (void)token;
  for (size_t i = 0; i < count; ++i) {
    if ((unsigned char)bytes[i] < ' ' || text_bytes + suggestion_bytes + 1 >= kText)
      return 1;
    suggestion[suggestion_bytes++] = bytes[i];
  }
  draw();
  return key_waits();
}

/* Evaluates what of the text has not been, and suggests how it goes on. */
static void complete(void) {
  static int32_t tokens[kTokens] = {MODEL_TOKEN_BOS}; /* some models want that one first */
  int32_t count, common = 0, made;
  suggestion_bytes = 0;
  draw();
  need(ingot_tokenize(session, text, text_bytes, 0, tokens + MODEL_ADD_BOS, kTokens - MODEL_ADD_BOS,
                      &count));
  if (!count)
    return;
  count += MODEL_ADD_BOS;
  need(ingot_select(session, kTypedSequence));
  const int32_t *history = ingot_history(session);
  while (common < count - 1 && common < ingot_position(session) &&
         history[common] == tokens[common])
    ++common;
  need(ingot_truncate(session, common));
  need(ingot_eval(session, tokens + common, count - common));
  if (key_waits())
    return;
  need(ingot_fork(session, kTypedSequence, kSuggestedSequence));
  need(ingot_select(session, kSuggestedSequence));
  need(ingot_generate(session, kSuggested, suggest, NULL, &made));
}

int main(void) {
  ingot_session_options options = ingot_default_session_options();
  options.sequences = 2;
  need(ingot_session_create(&model_program, &options, &session));
  ingot_sampling sampling = ingot_default_sampling();
  sampling.temperature = 0;
  need(ingot_set_sampling(session, &sampling));
  if (tcgetattr(STDIN_FILENO, &before))
    return fputs("error: this wants a terminal\n", stderr), 1;
  atexit(restore);
  struct termios raw = before;
  raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
  tcsetattr(STDIN_FILENO, TCSAFLUSH, &raw);

  complete();
  for (unsigned char key; read(STDIN_FILENO, &key, 1) == 1 && key != 4; complete()) {
    if (key == '\t') {
      memcpy(text + text_bytes, suggestion, suggestion_bytes);
      text_bytes += suggestion_bytes;
    } else if (key == '\n') {
      suggestion_bytes = 0;
      draw();
      puts("");
      text_bytes = 0;
    } else if (key == 127) { /* backspace: a character of UTF-8 */
      while (text_bytes && (text[--text_bytes] & 0xc0) == 0x80) {
      }
    } else if (key >= ' ' && text_bytes + 1 < kText) {
      text[text_bytes++] = (char)key;
    }
  }
  suggestion_bytes = 0;
  draw();
  puts("");
  ingot_session_destroy(session);
  return 0;
}
