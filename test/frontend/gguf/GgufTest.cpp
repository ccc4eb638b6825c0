// The GGUF reader: what it finds in good files, and what it says about every kind of bad one. Each
// file is built here byte by byte, so that any single number in it can be a lie.
#include "frontend/gguf/Gguf.h"

#include "support/Error.h"

#include "llvm/Support/FileSystem.h"
#include "llvm/Support/raw_ostream.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

namespace ingot {
namespace {

constexpr uint32_t f32_type = 0, q4_1_type = 3, q4_k_type = 12;

/// Bytes of a GGUF file, in the order the format has them.
class Bytes {
public:
  template <typename T> Bytes &put(T value) {
    data.append(reinterpret_cast<const char *>(&value), sizeof(T));
    return *this;
  }
  Bytes &text(const std::string &value) {
    put<uint64_t>(value.size());
    data += value;
    return *this;
  }
  Bytes &key(const std::string &name, GgufType type) {
    return text(name).put(static_cast<uint32_t>(type));
  }
  Bytes &array(const std::string &name, GgufType element, uint64_t count) {
    return key(name, GgufType::array).put(static_cast<uint32_t>(element)).put(count);
  }
  Bytes &tensor(const std::string &name, std::vector<uint64_t> extents, uint32_t type,
                uint64_t offset) {
    text(name).put(static_cast<uint32_t>(extents.size()));
    for (uint64_t extent : extents)
      put(extent);
    return put(type).put(offset);
  }
  Bytes &pad(size_t alignment) {
    data.resize((data.size() + alignment - 1) / alignment * alignment);
    return *this;
  }
  Bytes &zeros(size_t count) {
    data.append(count, '\0');
    return *this;
  }
  std::string data;
};

Bytes header(uint64_t tensors, uint64_t fields, uint32_t version = 3) {
  Bytes bytes;
  bytes.data = "GGUF";
  return bytes.put(version).put(tensors).put(fields);
}

/// What the user reads: each error's place and message, then its help.
std::string words(llvm::Error error) {
  std::string text;
  llvm::raw_string_ostream out(text);
  llvm::handleAllErrors(std::move(error), [&](const InputError &input) {
    input.log(out);
    out << "\n" << input.help;
  });
  return text;
}

class GgufTest : public testing::Test {
protected:
  void TearDown() override {
    file.reset();
    if (!path.empty())
      llvm::sys::fs::remove(path);
  }

  llvm::Expected<std::unique_ptr<GgufFile>> open(llvm::StringRef data) {
    if (path.empty())
      EXPECT_FALSE(llvm::sys::fs::createTemporaryFile("ingot", "gguf", path));
    std::error_code code;
    llvm::raw_fd_ostream(path, code) << data;
    EXPECT_FALSE(code);
    return GgufFile::open(path);
  }

  /// Opens a file that must be good, as `file`.
  void accept(const Bytes &bytes) {
    auto opened = open(bytes.data);
    ASSERT_TRUE(static_cast<bool>(opened)) << llvm::toString(opened.takeError());
    file = std::move(*opened);
  }

  /// The message about a file that must be bad; it names the file.
  std::string refusal(llvm::StringRef data) {
    auto opened = open(data);
    if (opened)
      return "(accepted)";
    const std::string text = words(opened.takeError());
    EXPECT_NE(text.find(path.str().str()), std::string::npos) << text;
    return text;
  }

