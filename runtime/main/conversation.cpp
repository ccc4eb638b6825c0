// Rendering of conversations (conversation.h).
#include "runtime/main/conversation.h"

#include <string.h>

namespace ingot::runtime {

ingot_status Conversation::ask(Prompt *prompt, const char *user, size_t bytes) {
  const manifest::Chat &chat = *session->manifest->chat();
  const manifest::Tokenizer &tables = *session->manifest->tokenizer();
  const int32_t before = ingot_position(session);
  int32_t base = before;
  auto text_of = [](const flatbuffers::String *text) { return text ? text->c_str() : ""; };
  const bool same_opening =
      !strcmp(text_of(chat.generation_prompt()), text_of(chat.begin_assistant()));
  if (!started) {
    if (system) {
      prompt->add_message(chat.begin_with_system(), system, strlen(system), chat.trim_system(),
                          chat.end_system());
    } else {
      prompt->add_template(chat.begin_without_system());
    }
  } else if (same_opening) {
    prompt->add_template(chat.end_assistant()); // its answer is in the cache as it was generated
  } else {
    base = generation_begin;
    prompt->add_template(chat.begin_assistant());
    for (int32_t i = answer_begin; i < before; ++i)
      prompt->add_token(ingot_history(session)[i]);
    prompt->add_template(chat.end_assistant());
  }
  prompt->add_message(chat.begin_user(), user, bytes, chat.trim_user(), chat.end_user());
  int32_t opening = 0;
  if (!same_opening) {
    prompt->finish_text();
    opening = prompt->count;
  }
  prompt->add_template(chat.generation_prompt());
  prompt->finish_text();
  if (prompt->status)
    return prompt->status;
  // Some templates spell the beginning-of-sequence token, others leave it to the tokenizer.
  int32_t bos = started || !tables.add_bos() ? -1 : tables.bos();
  if (prompt->count && prompt->tokens[0] == bos)
    bos = -1;
  const int32_t added = prompt->count + (bos >= 0);
  if (added > session->program->context_length - base)
    return INGOT_CONTEXT_FULL;

  if (base != before)
    ingot_truncate(session, base);
  ingot_status status = bos >= 0 ? ingot_eval(session, &bos, 1) : INGOT_OK;
  if (!status)
    status = ingot_eval(session, prompt->tokens, prompt->count);
  if (status) {
    // Back to where we were; an answer that had to be evaluated again is lost with its turn.
    ingot_truncate(session, base);
    if (base != before)
      reset();
    return status;
  }
  started = true;
  generation_begin = base + (bos >= 0) + opening;
  answer_begin = ingot_position(session);
  return INGOT_OK;
}

void Conversation::reset() {
  ingot_reset(session);
  started = false;
}

} // namespace ingot::runtime
