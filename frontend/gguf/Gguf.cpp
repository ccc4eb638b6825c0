#include "frontend/gguf/Gguf.h"

#include "support/Error.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/MathExtras.h"

#include <cstring>
#include <sys/mman.h>

namespace ingot {
namespace {

constexpr uint64_t max_name_bytes = 65535, max_alignment = 1 << 20;
constexpr unsigned max_array_depth = 4;

const char *const type_names[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                  "bool", "string", "array", "u64", "i64", "f64"};

/// Bytes of a fixed-size value; 0 for strings and arrays.
uint64_t sizeOf(GgufType type) {
  switch (type) {
  case GgufType::u8:
  case GgufType::i8:
  case GgufType::boolean:
    return 1;
  case GgufType::u16:
  case GgufType::i16:
    return 2;
  case GgufType::u32:
  case GgufType::i32:
  case GgufType::f32:
    return 4;
  case GgufType::u64:
  case GgufType::i64:
  case GgufType::f64:
    return 8;
  default:
    return 0;
  }
}

template <typename T> T load(const uint8_t *p) {
  T value;
  memcpy(&value, p, sizeof(T));
  return value;
}

/// A place in the file. The only code that compares sizes with what is left.
class Cursor {
public:
  Cursor(llvm::ArrayRef<uint8_t> bytes) : bytes(bytes) {}

  uint64_t offset() const { return position; }
  uint64_t left() const { return bytes.size() - position; }
  /// `count` items of `size` bytes, or null where they do not all lie in the file.
  const uint8_t *take(uint64_t count, uint64_t size = 1) {
    uint64_t total;
    if (__builtin_mul_overflow(count, size, &total) || total > left())
      return nullptr;
    const uint8_t *result = bytes.data() + position;
    position += total;
    return result;
  }
  template <typename T> bool read(T &value) {
    const uint8_t *p = take(sizeof(T));
    if (p)
      value = load<T>(p);
    return p;
  }
  bool readString(llvm::StringRef &value) {
    uint64_t length;
    const uint8_t *p;
    if (!read(length) || !(p = take(length)))
      return false;
    value = {reinterpret_cast<const char *>(p), length};
    return true;
  }

private:
  llvm::ArrayRef<uint8_t> bytes;
  uint64_t position = 0;
};

} // namespace

std::string quoted(llvm::StringRef text) {
  std::string out = "'";
  llvm::raw_string_ostream stream(out);
  stream.write_escaped(text.take_front(80), /*UseHexEscapes=*/true);
  stream << (text.size() > 80 ? "...'" : "'");
  return out;
}

//===--- Parsing -------------------------------------------------------------------===//

class GgufFile::Parser {
public:
  explicit Parser(GgufFile &file) : file(file), cursor(file.bytes()) {}

  llvm::Error parse() {
    if (llvm::Error error = parseHeader())
      return error;
    for (uint64_t i = 0; i < value_count; ++i)
      if (llvm::Error error = parseField(i))
        return error;
    if (llvm::Error error = readAlignment())
      return error;
    std::vector<uint64_t> offsets;
    for (uint64_t i = 0; i < tensor_count; ++i)
      if (llvm::Error error = parseTensor(i, offsets))
        return error;
    return placeTensors(offsets);
  }

private:
  llvm::Error fail(const llvm::Twine &where, const llvm::Twine &message,
                   const llvm::Twine &help = "") {
    return inputError(file.file_name, where, message, help);
  }
  llvm::Error truncated(const llvm::Twine &where) {
    return fail(where, "the file ends inside it (" + grouped(cursor.left()) + " bytes left)",
                "the file is truncated or damaged; get it again");
  }

  llvm::Error parseHeader() {
    const llvm::StringRef text = file.buffer->getBuffer();
    if (text.starts_with("version https://git-lfs"))
      return fail("", "is a Git LFS pointer, not the model itself", "run `git lfs pull` there");
    if (!text.starts_with("GGUF"))
      return fail("", text.empty() ? "is empty" : "is not a GGUF file",
                  text.substr(8).starts_with("{\"")
                      ? "it looks like safetensors; convert it to GGUF first"
                      : "a GGUF file begins with the letters GGUF");
    uint32_t magic, version;
    if (!cursor.read(magic) || !cursor.read(version))
      return truncated("header");
    if (version != 2 && version != 3)
      return fail("field 'version'",
                  version == llvm::byteswap<uint32_t>(2) || version == llvm::byteswap<uint32_t>(3)
                      ? llvm::Twine("the file is big-endian, which is not supported")
                      : "GGUF version " + llvm::Twine(version) +
                            " is not supported, only versions 2 and 3");
    if (!cursor.read(tensor_count) || !cursor.read(value_count))
      return truncated("header");
    // A field takes at least 13 bytes, a tensor at least 32: counts beyond that are lies.
    if (value_count > cursor.left() / 13)
      return fail("field 'metadata_kv_count'", grouped(value_count) + " fields do not fit the " +
                                                   grouped(cursor.left()) + " bytes left");
    if (tensor_count > cursor.left() / 32)
      return fail("field 'tensor_count'", grouped(tensor_count) + " tensors do not fit the " +
                                              grouped(cursor.left()) + " bytes left");
    return llvm::Error::success();
  }

