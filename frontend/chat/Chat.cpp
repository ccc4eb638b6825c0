#include "frontend/chat/Chat.h"

#include "support/Error.h"

#include "llvm/Support/JSON.h"

extern "C" {
// frontend/chat/jinja/src/lib.rs
char *ingot_jinja_render(const char *tmpl, size_t tmpl_bytes, const char *messages,
                         size_t messages_bytes, const char *bos, size_t bos_bytes, const char *eos,
                         size_t eos_bytes, int32_t *failed, size_t *bytes);
void ingot_jinja_free(char *data, size_t bytes);
}

namespace ingot {
namespace {

constexpr size_t max_template_bytes = 1 << 18;

llvm::Error templateError(const llvm::Twine &message) {
  return inputError("", "chat template", message);
}

/// What stands around each content of a conversation: one more text than there are contents.
llvm::Expected<std::vector<std::string>> around(llvm::StringRef text,
                                                const std::vector<ChatMessage> &messages,
                                                llvm::StringRef bos, llvm::StringRef eos) {
  auto rendered = renderChatTemplate(text, messages, bos, eos);
  if (!rendered)
    return rendered.takeError();
  std::vector<std::string> pieces;
  llvm::StringRef rest = *rendered;
  for (const ChatMessage &message : messages) {
    const size_t at = rest.find(message.content);
    if (at == llvm::StringRef::npos || rest.count(message.content) != 1)
      return templateError("a message's content does not appear exactly once, in order");
    pieces.push_back(rest.take_front(at).str());
    rest = rest.drop_front(at + message.content.size());
  }
  pieces.push_back(rest.str());
  return pieces;
}

size_t commonPrefix(llvm::StringRef a, llvm::StringRef b) {
  size_t n = 0;
  while (n < a.size() && n < b.size() && a[n] == b[n])
    ++n;
  return n;
}

size_t commonSuffix(llvm::StringRef a, llvm::StringRef b) {
  size_t n = 0;
  while (n < a.size() && n < b.size() && a[a.size() - 1 - n] == b[b.size() - 1 - n])
    ++n;
  return n;
}

/// How much of the front closes a message: a token such as `<|im_end|>` and the white space behind it.
/// Where a text could be cut in several places, this is the cut that people would make.
size_t closingLength(llvm::StringRef text, llvm::StringRef eos) {
  size_t n = 0;
  if (!eos.empty() && text.starts_with(eos))
    n = eos.size();
  else if (text.starts_with("<") && text.contains('>'))
    n = text.find('>') + 1;
  while (n && n < text.size() && (text[n] == '\n' || text[n] == ' '))
    ++n;
  return n;
}

class Lowering {
public:
  Lowering(llvm::StringRef text, llvm::StringRef bos, llvm::StringRef eos)
      : text(text), bos(bos), eos(eos) {}

  llvm::Expected<ChatPieces> run() {
    const ChatMessage u1{"user", "FIRSTQUESTION"}, a1{"assistant", "FIRSTANSWER"},
        u2{"user", "SECONDQUESTION"}, system{"system", "SYSTEMMESSAGE"};
    auto one = around(text, {u1}, bos, eos);
    if (!one)
      return one.takeError();
    auto two = around(text, {u1, a1, u2}, bos, eos);
    if (!two)
      return two.takeError();
    ChatPieces pieces;
    splitTurns((*one)[0], (*one)[1], (*two)[1], (*two)[2], pieces);

    // A template may refuse system messages; then there is no place for them.
    auto with_system = around(text, {system, u1}, bos, eos);
    if (with_system && llvm::StringRef((*with_system)[1]).ends_with(pieces.begin_user)) {
      pieces.begin_with_system = (*with_system)[0];
      pieces.end_system =
          (*with_system)[1].substr(0, (*with_system)[1].size() - pieces.begin_user.size());
    }
    if (!with_system)
      llvm::consumeError(with_system.takeError());
    if (llvm::Error error = check(pieces))
      return error;
    return pieces;
  }

private:
  /// opening | U | ending, and between turns: U | to_answer | A | to_question | U.
  void splitTurns(llvm::StringRef opening, llvm::StringRef ending, llvm::StringRef to_answer,
                  llvm::StringRef to_question, ChatPieces &pieces) {
    const size_t same = commonPrefix(ending, to_answer);
    const size_t close = std::min(same, closingLength(ending, eos));
    const size_t user_end = close ? close : same;
    pieces.end_user = ending.take_front(user_end).str();
    pieces.generation_prompt = ending.drop_front(user_end).str();
    pieces.begin_assistant = to_answer.drop_front(user_end).str();

    const size_t shared = commonSuffix(opening, to_question);
    const size_t answer_end =
        std::max(to_question.size() - shared, closingLength(to_question, eos));
    pieces.end_assistant = to_question.take_front(answer_end).str();
    pieces.begin_user = to_question.drop_front(answer_end).str();
    pieces.begin_without_system = opening.drop_back(pieces.begin_user.size()).str();
  }

