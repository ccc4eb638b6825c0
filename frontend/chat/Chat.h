// Chat templates, lowered at compile time: a Jinja program becomes the few pieces of text that
// runtime/manifest.fbs (table Chat) describes, and is checked to be no more than that.
#pragma once

#include "frontend/chat/Jinja.h"

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <optional>
#include <string>
#include <vector>

namespace ingot {

struct ChatPieces {
  /// Absent where the template has no place for a system message, or puts it where the pieces
  /// cannot; `system_note` then says why.
  std::optional<std::string> begin_with_system, end_system;
  std::string system_note;
  std::string begin_without_system;
  std::string begin_user, end_user, begin_assistant, end_assistant, generation_prompt;
  /// The template removes white space from both ends of such messages.
  bool trim_system = false, trim_user = false, trim_assistant = false;
};

/// The text of a conversation, by the pieces: what a program makes of it. Messages alternate
/// between user and assistant, after at most one of the system; the last one is the user's.
std::string assemble(const ChatPieces &pieces, const std::vector<ChatMessage> &messages);

/// Finds the pieces and checks them against the template on a set of other conversations: 1 to 4
/// turns, with and without a system message, contents with spaces, line ends, braces and quotes.
/// Fails, with the reason, where the template is wrong or does more than put fixed texts around
/// messages. Not checked: contents that a template may look into, such as `</think>`.
llvm::Expected<ChatPieces> lowerChatTemplate(llvm::StringRef text, llvm::StringRef bos,
                                             llvm::StringRef eos);

} // namespace ingot