  std::unique_ptr<GgufFile> file;
  llvm::SmallString<128> path;
};

/// The message of a getter that must fail.
template <typename T> std::string messageOf(llvm::Expected<T> value) {
  return value ? "(a value)" : words(value.takeError());
}

/// The value of a getter that must succeed.
template <typename T> T got(llvm::Expected<T> value) {
  if (value)
    return std::move(*value);
  ADD_FAILURE() << llvm::toString(value.takeError());
  return T();
}

#define EXPECT_SAYS(message, ...)                                                                  \
  do {                                                                                             \
    const std::string whole = (message);                                                           \
    for (const char *part : {__VA_ARGS__})                                                         \
      EXPECT_NE(whole.find(part), std::string::npos) << "'" << part << "' is not in: " << whole;   \
  } while (false)

/// One 2x32 Q4_1 tensor (40 bytes) and one of 8 floats (32 bytes), at offsets 0 and 64.
Bytes twoTensors(uint32_t version = 3) {
  Bytes bytes = header(2, 0, version);
  bytes.tensor("matrix", {32, 2}, q4_1_type, 0).tensor("vector", {8}, f32_type, 64).pad(32);
  for (int i = 0; i < 40; ++i)
    bytes.put(static_cast<uint8_t>(i));
  bytes.zeros(24);
  for (int i = 0; i < 8; ++i)
    bytes.put(static_cast<float>(i));
  return bytes;
}

//===--- Good files ------------------------------------------------------------------===//

TEST_F(GgufTest, readsTensorsOfBothVersions) {
  for (uint32_t version : {2, 3}) {
    accept(twoTensors(version));
    ASSERT_EQ(file->tensors().size(), 2u);
    const GgufTensor *matrix = file->findTensor("matrix"), *vector = file->findTensor("vector");
    ASSERT_TRUE(matrix && vector);
    EXPECT_EQ(matrix->rows, 2);
    EXPECT_EQ(matrix->columns, 32);
    EXPECT_STREQ(matrix->encoding->name, "Q4_1");
    ASSERT_EQ(matrix->data.size(), 40u);
    EXPECT_EQ(matrix->data[39], 39);
    EXPECT_EQ(vector->rows, 1);
    EXPECT_EQ(vector->columns, 8);
    float last;
    ASSERT_EQ(vector->data.size(), 32u);
    memcpy(&last, vector->data.data() + 28, 4);
    EXPECT_EQ(last, 7.0f);
    EXPECT_EQ(file->findTensor("other"), nullptr);
    file.reset();
  }
}

TEST_F(GgufTest, foldsAllButTheFirstDimensionIntoRows) {
  Bytes bytes = header(1, 0);
  bytes.tensor("four", {4, 3, 2, 5}, f32_type, 0).pad(32).zeros(4 * 4 * 3 * 2 * 5);
  accept(bytes);
  EXPECT_EQ(file->tensors()[0].columns, 4);
  EXPECT_EQ(file->tensors()[0].rows, 30);
}

TEST_F(GgufTest, placesTensorsByTheAlignmentOfTheFile) {
  Bytes bytes = header(1, 1);
  bytes.key("general.alignment", GgufType::u32).put<uint32_t>(256);
  bytes.tensor("t", {1}, f32_type, 256).pad(256).zeros(256).put(2.5f);
  accept(bytes);
  float value;
  memcpy(&value, file->tensors()[0].data.data(), 4);
  EXPECT_EQ(value, 2.5f);
}

TEST_F(GgufTest, readsIntegersOfEveryWidth) {
  Bytes bytes = header(0, 9);
  bytes.key("u8", GgufType::u8).put<uint8_t>(255);
  bytes.key("i8", GgufType::i8).put<int8_t>(-128);
  bytes.key("u16", GgufType::u16).put<uint16_t>(65535);
  bytes.key("i16", GgufType::i16).put<int16_t>(-32768);
  bytes.key("u32", GgufType::u32).put<uint32_t>(4294967295u);
  bytes.key("i32", GgufType::i32).put<int32_t>(INT32_MIN);
  bytes.key("u64", GgufType::u64).put<uint64_t>(INT64_MAX);
  bytes.key("i64", GgufType::i64).put<int64_t>(INT64_MIN);
  bytes.key("too large", GgufType::u64).put<uint64_t>(uint64_t(INT64_MAX) + 1);
  accept(bytes);
  EXPECT_EQ(got(file->getInteger("u8")), 255);
  EXPECT_EQ(got(file->getInteger("i8")), -128);
  EXPECT_EQ(got(file->getInteger("u16")), 65535);
  EXPECT_EQ(got(file->getInteger("i16")), -32768);
  EXPECT_EQ(got(file->getInteger("u32")), 4294967295);
  EXPECT_EQ(got(file->getInteger("i32")), INT32_MIN);
  EXPECT_EQ(got(file->getInteger("u64")), INT64_MAX);
  EXPECT_EQ(got(file->getInteger("i64")), INT64_MIN);
  EXPECT_EQ(got(file->getInteger("missing")), std::nullopt);
  EXPECT_SAYS(messageOf(file->getInteger("too large")), "field 'too large'", "below 2^63");
}

TEST_F(GgufTest, readsFloatsBooleansAndStrings) {
  Bytes bytes = header(0, 6);
  bytes.key("f32", GgufType::f32).put(0.1f);
  bytes.key("f64", GgufType::f64).put(0.1);
  bytes.key("yes", GgufType::boolean).put<uint8_t>(1);
  bytes.key("no", GgufType::boolean).put<uint8_t>(0);
  bytes.key("text", GgufType::string).text(std::string("a\0b", 3));
  bytes.key("nothing", GgufType::string).text("");
  accept(bytes);
  EXPECT_EQ(got(file->getFloat("f32")), static_cast<double>(0.1f));
  EXPECT_EQ(got(file->getFloat("f64")), 0.1);
  EXPECT_EQ(got(file->getBool("yes")), true);
  EXPECT_EQ(got(file->getBool("no")), false);
  EXPECT_EQ(got(file->getString("text")), llvm::StringRef("a\0b", 3));
  EXPECT_EQ(got(file->getString("nothing")), "");
  EXPECT_EQ(got(file->getFloat("missing")), std::nullopt);
  EXPECT_EQ(got(file->getBool("missing")), std::nullopt);
  EXPECT_EQ(got(file->getString("missing")), std::nullopt);
}

TEST_F(GgufTest, readsArrays) {
  Bytes bytes = header(0, 5);
  bytes.array("words", GgufType::string, 3).text("one").text("").text("three");
  bytes.array("bytes", GgufType::i8, 2).put<int8_t>(-1).put<int8_t>(7);
  bytes.array("longs", GgufType::u64, 2).put<uint64_t>(5).put<uint64_t>(uint64_t(1) << 62);
  bytes.array("none", GgufType::string, 0);
  // An array of arrays is stepped over: what follows it is found.
  bytes.array("nested", GgufType::array, 2);
  for (int32_t i : {1, 2})
    bytes.put(static_cast<uint32_t>(GgufType::i32)).put<uint64_t>(1).put(i);
  accept(bytes);
  EXPECT_EQ(got(file->getStrings("words")), (std::vector<llvm::StringRef>{"one", "", "three"}));
  EXPECT_EQ(got(file->getIntegers("bytes")), (std::vector<int64_t>{-1, 7}));
  EXPECT_EQ(got(file->getIntegers("longs")), (std::vector<int64_t>{5, int64_t(1) << 62}));
  EXPECT_TRUE(got(file->getStrings("none")).empty());
  EXPECT_TRUE(got(file->getStrings("missing")).empty());
  EXPECT_TRUE(got(file->getIntegers("missing")).empty());
}

TEST_F(GgufTest, gettersRefuseOtherTypes) {
  Bytes bytes = header(0, 5);
  bytes.key("number", GgufType::u32).put<uint32_t>(1);
  bytes.key("real", GgufType::f32).put(1.0f);
  bytes.key("text", GgufType::string).text("1");
  bytes.array("reals", GgufType::f32, 1).put(1.0f);
  bytes.array("words", GgufType::string, 1).text("one");
  accept(bytes);
  EXPECT_SAYS(messageOf(file->getInteger("real")), "field 'real'", "of type f32", "integer");
  EXPECT_SAYS(messageOf(file->getInteger("text")), "field 'text'", "of type string");
  EXPECT_SAYS(messageOf(file->getInteger("words")), "field 'words'", "of type array");
  EXPECT_SAYS(messageOf(file->getFloat("number")), "field 'number'", "f32 or f64");
  EXPECT_SAYS(messageOf(file->getBool("number")), "field 'number'", "expected bool");
  EXPECT_SAYS(messageOf(file->getString("number")), "field 'number'", "expected string");
  EXPECT_SAYS(messageOf(file->getString("words")), "field 'words'", "expected string");
  EXPECT_SAYS(messageOf(file->getStrings("text")), "field 'text'", "array of strings");
  EXPECT_SAYS(messageOf(file->getStrings("reals")), "field 'reals'", "array of strings");
  EXPECT_SAYS(messageOf(file->getIntegers("words")), "field 'words'", "array of integers");
  EXPECT_SAYS(messageOf(file->getIntegers("reals")), "field 'reals'", "array of integers");
  EXPECT_SAYS(messageOf(file->getIntegers("number")), "field 'number'", "array of integers");
}

//===--- Bad files -------------------------------------------------------------------===//

TEST_F(GgufTest, refusesWhatIsNotGguf) {
  EXPECT_SAYS(messageOf(GgufFile::open("/nonexistent/model.gguf")), "model.gguf", "cannot open");
  EXPECT_SAYS(refusal(""), "is empty");
  EXPECT_SAYS(refusal("GGU"), "not a GGUF file");
  EXPECT_SAYS(refusal("GGML, an older format"), "not a GGUF file");
  EXPECT_SAYS(refusal("version https://git-lfs.example/spec/v1\n"), "Git LFS", "git lfs pull");
  EXPECT_SAYS(refusal(llvm::StringRef("\x40\0\0\0\0\0\0\0{\"a\":1}", 15)), "safetensors");
}

TEST_F(GgufTest, refusesOtherVersions) {
  for (uint32_t version : {0u, 1u, 4u, 0xffffffffu})
    EXPECT_SAYS(refusal(header(0, 0, version).data), "field 'version'", "only versions 2 and 3");
  EXPECT_SAYS(refusal(header(0, 0, 0x03000000).data), "big-endian");
}

TEST_F(GgufTest, refusesEveryTruncation) {
  Bytes bytes = header(1, 2);
  bytes.key("name", GgufType::string).text("tiny");
  bytes.array("ids", GgufType::u32, 2).put<uint64_t>(0);
  bytes.tensor("t", {8}, f32_type, 0).pad(32).zeros(32);
  accept(bytes);
  file.reset();
  for (size_t size = 0; size < bytes.data.size(); ++size)
    EXPECT_NE(refusal(llvm::StringRef(bytes.data).take_front(size)), "(accepted)") << size;
}

TEST_F(GgufTest, refusesCountsThatCannotFit) {
  for (uint64_t count : {uint64_t(1), uint64_t(1) << 32, UINT64_MAX}) {
    EXPECT_SAYS(refusal(header(0, count).data), "field 'metadata_kv_count'", "do not fit");
    EXPECT_SAYS(refusal(header(count, 0).data), "field 'tensor_count'", "do not fit");
  }
}

TEST_F(GgufTest, refusesBadFields) {
  Bytes bytes = header(0, 1);
  EXPECT_SAYS(refusal(Bytes(bytes).key("k", GgufType(13)).put<uint64_t>(0).data), "field 'k'",
              "unknown type 13");
  EXPECT_SAYS(refusal(Bytes(bytes).key("", GgufType::u32).put<uint32_t>(0).data),
              "metadata field 0", "0 bytes");
  EXPECT_SAYS(
      refusal(Bytes(bytes).key(std::string(65536, 'k'), GgufType::u32).put<uint32_t>(0).data),
      "metadata field 0", "65,536 bytes");
  // Lengths that would wrap around when added to a position.
  for (uint64_t length : {uint64_t(1) << 20, UINT64_MAX - 7, UINT64_MAX})
    EXPECT_SAYS(refusal(Bytes(bytes).key("k", GgufType::string).put(length).zeros(9).data),
                "field 'k'", "the file ends inside it");
  Bytes twice = header(0, 2);
  twice.key("k", GgufType::u32).put<uint32_t>(0).key("k", GgufType::u32).put<uint32_t>(0);
  EXPECT_SAYS(refusal(twice.data), "field 'k'", "appears twice");
}

TEST_F(GgufTest, refusesBadArrays) {
  const Bytes bytes = header(0, 1);
  for (uint64_t count : {uint64_t(100), UINT64_MAX / 8 + 2, UINT64_MAX}) {
    EXPECT_SAYS(refusal(Bytes(bytes).array("a", GgufType::f64, count).zeros(64).data), "field 'a'",
                "elements of f64 do not fit the 64 bytes left");
    EXPECT_SAYS(refusal(Bytes(bytes).array("a", GgufType::string, count).zeros(64).data),
                "field 'a'", "elements of string do not fit the 64 bytes left");
  }
  EXPECT_SAYS(refusal(Bytes(bytes).array("a", GgufType(99), 1).zeros(64).data), "field 'a'",
              "unknown type 99");
  EXPECT_SAYS(refusal(Bytes(bytes).array("a", GgufType::string, 2).text("x").put<uint64_t>(9).data),
              "field 'a'", "the file ends inside it");
  Bytes deep = Bytes(bytes).array("a", GgufType::array, 1);
  for (int i = 0; i < 100000; ++i)
    deep.put(static_cast<uint32_t>(GgufType::array)).put<uint64_t>(1);
  EXPECT_SAYS(refusal(deep.data), "field 'a'", "nested more than 4 deep");
}

TEST_F(GgufTest, refusesBadAlignments) {
  for (uint32_t alignment : {0u, 1u, 4u, 24u, 1u << 21, UINT32_MAX})
    EXPECT_SAYS(refusal(header(0, 1).key("general.alignment", GgufType::u32).put(alignment).data),
                "field 'general.alignment'", "power of two");
  EXPECT_SAYS(refusal(header(0, 1).key("general.alignment", GgufType::i64).put<int64_t>(-32).data),
              "field 'general.alignment'", "is -32");
  EXPECT_SAYS(refusal(header(0, 1).key("general.alignment", GgufType::string).text("32").data),
              "field 'general.alignment'", "of type string");
}

TEST_F(GgufTest, refusesBadTensorShapes) {
  const auto said = [&](std::vector<uint64_t> extents, uint32_t type) {
    return refusal(header(1, 0).tensor("t", extents, type, 0).pad(32).zeros(256).data);
  };
  EXPECT_SAYS(said({}, f32_type), "tensor 't'", "0 dimensions");
  EXPECT_SAYS(said({1, 1, 1, 1, 1}, f32_type), "tensor 't'", "5 dimensions");
  EXPECT_SAYS(said({0}, f32_type), "tensor 't'", "dimension 0 is 0");
  EXPECT_SAYS(said({8, UINT64_MAX}, f32_type), "tensor 't'", "dimension 1 is 1844");
  const uint64_t huge = uint64_t(1) << 40;
  EXPECT_SAYS(said({8, huge, huge}, f32_type), "tensor 't'", "too many elements");
  EXPECT_SAYS(said({huge, uint64_t(1) << 22}, f32_type), "tensor 't'", "no size that fits");
  EXPECT_SAYS(said({huge, uint64_t(1) << 20}, f32_type), "tensor 't'", "256 are left");
  EXPECT_SAYS(said({48}, q4_1_type), "tensor 't'", "not whole blocks of 32 (Q4_1)");
  EXPECT_SAYS(said({128}, q4_k_type), "tensor 't'", "not whole blocks of 256 (Q4_K)");
  EXPECT_SAYS(said({65}, f32_type), "tensor 't'", "1x65", "need 260 bytes in F32", "256 are left");
  EXPECT_EQ(said({64}, f32_type), "(accepted)"); // the same, one element less
}

TEST_F(GgufTest, refusesBadTensorNamesAndTypes) {
  for (uint32_t type : {4u, 5u, 9u, 15u, 31u, UINT32_MAX})
    EXPECT_SAYS(refusal(header(1, 0).tensor("t", {256}, type, 0).pad(32).zeros(1024).data),
                "tensor 't'", "not supported", "Q4_1", "Q6_K", "IQ4_NL", "MXFP4");
  EXPECT_SAYS(refusal(header(1, 0).tensor("", {8}, f32_type, 0).pad(32).zeros(32).data), "tensor 0",
              "0 bytes");
  Bytes twice = header(2, 0);
  twice.tensor("t", {8}, f32_type, 0).tensor("t", {8}, f32_type, 32).pad(32).zeros(64);
  EXPECT_SAYS(refusal(twice.data), "tensor 't'", "appears twice");
}

TEST_F(GgufTest, refusesTensorsOutsideTheFile) {
  const auto said = [&](uint64_t offset) {
    return refusal(header(1, 0).tensor("t", {8}, f32_type, offset).pad(32).zeros(96).data);
  };
  EXPECT_EQ(said(64), "(accepted)");
  EXPECT_SAYS(said(96), "tensor 't'", "0 are left");
  EXPECT_SAYS(said(128), "tensor 't'", "0 are left");
  EXPECT_SAYS(said(33), "tensor 't'", "offset 33 is not a multiple of 32");
  EXPECT_SAYS(said(UINT64_MAX - 31), "tensor 't'", "0 are left");
}

TEST_F(GgufTest, refusesOverlaps) {
  const auto said = [&](uint64_t second) {
    Bytes bytes = header(2, 0);
    bytes.tensor("wide", {32}, f32_type, 0).tensor("late", {8}, f32_type, second);
    return refusal(bytes.pad(32).zeros(256).data);
  };
  EXPECT_EQ(said(128), "(accepted)");
  EXPECT_SAYS(said(96), "tensor 'late'", "overlaps tensor 'wide'");
  EXPECT_SAYS(said(0), "overlaps tensor");
}

TEST_F(GgufTest, escapesNamesInMessages) {
  const std::string said =
      refusal(header(0, 1).key("\x1b[31mred\n", GgufType(77)).put<uint64_t>(0).data);
  EXPECT_EQ(said.find('\x1b'), std::string::npos);
  EXPECT_SAYS(said, "\\x1B[31mred\\n");
  const std::string name(3000, 'n');
  EXPECT_LT(refusal(header(1, 0).tensor(name, {}, f32_type, 0).zeros(64).data).size(), 500u);
}

} // namespace
} // namespace ingot