  llvm::Error check(const ChatPieces &pieces) {
    const std::vector<std::string> contents{
        "What is 2 + 2?", "Four.\n\nBecause {{ two }} and {% two %} make four.", "x",
        "A \"quoted\" <word>, an emoji \xF0\x9F\x99\x82 and a\ttab", "Bye"};
    for (bool system : {false, true}) {
      if (system && !pieces.begin_with_system)
        continue;
      for (size_t turns = 1; turns <= 4; ++turns)
        for (size_t shift = 0; shift < contents.size(); ++shift) {
          std::vector<ChatMessage> messages;
          auto add = [&](const char *role) {
            messages.push_back({role, contents[(messages.size() + shift) % contents.size()]});
          };
          if (system)
            add("system");
          for (size_t turn = 0; turn < turns; ++turn) {
            if (turn)
              add("assistant");
            add("user");
          }
          auto wanted = renderChatTemplate(text, messages, bos, eos);
          if (!wanted)
            return wanted.takeError();
          if (*wanted != assemble(pieces, messages))
            return templateError("does more than put fixed texts around messages, which is not "
                                 "supported (it differs in a conversation of " +
                                 llvm::Twine(messages.size()) + " messages)");
        }
    }
    return llvm::Error::success();
  }

  llvm::StringRef text, bos, eos;
};

} // namespace

std::string assemble(const ChatPieces &pieces, const std::vector<ChatMessage> &messages) {
  std::string out;
  if (messages.empty() || messages[0].role != "system")
    out = pieces.begin_without_system;
  for (const ChatMessage &message : messages) {
    if (message.role == "system")
      out += pieces.begin_with_system.value_or("") + message.content +
             pieces.end_system.value_or("");
    else if (message.role == "user")
      out += pieces.begin_user + message.content + pieces.end_user;
    else
      out += pieces.begin_assistant + message.content + pieces.end_assistant;
  }
  return out + pieces.generation_prompt;
}

llvm::Expected<std::string> renderChatTemplate(llvm::StringRef text,
                                               const std::vector<ChatMessage> &messages,
                                               llvm::StringRef bos, llvm::StringRef eos) {
  if (text.size() > max_template_bytes)
    return templateError("has " + grouped(text.size()) + " bytes, at most " +
                         grouped(max_template_bytes) + " are supported");
  llvm::json::Array list;
  for (const ChatMessage &message : messages)
    list.push_back(llvm::json::Object{{"role", message.role}, {"content", message.content}});
  std::string json;
  llvm::raw_string_ostream(json) << llvm::json::Value(std::move(list));
  int32_t failed = 0;
  size_t bytes = 0;
  char *data = ingot_jinja_render(text.data(), text.size(), json.data(), json.size(), bos.data(),
                                  bos.size(), eos.data(), eos.size(), &failed, &bytes);
  std::string result(data, bytes);
  ingot_jinja_free(data, bytes);
  if (failed)
    return templateError(result);
  return result;
}

llvm::Expected<ChatPieces> lowerChatTemplate(llvm::StringRef text, llvm::StringRef bos,
                                             llvm::StringRef eos) {
  return Lowering(text, bos, eos).run();
}

} // namespace ingot