  llvm::Error parseField(uint64_t index) {
    llvm::StringRef key;
    uint32_t type;
    const std::string where = "metadata field " + std::to_string(index);
    if (!cursor.readString(key) || !cursor.read(type))
      return truncated(where);
    if (key.empty() || key.size() > max_name_bytes)
      return fail(where, "its name has " + grouped(key.size()) + " bytes, expected 1 to 65,535");
    const std::string field = "field " + quoted(key);
    Value value;
    if (llvm::Error error = parseValue(field, type, value, 0))
      return error;
    if (!file.metadata.try_emplace(key, value).second)
      return fail(field, "appears twice");
    return llvm::Error::success();
  }

  llvm::Error parseValue(const std::string &field, uint32_t type, Value &value, unsigned depth) {
    if (type > static_cast<uint32_t>(GgufType::f64))
      return fail(field, "has the unknown type " + llvm::Twine(type));
    value.type = static_cast<GgufType>(type);
    if (uint64_t size = sizeOf(value.type)) {
      if (!(value.data = cursor.take(size)))
        return truncated(field);
      return llvm::Error::success();
    }
    if (value.type == GgufType::string) {
      llvm::StringRef text;
      if (!cursor.readString(text))
        return truncated(field);
      value.data = reinterpret_cast<const uint8_t *>(text.data());
      value.count = text.size();
      return llvm::Error::success();
    }
    if (depth == max_array_depth)
      return fail(field, "arrays are nested more than " + llvm::Twine(max_array_depth) + " deep");
    uint32_t element;
    if (!cursor.read(element) || !cursor.read(value.count))
      return truncated(field);
    if (element > static_cast<uint32_t>(GgufType::f64))
      return fail(field, "has elements of the unknown type " + llvm::Twine(element));
    value.element = static_cast<GgufType>(element);
    if (uint64_t size = sizeOf(value.element)) {
      if (!(value.data = cursor.take(value.count, size)))
        return fail(field, grouped(value.count) + " elements of " + type_names[element] +
                               " do not fit the " + grouped(cursor.left()) + " bytes left");
      return llvm::Error::success();
    }
    // Strings and arrays are walked, so that later reads need no check. The least a string takes is
    // 8 bytes, an array 12: a count that cannot fit is refused before the walk.
    if (value.count > cursor.left() / 8)
      return fail(field, grouped(value.count) + " elements of " + type_names[element] +
                             " do not fit the " + grouped(cursor.left()) + " bytes left");
    value.data = cursor.take(0);
    for (uint64_t i = 0; i < value.count; ++i) {
      Value inner;
      if (llvm::Error error = parseValue(field, element, inner, depth + 1))
        return error;
    }
    return llvm::Error::success();
  }

  llvm::Error readAlignment() {
    auto value = file.getInteger("general.alignment");
    if (!value)
      return value.takeError();
    alignment = value->value_or(32);
    if (alignment < 1 || alignment > max_alignment || !llvm::isPowerOf2_64(alignment) ||
        alignment % 8)
      return fail("field 'general.alignment'", "is " + llvm::Twine(int64_t(alignment)) +
                                                   ", expected a power of two from 8 to " +
                                                   grouped(max_alignment));
    return llvm::Error::success();
  }

