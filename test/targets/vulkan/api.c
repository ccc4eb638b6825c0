/* A session on a device: text, sequences that are copied and evaluated together; what it cannot do.
 */
#include "ingot.h"

#include <stdio.h>
#include <string.h>

extern const ingot_program ingot_main_program;

#define CHECK(call, wanted)                                                                        \
  do {                                                                                             \
    const ingot_status status_ = (call);                                                           \
    if (status_ != (wanted))                                                                       \
      return printf("line %d: %s\n", __LINE__, ingot_status_string(status_)), 1;                   \
  } while (0)

int main(void) {
  char problem[INGOT_PROBLEM_BYTES];
  ingot_session_options options = ingot_default_session_options();
  options.sequences = 2;
  options.problem = problem;
  options.isa = "vulkan";
  ingot_session *session;
  if (ingot_session_create(&ingot_main_program, &options, &session))
    return printf("no session: %s\n", problem), 1;
  int32_t tokens[32], count;
  CHECK(ingot_tokenize(session, "hello", 5, 0, tokens, 32, &count), INGOT_OK);
  CHECK(ingot_eval(session, tokens, count), INGOT_OK);
  CHECK(ingot_fork(session, 0, 1), INGOT_OK);
  const int32_t both[] = {0, 1}, next[] = {tokens[0], tokens[0]};
  CHECK(ingot_eval_batch(session, both, next, 2), INGOT_OK);
  if (memcmp(ingot_batch_logits(session, 0), ingot_batch_logits(session, 1),
             (size_t)ingot_vocab_size(session) * sizeof(float)))
    return printf("a copied sequence differs\n"), 1;

  static float room[1 << 16];
  size_t bytes;
  CHECK(ingot_save(session, room, sizeof room, &bytes), INGOT_NOT_ON_DEVICES);
  CHECK(ingot_restore(session, room, sizeof room), INGOT_NOT_ON_DEVICES);
  CHECK(ingot_embed(session, tokens, count, INGOT_POOLING_LAST, room, 1 << 16),
        INGOT_NOT_ON_DEVICES);
  if (ingot_position(session) != count + 1)
    return printf("a refused call changed the session\n"), 1;
  printf("%s\n", ingot_status_string(INGOT_NOT_ON_DEVICES));
  ingot_session_destroy(session);
  return 0;
}
