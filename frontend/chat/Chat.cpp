// How the pieces of a template are found and checked (Chat.h).
//
// A few conversations whose contents are easy to find again show what the template puts around
// messages. Where one piece ends and the next begins is then seen from what the template writes
// without a generation prompt; where that does not fit, the earlier piece gets all of it.
#include "frontend/chat/Chat.h"

#include "support/Error.h"

#include "llvm/ADT/StringExtras.h"

namespace ingot {
namespace {

constexpr size_t max_piece_bytes = 1 << 16;
const char *const padded = " \n padded\ttext \r\n";

llvm::Error templateError(const llvm::Twine &message) {
  return inputError("", "chat template", message);
}

/// `text` from a little before `from`, on one line, for an error.
std::string shown(llvm::StringRef text, size_t from) {
  std::string out = "'";
  llvm::raw_string_ostream(out).write_escaped(
      text.drop_front(std::min(text.size(), from - std::min<size_t>(from, 16))).take_front(48))
      << "'";
  return out;
}

/// Conversations to learn from, in the order that Lowering::learn reads them.
struct Lessons {
  const ChatMessage u1{"user", "Qfirstquestionq"}, a1{"assistant", "Qfirstanswerq"},
      u2{"user", "Qsecondquestionq"}, s{"system", "Qsystemmessageq"};
  const Conversation question{{u1}}, turns{{u1, a1, u2}}, with_system{{s, u1, a1, u2}};
  const Conversation open_question{{u1}, false}, open_answer{{u1, a1}, false};
  const Conversation padded_user{{{"user", padded}}},
      padded_assistant{{u1, {"assistant", padded}, u2}}, padded_system{{{"system", padded}, u1}};
};

/// Conversations that the pieces are checked on.
std::vector<Conversation> checks(bool system) {
  const std::vector<std::string> contents{
      "What is 2 + 2?",
      "Four.\n\nBecause {{ two }} and {% two %} make four. {# really #}",
      "x",
      "A \"quoted\" <word>, it's 'here' \\ & an emoji \xF0\x9F\x99\x82 and a\ttab",
      padded,
      "  indented\n    code { }\n",
      "Bye"};
  std::vector<Conversation> out;
  for (size_t turns = 1; turns <= 4; ++turns)
    for (size_t shift = 0; shift < contents.size(); ++shift) {
      Conversation &conversation = out.emplace_back();
      auto add = [&](const char *role) {
        auto &messages = conversation.messages;
        messages.push_back({role, contents[(messages.size() + shift) % contents.size()]});
      };
      if (system)
        add("system");
      for (size_t turn = 0; turn < turns; ++turn) {
        if (turn)
          add("assistant");
        add("user");
      }
    }
  return out;
}

using Texts = std::vector<std::string>;

/// What stands around each content of a conversation: one more text than there are contents.
llvm::Expected<Texts> around(const Rendering &rendering, const Conversation &conversation) {
  if (rendering.failed)
    return templateError(rendering.text);
  Texts out;
  llvm::StringRef rest = rendering.text;
  for (const ChatMessage &message : conversation.messages) {
    const size_t at = rest.find(message.content);
    if (at == llvm::StringRef::npos || llvm::StringRef(rendering.text).count(message.content) != 1)
      return templateError("does not render the text of each message once, unchanged and in order "
                           "(the " +
                           message.role + "'s)");
    out.push_back(rest.take_front(at).str());
    rest = rest.drop_front(at + message.content.size());
  }
  out.push_back(rest.str());
  return out;
}

class Lowering {
public:
  explicit Lowering(const ChatTemplate &source) : source(source) {}

  llvm::Expected<ChatPieces> run() {
    if (llvm::Error error = learn())
      return error;
    if (llvm::Error error = check(checks(false)))
      return error;
    if (pieces.begin_with_system)
      if (llvm::Error error = check(trimmed(checks(true))))
        refuseSystem(std::move(error));
    for (const std::string &piece :
         {pieces.begin_without_system, pieces.begin_user, pieces.end_user, pieces.begin_assistant,
          pieces.end_assistant, pieces.generation_prompt, pieces.begin_with_system.value_or(""),
          pieces.end_system.value_or("")}) {
      if (llvm::StringRef(piece).contains('\0'))
        return templateError("writes a NUL character");
      if (piece.size() > max_piece_bytes)
        return templateError("writes " + grouped(piece.size()) + " bytes between two messages");
    }
    return pieces;
  }

private:
  llvm::Error learn() {
    const Lessons lessons;
    const std::vector<Conversation> all{
        lessons.question,    lessons.turns,       lessons.with_system,      lessons.open_question,
        lessons.open_answer, lessons.padded_user, lessons.padded_assistant, lessons.padded_system};
    auto rendered = renderConversations(source, all);
    if (!rendered)
      return rendered.takeError();
    const auto &r = *rendered;

    auto question = around(r[0], lessons.question);
    if (!question)
      return question.takeError();
    auto turns = around(r[1], lessons.turns);
    if (!turns)
      return turns.takeError();
    // opening | U | ending, and in between U | to_answer | A | to_question | U
    opening = (*turns)[0];
    to_answer = (*turns)[1];
    to_question = (*turns)[2];
    ending = (*turns)[3];
    if ((*question)[0] != opening || (*question)[1] != ending)
      return templateError("writes something else around a message when others come before it");
    if (llvm::Error error = learnSystem(around(r[2], lessons.with_system)))
      refuseSystem(std::move(error));
    split(around(r[3], lessons.open_question), around(r[4], lessons.open_answer));

    if (llvm::Error error = learnTrim(r[5], lessons.padded_user, pieces.trim_user))
      return error;
    if (llvm::Error error = learnTrim(r[6], lessons.padded_assistant, pieces.trim_assistant))
      return error;
    if (pieces.begin_with_system)
      if (llvm::Error error = learnTrim(r[7], lessons.padded_system, pieces.trim_system))
        refuseSystem(std::move(error));
    return llvm::Error::success();
  }

