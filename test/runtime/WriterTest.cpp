// Numbers, JSON, UTF-8 boundaries, streamed text and the .npy header.
#include "runtime/main/writer.h"
#include "runtime/main/command.h"
#include "runtime/main/stream.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <random>
#include <string>

using namespace ingot::runtime;

namespace {

template <typename Write> std::string written(Write write) {
  char buffer[512];
  Writer writer(buffer, sizeof buffer);
  write(writer);
  EXPECT_EQ(writer.error, 0);
  return std::string(buffer, writer.used);
}

TEST(Writer, Integers) {
  EXPECT_EQ(written([](Writer &w) { w.number(INT64_MIN); }), "-9223372036854775808");
  EXPECT_EQ(written([](Writer &w) { w.number(0).text(" ").number(-7); }), "0 -7");
  EXPECT_EQ(
      written([](Writer &w) { w.grouped(1234567).text(" ").grouped(999).text(" ").grouped(0); }),
      "1,234,567 999 0");
}

TEST(Writer, Reals) {
  auto real = [](double x) { return written([=](Writer &w) { w.real(x); }); };
  EXPECT_EQ(real(1e-5), "0.00001");
  EXPECT_EQ(real(100000.0), "100000");
  EXPECT_EQ(real(0.5), "0.5");
  EXPECT_EQ(real(-12.25), "-12.25");
  EXPECT_EQ(real(1e-6), "1e-6");
  EXPECT_EQ(real(1.5e300), "1.5e300");
  EXPECT_EQ(real(0), "0");
  EXPECT_EQ(real(NAN), "nan");
  EXPECT_EQ(real(-INFINITY), "-inf");
  std::mt19937_64 random(1); // NOLINT: the same numbers each time
  for (int i = 0; i < 2000; ++i) {
    const double x =
        std::ldexp(static_cast<double>(random()), static_cast<int>(random() % 200) - 160);
    EXPECT_NEAR(std::strtod(real(x).c_str(), nullptr) / x, 1, 1e-8) << real(x);
  }
}

TEST(Writer, Fixed) {
  auto fixed = [](double x, int n) { return written([=](Writer &w) { w.fixed(x, n); }); };
  EXPECT_EQ(fixed(3.14159, 2), "3.14");
  EXPECT_EQ(fixed(0.999, 2), "1.00");
  EXPECT_EQ(fixed(-0.05, 1), "-0.1");
  EXPECT_EQ(fixed(0.004, 3), "0.004");
  EXPECT_EQ(fixed(17, 0), "17");
  EXPECT_EQ(fixed(INFINITY, 1), "inf");
  EXPECT_EQ(fixed(1e30, 2), "1e30");
}

TEST(Writer, JsonStrings) {
  auto json = [](const std::string &text) {
    return written([&](Writer &w) { w.json_string(text.data(), text.size()); });
  };
  EXPECT_EQ(json("a\"b\\c\n\t\x01\x7f"), "\"a\\\"b\\\\c\\n\\t\\u0001\\u007f\"");
  EXPECT_EQ(json("\xc3\xa9\xf0\x9f\x98\x80"), "\"\xc3\xa9\xf0\x9f\x98\x80\"");
  EXPECT_EQ(json("\xff\xe2\x82"), "\"\\ufffd\\ufffd\\ufffd\"");
  EXPECT_EQ(json(std::string("\0", 1)), "\"\\u0000\"");
}

TEST(Writer, FullMemoryIsAnError) {
  char buffer[4];
  Writer writer(buffer, sizeof buffer);
  writer.text("abcdef");
  EXPECT_EQ(std::string(buffer, writer.used), "abcd");
  EXPECT_NE(writer.error, 0);
}

TEST(Utf8, Lengths) {
  auto length = [](const std::string &text) { return utf8_length(text.data(), text.size()); };
  EXPECT_EQ(length("a"), 1);
  EXPECT_EQ(length("\xc3\xa9"), 2);
  EXPECT_EQ(length("\xe2\x82\xac"), 3);
  EXPECT_EQ(length("\xf0\x9f\x98\x80"), 4);
  EXPECT_EQ(length("\xf0\x9f\x98"), 0);
  EXPECT_EQ(length("\xc3"), 0);
  for (const char *bad : {"\x80", "\xc0\x80", "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80",
                          "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xc3z"})
    EXPECT_EQ(length(bad), -1) << bad;
}

std::string streamed(const std::string &text, size_t piece, bool terminal, bool *always_complete) {
  char buffer[512];
  Writer writer(buffer, sizeof buffer);
  TextStream stream(&writer, terminal);
  for (size_t i = 0; i < text.size(); i += piece) {
    stream.add(text.data() + i, std::min(piece, text.size() - i));
    if (utf8_complete(buffer, writer.used) != writer.used)
      *always_complete = false;
  }
  stream.finish();
  return std::string(buffer, writer.used);
}

TEST(TextStream, KeepsEveryByteAndHoldsBackParts) {
  const std::string text = "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z\xe2\x82";
  for (size_t piece = 1; piece <= text.size(); ++piece) {
    bool complete = true;
    EXPECT_EQ(streamed(text, piece, false, &complete), text);
    EXPECT_TRUE(complete) << piece;
  }
}

TEST(TextStream, AnyBytesPassUnchanged) {
  std::mt19937 random(7); // NOLINT: the same numbers each time
  const unsigned char leads[] = {0x80, 0xc3, 0xe2, 0xf0, 0x9f, 0x98, 'a', 0xff, 0xed, 0xf4};
  for (int round = 0; round < 3000; ++round) {
    std::string text(1 + random() % 12, ' ');
    for (char &c : text)
      c = static_cast<char>(leads[random() % sizeof leads]);
    bool complete;
    EXPECT_EQ(streamed(text, 1 + random() % 3, false, &complete), text);
  }
}

TEST(TextStream, NoEscapeSequencesOnATerminal) {
  bool complete;
  EXPECT_EQ(streamed("a\x1b[2Jb\n\tc\r\x7f", 2, true, &complete), "a[2Jb\n\tc");
}

TEST(Npy, Header) {
  char out[128];
  const size_t length = npy_header(2000, 49152, out);
  EXPECT_EQ(length % 64, 0u);
  EXPECT_EQ(std::string(out, 8), std::string("\x93NUMPY\x01\x00", 8));
  EXPECT_EQ(static_cast<size_t>(static_cast<unsigned char>(out[8])) + 10, length);
  EXPECT_EQ(out[length - 1], '\n');
  EXPECT_EQ(std::string(out + 10, 69),
            "{'descr': '<f4', 'fortran_order': False, 'shape': (2000, 49152), }   ");
  EXPECT_LE(npy_header(INT32_MAX, INT32_MAX, out), sizeof out);
}

TEST(Perplexity, LossOfAToken) {
  const float logits[] = {1.0f, -2.0f, 3.5f, 0.25f};
  double sum = 0;
  for (float logit : logits)
    sum += std::exp(static_cast<double>(logit));
  for (int32_t i = 0; i < 4; ++i)
    EXPECT_NEAR(negative_log_likelihood(logits, 4, i), std::log(sum) - logits[i], 1e-12);
}

} // namespace
