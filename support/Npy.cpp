#include "support/Npy.h"

#include "support/Error.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/MemoryBuffer.h"

namespace ingot {

static const llvm::StringRef magic("\x93NUMPY\x01\x00", 8);

std::string npyHeader(int64_t rows, int64_t columns) {
  std::string text = "{'descr': '<f4', 'fortran_order': False, 'shape': (" + std::to_string(rows) +
                     ", " + std::to_string(columns) + "), }";
  // Magic, length and text together fill whole 64-byte lines; the text ends in a newline.
  const size_t used = magic.size() + 2 + text.size() + 1;
  text.append((64 - used % 64) % 64, ' ');
  text += '\n';
  std::string header = magic.str();
  header += static_cast<char>(text.size() & 0xff);
  header += static_cast<char>(text.size() >> 8);
  return header + text;
}

llvm::Expected<FloatArray> readNpy(llvm::StringRef path) {
  auto buffer = llvm::MemoryBuffer::getFile(path, false, false);
  if (!buffer)
    return inputError(path, "", buffer.getError().message());
  llvm::StringRef bytes = (*buffer)->getBuffer();
  auto bad = [&] { return inputError(path, "", "is not a float32 .npy file of two dimensions"); };
  if (!bytes.consume_front(magic) || bytes.size() < 2)
    return bad();
  const size_t length = static_cast<uint8_t>(bytes[0]) + 256 * static_cast<uint8_t>(bytes[1]);
  bytes = bytes.drop_front(2);
  if (bytes.size() < length)
    return bad();
  llvm::StringRef shape = bytes.take_front(length).split("'shape': (").second.split(')').first;
  FloatArray array;
  auto [rows, columns] = shape.split(',');
  if (!bytes.take_front(length).contains("'<f4'") || rows.trim().getAsInteger(10, array.rows) ||
      columns.trim(" ,").getAsInteger(10, array.columns) || array.rows < 0 || array.columns < 0)
    return bad();
  bytes = bytes.drop_front(length);
  if (bytes.size() / sizeof(float) != static_cast<uint64_t>(array.rows * array.columns))
    return bad();
  array.data.resize(array.rows * array.columns);
  memcpy(array.data.data(), bytes.data(), bytes.size());
  return array;
}

llvm::Expected<std::vector<int32_t>> parseTokens(llvm::StringRef text) {
  std::unique_ptr<llvm::MemoryBuffer> file;
  if (text.consume_front("@")) {
    auto buffer = llvm::MemoryBuffer::getFile(text, /*IsText=*/true);
    if (!buffer)
      return inputError(text, "", "cannot read: " + buffer.getError().message());
    file = std::move(*buffer);
    text = file->getBuffer();
  }
  std::vector<int32_t> tokens;
  while (!(text = text.ltrim(", \t\r\n")).empty()) {
    const llvm::StringRef word =
        text.take_until([](char c) { return llvm::StringRef(", \t\r\n").contains(c); });
    int32_t token;
    if (word.getAsInteger(10, token) || token < 0)
      return inputError("", "--tokens", "'" + word + "' is not a token id");
    tokens.push_back(token);
    text = text.drop_front(word.size());
  }
  if (tokens.empty())
    return inputError("", "--tokens", "no token ids given");
  return tokens;
}

} // namespace ingot
