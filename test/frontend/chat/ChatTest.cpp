// Templates in the styles that model files have: the pieces, and that they say what the template
// says.
#include "frontend/chat/Chat.h"

#include "gtest/gtest.h"

namespace ingot {
namespace {

const char *const chatml = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + "
                           "'\\n' + message['content'] + "
                           "'<|im_end|>' + '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ "
                           "'<|im_start|>assistant\\n' "
                           "}}{% endif %}";

// As ChatML, with a system message of its own where there is none (SmolLM2).
const char *const default_system =
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\\nBe helpful<|im_end|>\\n' }}{% endif %}{{'<|im_start|>' + "
    "message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

// The system message goes inside of the first question (Llama 2).
const char *const inst =
    "{% if messages[0]['role'] == 'system' %}{% set rest = messages[1:] %}"
    "{% set system = messages[0]['content'] %}{% else %}{% set rest = messages %}"
    "{% set system = false %}{% endif %}{% for message in rest %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}"
    "{% if loop.index0 == 0 and system != false %}"
    "{% set content = '<<SYS>>\\n' + system + '\\n<</SYS>>\\n\\n' + message['content'] %}"
    "{% else %}{% set content = message['content'] %}{% endif %}"
    "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
    "{% else %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}";

// System messages are refused, contents trimmed, the assistant is called "model" (Gemma).
const char *const no_system =
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}"
    "{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}"
    "{% set role = message['role'] %}{% endif %}{{ '<start_of_turn>' + role + '\\n' + "
    "message['content'] | trim + '<end_of_turn>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{'<start_of_turn>model\\n'}}{% endif %}";

const char *const headers =
    "{% set loop_messages = messages %}{% for message in loop_messages %}"
    "{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + "
    "message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}"
    "{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}"
    "{% endif %}";

// Lines and blocks as people write them: what trims around blocks matters (Zephyr).
const char *const lines = "{% for message in messages %}\n{% if message['role'] == 'user' %}\n"
                          "{{ '<|user|>\\n' + message['content'] + eos_token }}\n"
                          "{% elif message['role'] == 'system' %}\n"
                          "{{ '<|system|>\\n' + message['content'] + eos_token }}\n"
                          "{% elif message['role'] == 'assistant' %}\n"
                          "{{ '<|assistant|>\\n'  + message['content'] + eos_token }}\n"
                          "{% endif %}\n{% if loop.last and add_generation_prompt %}\n"
                          "{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}";

ChatPieces lowered(const char *text) {
  auto pieces = lowerChatTemplate(text, "<s>", "</s>");
  if (!pieces) {
    ADD_FAILURE() << llvm::toString(pieces.takeError());
    return {};
  }
  return *pieces;
}

std::string failure(llvm::StringRef text) {
  auto pieces = lowerChatTemplate(text, "<s>", "</s>");
  return pieces ? "no error" : llvm::toString(pieces.takeError());
}

const std::vector<ChatMessage> three_turns{{"user", "Hi"},
                                           {"assistant", "Hello."},
                                           {"user", "And?"},
                                           {"assistant", "So."},
                                           {"user", "Bye"}};

std::vector<ChatMessage> withSystem() {
  std::vector<ChatMessage> out{{"system", "Be brief"}};
  out.insert(out.end(), three_turns.begin(), three_turns.end());
  return out;
}

TEST(Chat, cutsChatMlWhereMessagesEnd) {
  const ChatPieces pieces = lowered(chatml);
  EXPECT_EQ(pieces.begin_without_system, "");
  EXPECT_EQ(pieces.begin_with_system, "<|im_start|>system\n");
  EXPECT_EQ(pieces.end_system, "<|im_end|>\n");
  EXPECT_EQ(pieces.begin_user, "<|im_start|>user\n");
  EXPECT_EQ(pieces.end_user, "<|im_end|>\n");
  EXPECT_EQ(pieces.begin_assistant, "<|im_start|>assistant\n");
  EXPECT_EQ(pieces.end_assistant, "<|im_end|>\n");
  EXPECT_EQ(pieces.generation_prompt, "<|im_start|>assistant\n");
  EXPECT_FALSE(pieces.trim_system || pieces.trim_user || pieces.trim_assistant);
}

TEST(Chat, keepsTheSystemMessageOfTheTemplate) {
  const ChatPieces pieces = lowered(default_system);
  EXPECT_EQ(pieces.begin_without_system, "<|im_start|>system\nBe helpful<|im_end|>\n");
  EXPECT_EQ(pieces.begin_with_system, "<|im_start|>system\n");
  EXPECT_EQ(assemble(pieces, {{"user", "Hi"}}),
            "<|im_start|>system\nBe helpful<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
            "<|im_start|>assistant\n");
}

TEST(Chat, putsTheSystemMessageIntoTheFirstQuestion) {
  const ChatPieces pieces = lowered(inst);
  EXPECT_EQ(assemble(pieces, withSystem()),
            "<s>[INST] <<SYS>>\nBe brief\n<</SYS>>\n\nHi [/INST] Hello. </s><s>[INST] And? [/INST] "
            "So. </s><s>[INST] Bye [/INST]");
  EXPECT_EQ(assemble(pieces, three_turns),
            "<s>[INST] Hi [/INST] Hello. </s><s>[INST] And? [/INST] So. </s><s>[INST] Bye [/INST]");
  EXPECT_EQ(pieces.generation_prompt, "");
  EXPECT_EQ(pieces.begin_assistant, " ");
  EXPECT_TRUE(pieces.trim_assistant);
}

TEST(Chat, leavesOutASystemMessageThatTheTemplateRefuses) {
  const ChatPieces pieces = lowered(no_system);
  EXPECT_FALSE(pieces.begin_with_system || pieces.end_system);
  EXPECT_NE(pieces.system_note.find("System role not supported"), std::string::npos)
      << pieces.system_note;
  EXPECT_EQ(pieces.begin_without_system, "<s>");
  EXPECT_EQ(pieces.begin_assistant, "<start_of_turn>model\n");
  EXPECT_TRUE(pieces.trim_user && pieces.trim_assistant);
  EXPECT_EQ(assemble(pieces, {{"user", "  Hi\n"}}),
            "<s><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n");
}

TEST(Chat, keepsWhatOnlyTheFirstMessageHas) {
  const ChatPieces pieces = lowered(headers);
  EXPECT_EQ(pieces.begin_without_system, "<s>");
  EXPECT_EQ(pieces.begin_with_system, "<s><|start_header_id|>system<|end_header_id|>\n\n");
  EXPECT_EQ(pieces.begin_user, "<|start_header_id|>user<|end_header_id|>\n\n");
  EXPECT_TRUE(pieces.trim_system && pieces.trim_user && pieces.trim_assistant);
}

TEST(Chat, trimsLinesAroundBlocksAsModelsAreTrained) {
  EXPECT_EQ(assemble(lowered(lines), withSystem()),
            "<|system|>\nBe brief</s>\n<|user|>\nHi</s>\n<|assistant|>\nHello.</s>\n"
            "<|user|>\nAnd?</s>\n<|assistant|>\nSo.</s>\n<|user|>\nBye</s>\n<|assistant|>\n");
}

TEST(Chat, generationPromptMayDifferFromAnAnswersOpening) {
  const ChatPieces pieces =
      lowered("{% for m in messages %}<{{ m.role }}>{{ m.content }}</>{% endfor %}"
              "{% if add_generation_prompt %}<assistant><think>{% endif %}");
  EXPECT_EQ(pieces.begin_assistant, "<assistant>");
  EXPECT_EQ(pieces.generation_prompt, "<assistant><think>");
}

TEST(Chat, toolsAreNoneAndJsonIsWrittenAsPythonDoes) {
  EXPECT_EQ(lowered("{% if tools is not none %}T{% endif %}{{ {'a': [1, '<&']} | tojson }}"
                    "{% for m in messages %}{{ m.content }}|{% endfor %}")
                .begin_without_system,
            "{\"a\": [1, \"<&\"]}");
}

TEST(Chat, readsTemplatesAsJinjaDoes) {
  const std::string end = "{% for m in messages %}{{ m.content }}|{% endfor %}";
  auto opening = [&](const std::string &text) {
    return lowered((text + end).c_str()).begin_without_system;
  };
  EXPECT_EQ(opening("{% if tools is iterable %}yes{% else %}no{% endif %}"), "no");
  EXPECT_EQ(opening("{% if messages is iterable and 'a' is iterable %}yes{% endif %}"), "yes");
  // In texts, a backslash joins lines; elsewhere it is a character.
  EXPECT_EQ(opening("{{ 'one\\\ntwo' }}"), "onetwo");
  EXPECT_EQ(opening("{{ 'it\\'s\\\\' }}\\\n'\\\nx"), "it's\\\\\n'\\\nx");
  EXPECT_EQ(
      opening("{% for i in range(9) %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}"),
      "01");
}

TEST(Chat, theDateIsFixed) {
  EXPECT_EQ(lowered("{{ strftime_now('%A %d %b %Y %H:%M %%') }} "
                    "{% for m in messages %}{{ m.content }}|{% endfor %}")
                .begin_without_system,
            "Thursday 01 Jan 2026 00:00 % ");
}

TEST(Chat, systemMessageInTheLastQuestionIsNoPlaceForIt) {
  const ChatPieces pieces = lowered(
      "{% if messages[0].role == 'system' %}{% set s = messages[0].content %}"
      "{% set rest = messages[1:] %}{% else %}{% set rest = messages %}{% endif %}"
      "{% for m in rest %}[{% if loop.last and s is defined %}{{ s }}: {% endif %}{{ m.content }}]"
      "{% endfor %}");
  EXPECT_FALSE(pieces.begin_with_system);
  EXPECT_NE(pieces.system_note, "");
  EXPECT_EQ(assemble(pieces, three_turns), "[Hi][Hello.][And?][So.][Bye]");
}

TEST(Chat, refusesTemplatesThatDoMoreThanPutTextAroundMessages) {
  EXPECT_NE(failure("{% for m in messages %}{{ m.content | upper }}{% endfor %}").find("unchanged"),
            std::string::npos);
  EXPECT_NE(
      failure("{% for m in messages %}{{ m.content }}{{ m.content }}{% endfor %}").find("once"),
      std::string::npos);
  EXPECT_NE(failure("{{ messages[-1].content }}").find("once"), std::string::npos);
  EXPECT_NE(failure("{% for m in messages %}{{ m.content }};{% endfor %}{{ messages | length }}")
                .find("others come before it"),
            std::string::npos);
  EXPECT_NE(failure("{% for m in messages %}{{ loop.index }}:{{ m.content }};{% endfor %}")
                .find("more than put fixed texts"),
            std::string::npos);
  EXPECT_NE(failure("{% for m in messages %}[{{ m.content | replace('{', '') }}]{% endfor %}")
                .find("more than put fixed texts"),
            std::string::npos);
  EXPECT_NE(failure("{% for m in messages %}[{{ m.content.lstrip() }}]{% endfor %}")
                .find("more than put fixed texts"),
            std::string::npos);
  EXPECT_NE(failure("no messages").find("once"), std::string::npos);
  EXPECT_NE(failure("").find("once"), std::string::npos);
}

TEST(Chat, differenceIsFoundInLaterTurns) {
  EXPECT_NE(failure("{% for m in messages %}[{{ m.content }}]{% if loop.index == 5 %}!{% endif %}"
                    "{% endfor %}")
                .find("more than put fixed texts"),
            std::string::npos);
}

} // namespace
} // namespace ingot
