// Answers: -p, and the conversation on a terminal.
#include "runtime/main/command.h"
#include "runtime/main/conversation.h"
#include "runtime/main/stream.h"

#include "runtime/platform/host.h"

#include <string.h>

namespace ingot::runtime {
namespace {

constexpr int out_file = 1, in_file = 0;
constexpr uint64_t max_line_bytes = 1u << 20;
constexpr uint64_t template_bytes = 64u << 10; // more than any template's fixed texts

ingot_session *answering = nullptr; ///< what Ctrl-C stops

void interrupt_answer() { ingot_interrupt(answering); }

bool is_control(const ingot_session *session, int32_t token) {
  const auto *kinds = session->manifest->tokenizer()->token_kind();
  return kinds && static_cast<uint32_t>(token) < kinds->size() &&
         kinds->Get(static_cast<uint32_t>(token)) == 3;
}

/// Samples and prints until a stop token, the limit (-1: none), a full context or Ctrl-C. With
/// `keep` every printed token is also evaluated, so that a conversation can go on from there.
ingot_status generate(Command &command, int32_t limit, bool keep) {
  ingot_session *session = command.session;
  TextStream stream(&command.out, platform::is_terminal(out_file));
  ingot_status status = INGOT_OK;
  for (int32_t made = 0; limit < 0 || made < limit; ++made) {
    if (ingot_interrupted(session)) {
      status = INGOT_INTERRUPTED;
      break;
    }
    int32_t token = -1;
    status = ingot_sample(session, &token);
    if (status || ingot_is_stop_token(session, token))
      break;
    if (!is_control(session, token) || command.options->special) {
      const char *piece;
      const int32_t length = ingot_token_bytes(session, token, &piece);
      stream.add(piece, static_cast<size_t>(length));
      command.out.flush();
    }
    if ((!keep && made + 1 == limit) || command.out.error)
      break;
    status = ingot_eval(session, &token, 1);
    if (status)
      break;
  }
  stream.finish();
  command.out.text("\n").flush();
  return status;
}

/// What there is to say after an answer. Returns an exit code.
int after_answer(Command &command, ingot_status status, bool conversation) {
  if (status == INGOT_OK || (status == INGOT_INTERRUPTED && conversation))
    return exit_ok;
  if (status == INGOT_INTERRUPTED)
    return exit_interrupt;
  if (status == INGOT_CONTEXT_FULL) {
    command.errors.text("note: the answer stops here: the context of ")
        .grouped(static_cast<uint64_t>(command.program->context_length))
        .text(" tokens is full")
        .text(conversation ? "; /reset starts over\n" : "\n")
        .flush();
    return exit_ok;
  }
  return fail(command, "answer", status);
}

int too_long(Command &command, int64_t needed) {
  char text[160];
  Writer detail(text, sizeof text - 1);
  detail.text("the prompt has ")
      .grouped(static_cast<uint64_t>(needed))
      .text(" tokens, and ")
      .grouped(
          static_cast<uint64_t>(command.program->context_length - ingot_position(command.session)))
      .text(" are left in the context");
  text[detail.used] = 0;
  return fail(command, nullptr, text, "shorten the text, or compile with a larger --context");
}

int no_chat(Command &command) {
  const auto *note = command.session->manifest->chat_note();
  return fail(command, "this model has no chat template",
              note && note->size() ? note->c_str() : "its file has none",
              "--raw continues a text as it is");
}

/// Evaluates TEXT without a template, from an empty context.
ingot_status ask_raw(Command &command, Prompt *prompt, const char *text, size_t bytes) {
  ingot_session *session = command.session;
  const manifest::Tokenizer &tables = *session->manifest->tokenizer();
  ingot_reset(session);
  if (tables.add_bos())
    prompt->add_token(tables.bos());
  int32_t made = 0;
  ingot_status status =
      ingot_tokenize(session, text, bytes, command.options->special, prompt->tokens + prompt->count,
                     prompt->capacity - prompt->count, &made);
  if (made > 0)
    prompt->needed += made;
  if (status == INGOT_BUFFER_TOO_SMALL)
    return INGOT_CONTEXT_FULL;
  if (status)
    return status;
  prompt->count += made;
  return ingot_eval(session, prompt->tokens, prompt->count);
}

void say(Command &command, const char *text) { command.out.text(text).flush(); }

/// Carries out a line that starts with '/'. Returns false for /exit.
bool run_slash(Command &command, Conversation &conversation, const char *line, size_t bytes) {
  auto is = [&](const char *name) { return bytes == strlen(name) && !memcmp(line, name, bytes); };
  if (is("/exit") || is("/quit"))
    return false;
  if (is("/reset")) {
    conversation.reset();
    say(command, "The conversation starts over.\n");
  } else if (is("/help")) {
    say(command, "/reset  forget the conversation\n/exit   leave (also Ctrl-D)\n"
                 "/help   this list\nCtrl-C  stop the answer\n");
  } else {
    command.out.text("unknown command ").bytes(line, bytes).text("; /help lists them\n").flush();
  }
  return true;
}

} // namespace

int run_prompt(Command &command) {
  const Options &options = *command.options;
  const char *text = "";
  uint64_t bytes = 0;
  if (int code = read_input(command, options.text, false, &text, &bytes))
    return code;
  const uint64_t system_bytes = options.system ? strlen(options.system) : 0;
  if (int code = open_session(command, bytes + system_bytes + template_bytes))
    return code;
  ingot_session *session = command.session;
  if (!options.raw && !session->manifest->chat())
    return no_chat(command);
  Prompt prompt = prompt_of(session);
  ingot_set_sampling(session, &options.sampling);
  answering = session;
  platform::on_interrupt(interrupt_answer);

  Conversation conversation{session, options.system};
  const ingot_status status =
      options.raw ? ask_raw(command, &prompt, text, bytes) : conversation.ask(&prompt, text, bytes);
  if (status == INGOT_CONTEXT_FULL)
    return too_long(command, prompt.needed);
  if (status == INGOT_INTERRUPTED)
    return exit_interrupt;
  if (status)
    return fail(command, "prompt", status);
  if (!ingot_logits(session))
    return fail(command, "prompt", "there is nothing to continue", "give -p a text");
  return after_answer(command, generate(command, options.count, false), false);
}

int run_chat(Command &command) {
  const Options &options = *command.options;
  const uint64_t system_bytes = options.system ? strlen(options.system) : 0;
  if (int code = open_session(command, max_line_bytes + system_bytes + template_bytes))
    return code;
  ingot_session *session = command.session;
  if (!options.raw && !session->manifest->chat())
    return no_chat(command);
  auto *line = static_cast<char *>(platform::map_memory(max_line_bytes));
  if (!line)
    return fail(command, "cannot start", INGOT_NO_MEMORY);
  ingot_set_sampling(session, &options.sampling);
  answering = session;
  platform::on_interrupt(interrupt_answer);

  const bool terminal = platform::is_terminal(in_file) && platform::is_terminal(out_file);
  if (terminal) {
    const auto *name = session->manifest->model()->name();
    command.out.text(name && name->size() ? name->c_str() : "model")
        .text(", context ")
        .grouped(static_cast<uint64_t>(command.program->context_length))
        .text(" tokens, ")
        .number(session->pool.threads)
        .text(session->pool.threads == 1 ? " thread" : " threads")
        .text(". /help lists the commands, Ctrl-D leaves.\n");
  }
  Conversation conversation{session, options.system};
  size_t used = 0;
  for (bool more = true;;) {
    // A line is in line[0 .. length); the rest of what has been read follows it.
    const char *newline = static_cast<const char *>(memchr(line, '\n', used));
    if (!newline && more) {
      if (terminal && !used)
        say(command, "> ");
      if (used == max_line_bytes)
        return fail(command, "standard input", "a line is longer than 1 MiB");
      size_t count;
      const int code = platform::read_some(in_file, line + used, max_line_bytes - used, &count);
      if (code == platform::interrupted) { // Ctrl-C at the prompt throws the line away
        ingot_clear_interrupt(session);
        used = 0;
        if (terminal)
          say(command, "\n");
        continue;
      }
      if (code)
        return fail(command, "standard input", platform::error_text(code));
      more = count != 0;
      used += count;
      continue;
    }
    if (!newline && !used) {
      if (terminal)
        say(command, "\n");
      return exit_ok;
    }
    size_t length = newline ? static_cast<size_t>(newline - line) : used;
    const size_t consumed = length + (newline ? 1 : 0);
    while (length && (line[length - 1] == '\r' || line[length - 1] == ' '))
      --length;
    ingot_clear_interrupt(session);
    if (length && line[0] == '/') {
      if (!run_slash(command, conversation, line, length))
        return exit_ok;
    } else if (length) {
      Prompt prompt = prompt_of(session);
      const ingot_status status = options.raw ? ask_raw(command, &prompt, line, length)
                                              : conversation.ask(&prompt, line, length);
      if (status == INGOT_CONTEXT_FULL) {
        too_long(command, prompt.needed);
        command.errors.text("help: /reset starts over\n").flush();
      } else if (status == INGOT_INTERRUPTED) {
        say(command, "\n");
      } else if (status) {
        return fail(command, "prompt", status);
      } else if (int code =
                     after_answer(command, generate(command, options.count, !options.raw), true)) {
        return code;
      }
    }
    if (command.out.error)
      return fail(command, "standard output", platform::error_text(command.out.error));
    memmove(line, line + consumed, used - consumed);
    used -= consumed;
  }
}

} // namespace ingot::runtime