  llvm::Error parseTensor(uint64_t index, std::vector<uint64_t> &offsets) {
    llvm::StringRef name;
    uint32_t dimensions, type;
    const std::string where = "tensor " + std::to_string(index);
    if (!cursor.readString(name) || !cursor.read(dimensions))
      return truncated(where);
    if (name.empty() || name.size() > max_name_bytes)
      return fail(where, "its name has " + grouped(name.size()) + " bytes, expected 1 to 65,535");
    const std::string label = "tensor " + quoted(name);
    if (dimensions < 1 || dimensions > 4)
      return fail(label, "has " + llvm::Twine(dimensions) + " dimensions, expected 1 to 4");
    GgufTensor tensor;
    tensor.name = name.str();
    for (uint32_t d = 0; d < dimensions; ++d) {
      uint64_t extent;
      if (!cursor.read(extent))
        return truncated(label);
      if (extent < 1 || extent > (uint64_t(1) << 40))
        return fail(label, "dimension " + llvm::Twine(d) + " is " + llvm::Twine(extent));
      // ne[0] runs along a row; all others count rows.
      if (d == 0)
        tensor.columns = static_cast<int64_t>(extent);
      else if (__builtin_mul_overflow(tensor.rows, static_cast<int64_t>(extent), &tensor.rows))
        return fail(label, "has too many elements");
    }
    uint64_t offset;
    if (!cursor.read(type) || !cursor.read(offset))
      return truncated(label);
    tensor.encoding = findGgmlType(type);
    if (!tensor.encoding) {
      std::string known;
      for (const NamedEncoding &named : namedEncodings())
        known += (known.empty() ? "" : ", ") + std::string(named.name);
      return fail(label, "has ggml type " + llvm::Twine(type) + ", which is not supported",
                  "supported: " + known);
    }
    if (tensor.columns % tensor.encoding->block_elements)
      return fail(label, "rows of " + grouped(tensor.columns) +
                             " elements are not whole blocks of " +
                             llvm::Twine(tensor.encoding->block_elements) + " (" +
                             tensor.encoding->name + ")");
    if (!file.tensor_index.try_emplace(name, file.tensor_list.size()).second)
      return fail(label, "appears twice");
    file.tensor_list.push_back(std::move(tensor));
    offsets.push_back(offset);
    return llvm::Error::success();
  }

  /// Checks where the tensors lie: aligned, inside the file, not over each other.
  llvm::Error placeTensors(llvm::ArrayRef<uint64_t> offsets) {
    if (offsets.empty())
      return llvm::Error::success();
    const uint64_t padding = (alignment - cursor.offset() % alignment) % alignment;
    if (!cursor.take(padding))
      return truncated("tensor data");
    const llvm::ArrayRef<uint8_t> data = file.bytes().drop_front(cursor.offset());
    std::vector<size_t> order;
    for (auto [index, tensor] : llvm::enumerate(file.tensor_list)) {
      const std::string label = "tensor " + quoted(tensor.name);
      const auto size = tensor.encoding->encoding.storageBytes(tensor.rows, tensor.columns);
      if (!size)
        return fail(label, llvm::Twine(tensor.rows) + "x" + llvm::Twine(tensor.columns) +
                               " elements have no size that fits a file");
      if (offsets[index] % alignment)
        return fail(label, "offset " + grouped(offsets[index]) + " is not a multiple of " +
                               grouped(alignment));
      const uint64_t left = offsets[index] > data.size() ? 0 : data.size() - offsets[index];
      if (*size > left)
        return fail(label,
                    llvm::Twine(tensor.rows) + "x" + llvm::Twine(tensor.columns) +
                        " elements need " + grouped(*size) + " bytes in " + tensor.encoding->name +
                        ", " + grouped(left) + " are left",
                    "the file is truncated or damaged; get it again");
      tensor.data = data.slice(offsets[index], *size);
      order.push_back(index);
    }
    llvm::sort(order, [&](size_t a, size_t b) { return offsets[a] < offsets[b]; });
    for (size_t i = 1; i < order.size(); ++i) {
      const GgufTensor &before = file.tensor_list[order[i - 1]],
                       &tensor = file.tensor_list[order[i]];
      if (tensor.data.data() < before.data.data() + before.data.size())
        return fail("tensor " + quoted(tensor.name), "overlaps tensor " + quoted(before.name));
    }
    return llvm::Error::success();
  }