  llvm::Error learnSystem(llvm::Expected<Texts> texts) {
    if (!texts)
      return texts.takeError();
    if ((*texts)[2] != to_answer || (*texts)[3] != to_question || (*texts)[4] != ending)
      return templateError("does not write a system message before all others");
    pieces.begin_with_system = (*texts)[0];
    pieces.end_system = (*texts)[1]; // and begin_user
    return llvm::Error::success();
  }

  /// Chooses where one piece ends and the next begins. Any choice that adds up is right; this one
  /// is the template's own where it shows it.
  void split(llvm::Expected<Texts> open_question, llvm::Expected<Texts> open_answer) {
    if (open_question) {
      const std::string &end = open_question->back();
      if (llvm::StringRef(ending).starts_with(end) && llvm::StringRef(to_answer).starts_with(end))
        pieces.end_user = end;
    }
    pieces.generation_prompt = ending.substr(pieces.end_user.size());
    pieces.begin_assistant = to_answer.substr(pieces.end_user.size());

    pieces.end_assistant = to_question;
    if (open_answer && llvm::StringRef(to_question).starts_with(open_answer->back())) {
      const llvm::StringRef begin =
          llvm::StringRef(to_question).drop_front(open_answer->back().size());
      if (llvm::StringRef(opening).ends_with(begin) &&
          (!pieces.end_system || llvm::StringRef(*pieces.end_system).ends_with(begin))) {
        pieces.end_assistant = open_answer->back();
        pieces.begin_user = begin.str();
      }
    }
    pieces.begin_without_system = opening.substr(0, opening.size() - pieces.begin_user.size());
    if (pieces.end_system)
      pieces.end_system->resize(pieces.end_system->size() - pieces.begin_user.size());
    llvm::consumeError(open_question.takeError());
    llvm::consumeError(open_answer.takeError());
  }

  llvm::Error learnTrim(const Rendering &rendering, const Conversation &conversation, bool &trim) {
    if (rendering.failed)
      return templateError(rendering.text);
    for (bool tried : {false, true}) {
      trim = tried;
      if (assemble(pieces, conversation.messages) == rendering.text)
        return llvm::Error::success();
    }
    return differs(rendering.text, conversation);
  }

  llvm::Error check(const std::vector<Conversation> &conversations) {
    auto rendered = renderConversations(source, conversations);
    if (!rendered)
      return rendered.takeError();
    for (size_t i = 0; i < conversations.size(); ++i) {
      const Rendering &rendering = (*rendered)[i];
      if (rendering.failed)
        return templateError(rendering.text);
      if (assemble(pieces, conversations[i].messages) != rendering.text)
        return differs(rendering.text, conversations[i]);
    }
    return llvm::Error::success();
  }

  llvm::Error differs(const std::string &wanted, const Conversation &conversation) {
    const std::string made = assemble(pieces, conversation.messages);
    size_t at = 0;
    while (at < made.size() && at < wanted.size() && made[at] == wanted[at])
      ++at;
    return templateError("does more than put fixed texts around messages: of " +
                         llvm::Twine(conversation.messages.size()) + " it makes " +
                         shown(wanted, at) + ", not " + shown(made, at));
  }

  /// As programs give messages to a template that trims them. Some trim a question together with
  /// the system message that they put before it, and so not its front.
  std::vector<Conversation> trimmed(std::vector<Conversation> conversations) {
    for (Conversation &conversation : conversations)
      for (ChatMessage &message : conversation.messages)
        if (message.role == "system" ? pieces.trim_system
            : message.role == "user" ? pieces.trim_user
                                     : pieces.trim_assistant)
          message.content = llvm::StringRef(message.content).trim().str();
    return conversations;
  }

  void refuseSystem(llvm::Error reason) {
    pieces.begin_with_system.reset();
    pieces.end_system.reset();
    pieces.trim_system = false;
    pieces.system_note = llvm::toString(std::move(reason));
  }

  const ChatTemplate &source;
  ChatPieces pieces;
  std::string opening, to_answer, to_question, ending;
};

} // namespace

std::string assemble(const ChatPieces &pieces, const std::vector<ChatMessage> &messages) {
  std::string out;
  if (messages.empty() || messages[0].role != "system")
    out = pieces.begin_without_system;
  auto add = [&](llvm::StringRef begin, llvm::StringRef content, llvm::StringRef end, bool trim) {
    out += begin;
    out += trim ? content.trim() : content;
    out += end;
  };
  for (const ChatMessage &message : messages) {
    if (message.role == "system")
      add(pieces.begin_with_system.value_or(""), message.content, pieces.end_system.value_or(""),
          pieces.trim_system);
    else if (message.role == "user")
      add(pieces.begin_user, message.content, pieces.end_user, pieces.trim_user);
    else
      add(pieces.begin_assistant, message.content, pieces.end_assistant, pieces.trim_assistant);
  }
  return out + pieces.generation_prompt;
}

llvm::Expected<ChatPieces> lowerChatTemplate(llvm::StringRef text, llvm::StringRef bos,
                                             llvm::StringRef eos) {
  return Lowering({text, bos, eos}).run();
}

} // namespace ingot
