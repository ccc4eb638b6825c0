// A conversation that goes on in a session, as the command-line program has it.
#pragma once

#include "runtime/core/chat.h"

namespace ingot::runtime {

/// One conversation in a session. Every turn is evaluated once; an answer stays in the context as
/// it was generated, also where the template would trim it.
struct Conversation {
  ingot_session *session;
  const char *system = nullptr;
  bool started = false;
  int32_t answer_begin = 0;     ///< position after the generation prompt
  int32_t generation_begin = 0; ///< position before it

  /// Evaluates what comes before the answer to `user`. After INGOT_CONTEXT_FULL and
  /// INGOT_INTERRUPTED the conversation is as it was; prompt->needed says how many tokens there
  /// were.
  ingot_status ask(Prompt *prompt, const char *user, size_t bytes);
  void reset();
};

} // namespace ingot::runtime
