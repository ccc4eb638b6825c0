// Chat templates, lowered at compile time: a Jinja program becomes the few pieces of text that
// runtime/manifest.fbs (table Chat) describes, and is checked to be no more than that.
#pragma once

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <optional>
#include <string>
#include <vector>

namespace ingot {

struct ChatPieces {
  /// Absent where the template has no place for a system message.
  std::optional<std::string> begin_with_system, end_system;
  std::string begin_without_system;
  std::string begin_user, end_user, begin_assistant, end_assistant, generation_prompt;
};

struct ChatMessage {
  std::string role, content; ///< "system", "user" or "assistant"
};

/// The text of a conversation, by the pieces.
std::string assemble(const ChatPieces &pieces, const std::vector<ChatMessage> &messages);

/// Renders the template itself, with a generation prompt. The template is not trusted: instructions,
/// depth and output are bounded.
llvm::Expected<std::string> renderChatTemplate(llvm::StringRef text,
                                               const std::vector<ChatMessage> &messages,
                                               llvm::StringRef bos, llvm::StringRef eos);

/// Finds the pieces and checks them against the template on a set of other conversations. Fails, with
/// the reason, where the template is wrong or does more than put pieces around messages.
llvm::Expected<ChatPieces> lowerChatTemplate(llvm::StringRef text, llvm::StringRef bos,
                                             llvm::StringRef eos);

} // namespace ingot
