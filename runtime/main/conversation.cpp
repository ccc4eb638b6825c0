// Rendering of conversations (conversation.h).
#include "runtime/main/conversation.h"

#include <string.h>

namespace ingot::runtime {
namespace {

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/// What the template's `trim` leaves of a message (ASCII white space).
void add_message(Prompt *prompt, const char *text, size_t bytes, bool trim) {
  while (trim && bytes && is_space(text[bytes - 1]))
    --bytes;
  while (trim && bytes && is_space(*text)) {
    ++text;
    --bytes;
  }
  prompt->add_text(text, bytes);
}

} // namespace

void Prompt::add_template(const flatbuffers::String *text) {
  if (!text)
    return;
  const manifest::Tokenizer &tables = *session->manifest->tokenizer();
  const char *at = text->c_str(), *end = at + text->size();
  while (at < end) {
    int32_t found = -1;
    size_t length = 0;
    if (tables.special()) {
      for (int32_t id : *tables.special()) { // longest first
        const char *piece;
        const int32_t bytes = ingot_token_bytes(session, id, &piece);
        if (bytes > 0 && bytes <= end - at && !memcmp(piece, at, static_cast<size_t>(bytes))) {
          found = id;
          length = static_cast<size_t>(bytes);
          break;
        }
      }
    }
    if (found >= 0) {
      add_token(found);
      at += length;
    } else {
      add_text(at++, 1);
    }
  }
}

void Prompt::add_text(const char *text, size_t bytes) {
  if (status)
    return;
  if (bytes > plain_capacity - plain_used) {
    status = INGOT_TEXT_TOO_LONG;
    return;
  }
  memcpy(plain + plain_used, text, bytes);
  plain_used += bytes;
}

void Prompt::add_token(int32_t token) {
  finish_text();
  ++needed;
  if (status)
    return;
  if (count == capacity)
    status = INGOT_CONTEXT_FULL;
  else
    tokens[count++] = token;
}

void Prompt::finish_text() {
  if (!plain_used)
    return;
  int32_t made = 0;
  const ingot_status code =
      ingot_tokenize(session, plain, plain_used, 0, tokens + count, capacity - count, &made);
  plain_used = 0;
  needed += made > 0 ? made : 0;
  if (status)
    return;
  status = code == INGOT_BUFFER_TOO_SMALL ? INGOT_CONTEXT_FULL : code;
  if (!status)
    count += made;
}

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
      prompt->add_template(chat.begin_with_system());
      add_message(prompt, system, strlen(system), chat.trim_system());
      prompt->add_template(chat.end_system());
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
  prompt->add_template(chat.begin_user());
  add_message(prompt, user, bytes, chat.trim_user());
  prompt->add_template(chat.end_user());
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
