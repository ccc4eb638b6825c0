/* What a program of one's own sees on a processor below the model's floor. */
#include "ingot.h"

#include <stdio.h>

int main(void) {
  const ingot_session_options options = ingot_default_session_options();
  ingot_session *session;
  const ingot_status status = ingot_session_create(&ingot_main_program, &options, &session);
  printf("status %d, missing %s\n", status, ingot_missing_feature(&ingot_main_program));
  return status == INGOT_UNSUPPORTED_CPU && !session ? 0 : 1;
}
