// From a conversation to token ids, by the program's chat table (Chat in runtime/manifest.fbs).
#pragma once

#include "runtime/core/session.h"

namespace ingot::runtime {

/// Collects token ids of template text, in which special tokens count, and of user text, in which
/// they do not: a user who types "<|im_end|>" sends these ten characters. Neighbouring plain texts
/// are tokenized together, so the ids are those of the whole rendered text.
struct Prompt {
  ingot_session *session;
  int32_t *tokens; ///< [capacity]
  int32_t capacity, count = 0;
  char *plain; ///< [plain_capacity] text that waits for the tokenizer
  size_t plain_capacity, plain_used = 0;
  ingot_status status = INGOT_OK; ///< the first thing that went wrong; later additions do nothing
  int64_t needed = 0;             ///< tokens, also those beyond the capacity

  void add_template(const flatbuffers::String *text);
  void add_text(const char *text, size_t bytes);
  void add_token(int32_t token);
  void finish_text();
};

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
