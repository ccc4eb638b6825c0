// From messages to token ids, by the program's chat table (Chat in runtime/manifest.fbs).
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
  char *plain = nullptr; ///< [plain_capacity] text that waits for the tokenizer
  size_t plain_capacity = 0, plain_used = 0;
  ingot_status status = INGOT_OK; ///< the first thing that went wrong; later additions do nothing
  int64_t needed = 0;             ///< tokens, also those beyond the capacity

  void add_template(const flatbuffers::String *text);
  void add_text(const char *text, size_t bytes);
  /// A message between the template's texts around it; `trim`: without ASCII white space at its
  /// ends.
  void add_message(const flatbuffers::String *begin, const char *text, size_t bytes, bool trim,
                   const flatbuffers::String *end);
  void add_token(int32_t token);
  void finish_text();
};

/// An empty prompt in the session's own memory: one at a time.
Prompt prompt_of(ingot_session *session);

} // namespace ingot::runtime
