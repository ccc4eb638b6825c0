// Reader of GGUF model files (versions 2 and 3, little-endian).
//
// The file is mapped read-only and nothing in it is believed: every size is computed and compared
// with the bytes that are left in one place (Cursor, Gguf.cpp) before anything is read or
// allocated.
#pragma once

#include "dialects/lm/Encoding.h"

#include "llvm/ADT/StringMap.h"
#include "llvm/Support/MemoryBuffer.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace ingot {

/// Value types of metadata, with the numbers of the file format.
enum class GgufType : uint32_t {
  u8,
  i8,
  u16,
  i16,
  u32,
  i32,
  f32,
  boolean,
  string,
  array,
  u64,
  i64,
  f64
};

/// `text`, which comes from a file, as messages show it: in quotes, unprintable bytes escaped, and
/// cut after 80 bytes.
std::string quoted(llvm::StringRef text);

struct GgufTensor {
  std::string name;
  const NamedEncoding *encoding = nullptr;
  int64_t rows = 1, columns = 1; ///< ne[0] is columns
  llvm::ArrayRef<uint8_t> data;  ///< a view of the mapped file
};

class GgufFile {
public:
  /// Maps and checks the whole structure of `path`. Errors name the field or tensor at fault.
  static llvm::Expected<std::unique_ptr<GgufFile>> open(llvm::StringRef path);

  llvm::StringRef name() const { return file_name; }
  llvm::ArrayRef<uint8_t> bytes() const;
  /// Takes the mapped pages from this process, which otherwise count as its memory once they are
  /// touched. The system may keep them cached, and gives them back when they are touched again.
  void releasePages() const;
  llvm::ArrayRef<GgufTensor> tensors() const { return tensor_list; }
  /// Null where there is none of that name.
  const GgufTensor *findTensor(llvm::StringRef name) const;

  /// Metadata. Nothing where the key is missing; an error where it has another type. Integers may
  /// be stored in any width, and must fit int64_t.
  llvm::Expected<std::optional<int64_t>> getInteger(llvm::StringRef key) const;
  llvm::Expected<std::optional<double>> getFloat(llvm::StringRef key) const;
  llvm::Expected<std::optional<bool>> getBool(llvm::StringRef key) const;
  llvm::Expected<std::optional<llvm::StringRef>> getString(llvm::StringRef key) const;
  /// Arrays; empty where the key is missing. Strings are views of the mapped file.
  llvm::Expected<std::vector<llvm::StringRef>> getStrings(llvm::StringRef key) const;
  llvm::Expected<std::vector<int64_t>> getIntegers(llvm::StringRef key) const;

private:
  struct Value {
    GgufType type;
    GgufType element = GgufType::u8; ///< of arrays
    uint64_t count = 1;
    const uint8_t *data = nullptr; ///< checked to lie in the file
  };
  class Parser;

  const Value *find(llvm::StringRef key) const;
  llvm::Error wrongType(llvm::StringRef key, const Value &value, const char *expected) const;

  std::string file_name;
  std::unique_ptr<llvm::MemoryBuffer> buffer;
  llvm::StringMap<Value> metadata;
  std::vector<GgufTensor> tensor_list;
  llvm::StringMap<size_t> tensor_index;
};

} // namespace ingot