  GgufFile &file;
  Cursor cursor;
  uint64_t tensor_count = 0, value_count = 0, alignment = 32;
};

llvm::Expected<std::unique_ptr<GgufFile>> GgufFile::open(llvm::StringRef path) {
  auto file = std::make_unique<GgufFile>();
  file->file_name = path.str();
  auto buffer = llvm::MemoryBuffer::getFile(path, /*IsText=*/false,
                                            /*RequiresNullTerminator=*/false);
  if (!buffer)
    return inputError(path, "", "cannot open: " + buffer.getError().message());
  file->buffer = std::move(*buffer);
  if (llvm::Error error = Parser(*file).parse())
    return error;
  return file;
}

llvm::ArrayRef<uint8_t> GgufFile::bytes() const {
  return {reinterpret_cast<const uint8_t *>(buffer->getBufferStart()), buffer->getBufferSize()};
}

void GgufFile::releasePages() const {
  // Not MemoryBuffer::dontNeedIfMmap: that is posix_madvise, which does nothing in glibc.
  if (buffer->getBufferKind() == llvm::MemoryBuffer::MemoryBuffer_MMap)
    madvise(const_cast<char *>(buffer->getBufferStart()), buffer->getBufferSize(), MADV_DONTNEED);
}

const GgufTensor *GgufFile::findTensor(llvm::StringRef name) const {
  auto found = tensor_index.find(name);
  return found == tensor_index.end() ? nullptr : &tensor_list[found->second];
}

//===--- Metadata -----------------------------------------------------------------------===//

const GgufFile::Value *GgufFile::find(llvm::StringRef key) const {
  auto found = metadata.find(key);
  return found == metadata.end() ? nullptr : &found->second;
}

llvm::Error GgufFile::wrongType(llvm::StringRef key, const Value &value,
                                const char *expected) const {
  return inputError(file_name, "field " + quoted(key),
                    std::string("is of type ") + type_names[static_cast<int>(value.type)] +
                        ", expected " + expected);
}

static std::optional<int64_t> integerAt(GgufType type, const uint8_t *p) {
  switch (type) {
  case GgufType::u8:
    return load<uint8_t>(p);
  case GgufType::i8:
    return load<int8_t>(p);
  case GgufType::u16:
    return load<uint16_t>(p);
  case GgufType::i16:
    return load<int16_t>(p);
  case GgufType::u32:
    return load<uint32_t>(p);
  case GgufType::i32:
    return load<int32_t>(p);
  case GgufType::i64:
    return load<int64_t>(p);
  case GgufType::u64:
    if (const uint64_t value = load<uint64_t>(p); value <= INT64_MAX)
      return static_cast<int64_t>(value);
    return std::nullopt;
  default:
    return std::nullopt;
  }
}

llvm::Expected<std::optional<int64_t>> GgufFile::getInteger(llvm::StringRef key) const {
  const Value *value = find(key);
  if (!value)
    return std::optional<int64_t>();
  auto number = integerAt(value->type, value->data);
  if (!number)
    return wrongType(key, *value, "an integer below 2^63");
  return number;
}

llvm::Expected<std::optional<double>> GgufFile::getFloat(llvm::StringRef key) const {
  const Value *value = find(key);
  if (!value)
    return std::optional<double>();
  if (value->type == GgufType::f32)
    return std::optional<double>(load<float>(value->data));
  if (value->type == GgufType::f64)
    return std::optional<double>(load<double>(value->data));
  return wrongType(key, *value, "f32 or f64");
}

llvm::Expected<std::optional<bool>> GgufFile::getBool(llvm::StringRef key) const {
  const Value *value = find(key);
  if (!value)
    return std::optional<bool>();
  if (value->type != GgufType::boolean)
    return wrongType(key, *value, "bool");
  return std::optional<bool>(*value->data != 0);
}

llvm::Expected<std::optional<llvm::StringRef>> GgufFile::getString(llvm::StringRef key) const {
  const Value *value = find(key);
  if (!value)
    return std::optional<llvm::StringRef>();
  if (value->type != GgufType::string)
    return wrongType(key, *value, "string");
  return std::optional<llvm::StringRef>(
      llvm::StringRef(reinterpret_cast<const char *>(value->data), value->count));
}

llvm::Expected<std::vector<llvm::StringRef>> GgufFile::getStrings(llvm::StringRef key) const {
  const Value *value = find(key);
  std::vector<llvm::StringRef> out;
  if (!value)
    return out;
  if (value->type != GgufType::array || value->element != GgufType::string)
    return wrongType(key, *value, "an array of strings");
  // The walk of parseValue has been here: every length is known to fit.
  const uint8_t *p = value->data;
  out.reserve(value->count);
  for (uint64_t i = 0; i < value->count; ++i) {
    const uint64_t length = load<uint64_t>(p);
    out.emplace_back(reinterpret_cast<const char *>(p + 8), length);
    p += 8 + length;
  }
  return out;
}

llvm::Expected<std::vector<int64_t>> GgufFile::getIntegers(llvm::StringRef key) const {
  const Value *value = find(key);
  std::vector<int64_t> out;
  if (!value)
    return out;
  const uint64_t size = sizeOf(value->element);
  if (value->type != GgufType::array || !size)
    return wrongType(key, *value, "an array of integers");
  out.reserve(value->count);
  for (uint64_t i = 0; i < value->count; ++i) {
    auto number = integerAt(value->element, value->data + i * size);
    if (!number)
      return wrongType(key, *value, "an array of integers below 2^63");
    out.push_back(*number);
  }
  return out;
}

} // namespace ingot
