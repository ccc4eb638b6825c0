/* No function of ingot.h uses the heap once a session is there: this program's malloc and its kin
 * stop the program between the session's creation and its end. (glibc: what the C library itself
 * would take is caught, too.)
 *
 * usage: heap [trap]   (trap: takes memory there, to see that it is caught) */
#include "ingot.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern const ingot_program ingot_main_program;
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t),
    *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

static volatile int armed;

static void caught(const char *name) {
  if (!armed)
    return;
  static const char said[] = "the heap is used: ";
  if (write(2, said, sizeof said - 1) < 0 || write(2, name, strlen(name)) < 0 ||
      write(2, "\n", 1) < 0)
    abort();
  _exit(3);
}

void *malloc(size_t bytes) { return caught("malloc"), __libc_malloc(bytes); }
void *calloc(size_t count, size_t bytes) { return caught("calloc"), __libc_calloc(count, bytes); }
void *realloc(void *old, size_t bytes) { return caught("realloc"), __libc_realloc(old, bytes); }
void free(void *memory) { caught("free"), __libc_free(memory); }
void *memalign(size_t unit, size_t bytes) {
  return caught("memalign"), __libc_memalign(unit, bytes);
}
void *aligned_alloc(size_t unit, size_t bytes) {
  return caught("aligned_alloc"), __libc_memalign(unit, bytes);
}
int posix_memalign(void **memory, size_t unit, size_t bytes) {
  caught("posix_memalign");
  return (*memory = __libc_memalign(unit, bytes)) ? 0 : ENOMEM;
}

enum { kRoom = 256 };

static int32_t on_token(void *user, int32_t token, const char *bytes, size_t count) {
  (void)token, (void)bytes, (void)count;
  return ++*(int32_t *)user == 3;
}
static int32_t on_rows(void *user, int32_t first, int32_t rows, const float *logits,
                       int32_t stride) {
  (void)user, (void)first, (void)rows, (void)logits, (void)stride;
  return 0;
}

#define CHECK(call, wanted)                                                                        \
  do {                                                                                             \
    const ingot_status status_ = (call);                                                           \
    if (status_ != (wanted))                                                                       \
      return line = __LINE__, status_ ? status_ : INGOT_BAD_ARGUMENT;                              \
  } while (0)

static int line;

static ingot_status use(ingot_session *session, void *room, size_t room_bytes) {
  int32_t tokens[kRoom], count, answered = 0;
  char text[kRoom];
  size_t bytes;
  ingot_model_info info;
  CHECK(ingot_model_info_of(&ingot_main_program, &info), INGOT_OK);
  ingot_sampling sampling = ingot_default_sampling();
  CHECK(ingot_set_sampling(session, &sampling), INGOT_OK);
  CHECK(ingot_tokenize(session, "hello, heap", 11, 0, tokens, kRoom, &count), INGOT_OK);
  CHECK(ingot_detokenize(session, tokens, count, text, kRoom, &bytes), INGOT_OK);
  CHECK(ingot_eval(session, tokens, count), INGOT_OK);
  CHECK(ingot_eval(session, tokens, 1), INGOT_OK);
  CHECK(ingot_eval_all(session, tokens, count, on_rows, NULL), INGOT_OK);
  sampling.temperature = 0;
  CHECK(ingot_set_sampling(session, &sampling), INGOT_OK);
  const ingot_status generated = ingot_generate(session, 8, on_token, &answered, &count);
  CHECK(generated, generated == INGOT_OK ? INGOT_OK : INGOT_INTERRUPTED);
  CHECK(ingot_fork(session, 0, 1), INGOT_OK);
  const int32_t both[] = {0, 1}, next[] = {tokens[0], tokens[1]};
  CHECK(ingot_eval_batch(session, both, next, 2), INGOT_OK);
  CHECK(ingot_save(session, room, room_bytes, &bytes), INGOT_OK);
  CHECK(ingot_restore(session, room, bytes), INGOT_OK);
  if (info.has_embeddings) {
    CHECK(ingot_embed(session, tokens, 2, INGOT_POOLING_MEAN, room, room_bytes / sizeof(float)),
          INGOT_OK);
  }
  CHECK(ingot_select(session, 1), INGOT_OK);
  CHECK(ingot_truncate(session, 1), INGOT_OK);
  ingot_reset(session);
  if (info.has_chat_template) {
    const ingot_message message = {INGOT_ROLE_USER, "hello", 5};
    CHECK(ingot_chat_tokens(session, &message, 1, tokens, kRoom, &count), INGOT_OK);
    CHECK(ingot_chat_eval(session, &message, 1), INGOT_OK);
  }
  ingot_interrupt(session);
  CHECK(ingot_eval(session, tokens, 1), INGOT_INTERRUPTED);
  ingot_clear_interrupt(session);
  return INGOT_OK;
}

int main(int argc, char **argv) {
  (void)argv;
  static _Alignas(float) char room[8 << 20];
  ingot_session_options options = ingot_default_session_options();
  options.threads = 2;
  options.sequences = 2;
  ingot_session *session;
  ingot_status status = ingot_session_create(&ingot_main_program, &options, &session);
  if (!status) {
    armed = 1;
    if (argc > 1)
      free(malloc(1));
    status = use(session, room, sizeof room);
    armed = 0;
    ingot_session_destroy(session);
  }
  if (status)
    return printf("line %d: %s\n", line, ingot_status_string(status)), 1;
  printf("without the heap\n");
  return 0;
}
