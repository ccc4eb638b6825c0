// Rendering of chat templates by the Jinja engine, in a process of its own with bounded memory and
// time: a template comes from a model file, and one instruction can ask for any amount of either.
#pragma once

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <string>
#include <vector>

namespace ingot {

struct ChatMessage {
  std::string role, content; ///< role: "system", "user" or "assistant"
};

struct Conversation {
  std::vector<ChatMessage> messages;
  bool generation_prompt = true; ///< what the template sees as `add_generation_prompt`
};

/// A template and what it may insert. All of it is UTF-8.
struct ChatTemplate {
  llvm::StringRef text;
  llvm::StringRef bos, eos;
  llvm::StringRef date = "2026-01-01"; ///< what `strftime_now` tells: programs must not depend on
                                       ///< the day they are compiled on
};

/// The text of one conversation, or why there is none.
struct Rendering {
  bool failed = false;
  std::string text;
};

/// Renders each conversation. A template that raises an error or exceeds its instructions, depth or
/// output gives a failed Rendering; one that exceeds memory or time, is too long or is not UTF-8
/// fails altogether.
llvm::Expected<std::vector<Rendering>>
renderConversations(const ChatTemplate &source, llvm::ArrayRef<Conversation> conversations);

} // namespace ingot
