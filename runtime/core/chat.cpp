// Prompts (chat.h), and conversations as token ids.
#include "runtime/core/chat.h"

#include <string.h>

namespace ingot::runtime {
namespace {

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/// At most one message of the system, first; then the user's and answers by turns.
bool in_order(const ingot_message *messages, int32_t count) {
  const bool system = count && messages[0].role == INGOT_ROLE_SYSTEM;
  for (int32_t i = 0; i < count; ++i) {
    const ingot_role wanted = i == 0 && system        ? INGOT_ROLE_SYSTEM
                              : (i - system) % 2 == 0 ? INGOT_ROLE_USER
                                                      : INGOT_ROLE_ASSISTANT;
    if (messages[i].role != wanted || (!messages[i].text && messages[i].bytes))
      return false;
  }
  return count > system;
}

void render(Prompt *prompt, const ingot_message *messages, int32_t count) {
  const manifest::Chat &chat = *prompt->session->manifest->chat();
  const manifest::Tokenizer &tables = *prompt->session->manifest->tokenizer();
  if (messages[0].role != INGOT_ROLE_SYSTEM)
    prompt->add_template(chat.begin_without_system());
  for (int32_t i = 0; i < count; ++i) {
    const ingot_message &message = messages[i];
    auto add = [&](const flatbuffers::String *begin, bool trim, const flatbuffers::String *end) {
      prompt->add_message(begin, message.text, message.bytes, trim, end);
    };
    if (message.role == INGOT_ROLE_SYSTEM)
      add(chat.begin_with_system(), chat.trim_system(), chat.end_system());
    else if (message.role == INGOT_ROLE_USER)
      add(chat.begin_user(), chat.trim_user(), chat.end_user());
    else
      add(chat.begin_assistant(), chat.trim_assistant(), chat.end_assistant());
  }
  if (messages[count - 1].role == INGOT_ROLE_USER)
    prompt->add_template(chat.generation_prompt());
  prompt->finish_text();
  // Some templates spell the beginning-of-sequence token, others leave it to the tokenizer.
  if (prompt->status || !tables.add_bos() || (prompt->count && prompt->tokens[0] == tables.bos()))
    return;
  ++prompt->needed;
  if (prompt->count == prompt->capacity) {
    prompt->status = INGOT_CONTEXT_FULL;
    return;
  }
  memmove(prompt->tokens + 1, prompt->tokens,
          static_cast<size_t>(prompt->count++) * sizeof(int32_t));
  prompt->tokens[0] = tables.bos();
}

/// What can be said before anything is rendered.
ingot_status check(const ingot_session *session, const ingot_message *messages, int32_t count) {
  if (!session || !messages || count < 1)
    return INGOT_BAD_ARGUMENT;
  const manifest::Chat *chat = session->manifest->chat();
  if (!chat)
    return INGOT_NO_TEMPLATE;
  if (!in_order(messages, count))
    return INGOT_BAD_ARGUMENT;
  return messages[0].role == INGOT_ROLE_SYSTEM && !chat->begin_with_system() ? INGOT_NO_TEMPLATE
                                                                             : INGOT_OK;
}

} // namespace

Prompt prompt_of(ingot_session *session) {
  uint8_t *memory = session->memory + session->layout.begin(Region::prompt);
  const int32_t ids = session->program->context_length;
  Prompt prompt{session, reinterpret_cast<int32_t *>(memory), ids};
  prompt.plain = reinterpret_cast<char *>(prompt.tokens + ids);
  prompt.plain_capacity = session->max_text_bytes;
  return prompt;
}

void Prompt::add_message(const flatbuffers::String *begin, const char *text, size_t bytes,
                         bool trim, const flatbuffers::String *end) {
  add_template(begin);
  while (trim && bytes && is_space(text[bytes - 1]))
    --bytes;
  while (trim && bytes && is_space(*text)) {
    ++text;
    --bytes;
  }
  add_text(text, bytes);
  add_template(end);
}

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
  if (status && status != INGOT_CONTEXT_FULL) // what does not fit is still counted
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

} // namespace ingot::runtime

using namespace ingot::runtime;

ingot_status ingot_chat_tokens(ingot_session *session, const ingot_message *messages, int32_t count,
                               int32_t *tokens, int32_t capacity, int32_t *token_count) {
  if ((!tokens && capacity) || capacity < 0 || !token_count)
    return INGOT_BAD_ARGUMENT;
  *token_count = -1;
  if (const ingot_status status = check(session, messages, count))
    return status;
  Prompt prompt = prompt_of(session);
  prompt.tokens = tokens;
  prompt.capacity = capacity;
  render(&prompt, messages, count);
  if (prompt.status && prompt.status != INGOT_CONTEXT_FULL)
    return prompt.status;
  *token_count = static_cast<int32_t>(prompt.needed);
  return prompt.status ? INGOT_BUFFER_TOO_SMALL : INGOT_OK;
}

ingot_status ingot_chat_eval(ingot_session *session, const ingot_message *messages, int32_t count) {
  if (const ingot_status status = check(session, messages, count))
    return status;
  Prompt prompt = prompt_of(session);
  render(&prompt, messages, count);
  if (prompt.status)
    return prompt.status;
  const int32_t *history = ingot_history(session);
  const int32_t evaluated = ingot_position(session);
  int32_t common = 0;
  while (common < evaluated && common < prompt.count && history[common] == prompt.tokens[common])
    ++common;
  if (common == prompt.count && !(common == evaluated && ingot_logits(session)))
    --common; // whose logits are wanted
  if (common < evaluated)
    ingot_truncate(session, common);
  return ingot_eval(session, prompt.tokens + common, prompt.count - common);
}
