// Templates that are wrong or hostile: each is an error with its reason, within bounds.
#include "frontend/chat/Chat.h"

#include "gtest/gtest.h"

#include <filesystem>
#include <fstream>

namespace ingot {
namespace {

std::string failure(llvm::StringRef text, llvm::StringRef bos = "<s>") {
  auto pieces = lowerChatTemplate(text, bos, "</s>");
  return pieces ? "no error" : llvm::toString(pieces.takeError());
}

#define EXPECT_FAILS(text, reason)                                                                 \
  do {                                                                                             \
    const std::string got = failure(text);                                                         \
    EXPECT_NE(got.find(reason), std::string::npos) << got;                                         \
    EXPECT_NE(got.find("chat template"), std::string::npos) << got;                                \
  } while (false)

const std::string body = "{% for m in messages %}[{{ m.content }}]{% endfor %}";

TEST(ChatLimits, syntaxErrors) {
  EXPECT_FAILS("{% for m in messages %}", "syntax error");
  EXPECT_FAILS("{{ 'open", "syntax error");
  EXPECT_FAILS("{% nonsense %}", "syntax error");
  EXPECT_FAILS("{{ messages[0].content.nonsense() }}", "unknown method");
}

TEST(ChatLimits, errorsThatTemplatesRaise) {
  EXPECT_FAILS("{{ raise_exception('only on Sundays') }}", "only on Sundays");
  EXPECT_FAILS("{{ strftime_now('%Q') }}", "'%Q' is not supported");
}

TEST(ChatLimits, instructions) {
  EXPECT_FAILS("{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
               "fuel");
  EXPECT_FAILS("{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}", "recursion");
}

TEST(ChatLimits, hugeRange) {
  EXPECT_FAILS("{% for i in range(1000000000000) %}x{% endfor %}", "range");
}

TEST(ChatLimits, output) {
  EXPECT_FAILS("{% for i in range(9999) %}{{ 'x' * 1000 }}{% endfor %}", "write");
  EXPECT_FAILS("{{ 'x' * 70000 }}" + body, "between two messages");
}

// Doubling a text takes one instruction each time.
TEST(ChatLimits, memory) {
  EXPECT_FAILS("{% set ns = namespace(x='xxxxxxxxxxxxxxxx') %}{% for i in range(60) %}"
               "{% set ns.x = ns.x ~ ns.x %}{% endfor %}" +
                   body,
               "memory");
}

// One instruction that reads a long text, many times: within the bounds of all but time.
TEST(ChatLimits, time) {
  EXPECT_FAILS("{% set ns = namespace(x='xxxxxxxxxxxxxxxx') %}{% for i in range(21) %}"
               "{% set ns.x = ns.x ~ ns.x %}{% endfor %}{% for i in range(90000) %}"
               "{% if 'xy' in ns.x %}{% endif %}{% endfor %}" +
                   body,
               "seconds");
}

TEST(ChatLimits, depth) {
  const std::string open(100000, '('), deep(50000, '[');
  EXPECT_NE(failure("{{ " + open + " }}"), "no error");
  EXPECT_NE(failure("{{ " + deep + " }}"), "no error");
  std::string blocks;
  for (int i = 0; i < 20000; ++i)
    blocks += "{% if 1 %}";
  EXPECT_NE(failure(blocks), "no error");
  std::string unary = "{{ ";
  for (int i = 0; i < 60000; ++i)
    unary += "not ";
  EXPECT_NE(failure(unary + "1 }}"), "no error");
}

TEST(ChatLimits, sizeAndBytes) {
  EXPECT_FAILS(std::string(300000, ' ') + body, "300,052 bytes");
  EXPECT_FAILS("\xff\xfe" + body, "UTF-8");
  EXPECT_NE(failure("{{ bos_token }}" + body, "\xff").find("UTF-8"), std::string::npos);
  EXPECT_FAILS(std::string(1, '\0') + body, "NUL");
}

TEST(ChatLimits, noFiles) {
  const auto path = std::filesystem::temp_directory_path() / "ingot_chat_included.txt";
  std::ofstream(path) << "secret";
  for (const char *form : {"{% include '", "{% extends '", "{% import '"}) {
    const std::string ending = std::string(form) == "{% import '" ? "' as x %}" : "' %}";
    EXPECT_NE(failure(form + path.string() + ending + body), "no error") << form;
  }
  std::filesystem::remove(path);
}

} // namespace
} // namespace ingot
