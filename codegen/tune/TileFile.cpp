#include "codegen/tune/TileFile.h"

#include "codegen/halide/Kernel.h"
#include "support/Error.h"
#include "support/Files.h"
#include "support/Hash.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/TargetParser/Host.h"

namespace ingot {

static constexpr llvm::StringLiteral kFirstLine("ingot-tiles 2");
static constexpr llvm::StringLiteral kExample("tile KEY tokens=4 streams=1 keys=0 code=01234567");
static constexpr size_t kCodeDigits = 8;

static bool isHex(llvm::StringRef text, size_t digits) {
  return text.size() == digits && llvm::all_of(text, llvm::isHexDigit);
}

llvm::Expected<TileFile> TileFile::parse(llvm::StringRef text, const std::string &name) {
  TileFile file;
  TileSection *section = nullptr;
  bool first = true;
  int number = 0;
  auto wrong = [&](const llvm::Twine &message, const llvm::Twine &help = "") {
    return inputError(name, "line " + llvm::Twine(number), message, help);
  };
  while (!text.empty()) {
    llvm::StringRef line;
    std::tie(line, text) = text.split('\n');
    ++number;
    auto [content, comment] = line.split('#');
    content = content.trim();
    if (content.empty())
      continue;
    if (first) {
      if (content != kFirstLine)
        return wrong("is no file of tiles", "its first line is '" + kFirstLine + "'");
      first = false;
      continue;
    }
    llvm::SmallVector<llvm::StringRef, 8> words;
    content.split(words, ' ', -1, /*KeepEmpty=*/false);
    if (words[0] == "machine") {
      auto [target, cpu] = content.drop_front(words[0].size()).split(" on ");
      if (target.trim().empty() || cpu.trim().empty())
        return wrong("expected 'machine TARGET on PROCESSOR'");
      file.sections.push_back({target.trim().str(), cpu.trim().str(), {}});
      section = &file.sections.back();
      continue;
    }
    if (words[0] != "tile")
      return wrong("unknown word '" + words[0] + "'",
                   "lines are 'machine TARGET on PROCESSOR' and '" + kExample + "'");
    if (!section)
      return wrong("a tile before the first 'machine' line");
    if (words.size() < 2 || !isHex(words[1], 32))
      return wrong("expected a kernel's hash of 32 hex digits", kExample);
    MeasuredTile tile;
    tile.key = words[1].str();
    tile.note = comment.trim().str();
    tile.line = number;
    struct {
      llvm::StringLiteral name;
      int32_t &value;
      int32_t least;
      bool given = false;
    } fields[] = {{"tokens", tile.tile.token_tile, 1},
                  {"streams", tile.tile.streams, 1},
                  {"keys", tile.tile.key_tile, 0}};
    for (llvm::StringRef word : llvm::ArrayRef(words).drop_front(2)) {
      auto [key, value] = word.split('=');
      if (key == "code" && tile.code.empty()) {
        if (!isHex(value, kCodeDigits))
          return wrong("'" + word + "' is not 8 hex digits", kExample);
        tile.code = value.str();
        continue;
      }
      auto *field = llvm::find_if(fields, [key = key](const auto &f) { return f.name == key; });
      if (field == std::end(fields) || field->given)
        return wrong("unexpected '" + word + "'", kExample);
      if (value.getAsInteger(10, field->value) || field->value < field->least ||
          field->value > 4096)
        return wrong("'" + word + "' is not a number of " + field->name, kExample);
      field->given = true;
    }
    for (const auto &field : fields)
      if (!field.given)
        return wrong("'" + field.name + "=' is missing", kExample);
    if (tile.code.empty())
      return wrong("'code=' is missing", kExample);
    section->tiles.push_back(std::move(tile));
  }
  if (first && number)
    return inputError(name, "", "is no file of tiles", "its first line is '" + kFirstLine + "'");
  return file;
}

llvm::Expected<TileFile> TileFile::read(const std::string &path, bool may_be_missing) {
  auto buffer = llvm::MemoryBuffer::getFile(path, /*IsText=*/false, false);
  if (!buffer) {
    if (may_be_missing && buffer.getError() == std::errc::no_such_file_or_directory)
      return TileFile();
    return inputError(path, "", "cannot read: " + buffer.getError().message());
  }
  return parse((*buffer)->getBuffer(), path);
}

const MeasuredTile *TileFile::findHere(llvm::StringRef target, llvm::StringRef cpu,
                                       llvm::StringRef key) const {
  for (const TileSection &section : sections)
    if (section.target == target && section.cpu == cpu)
      for (const MeasuredTile &tile : section.tiles)
        if (tile.key == key)
          return &tile;
  return nullptr;
}

const MeasuredTile *TileFile::find(llvm::StringRef target, llvm::StringRef cpu,
                                   llvm::StringRef key) const {
  if (const MeasuredTile *here = findHere(target, cpu, key))
    return here;
  for (const TileSection &section : sections)
    if (section.cpu != cpu)
      if (const MeasuredTile *there = findHere(target, section.cpu, key))
        return there;
  return nullptr;
}

void TileFile::set(llvm::StringRef target, llvm::StringRef cpu, MeasuredTile tile) {
  auto section = llvm::find_if(
      sections, [&](const TileSection &s) { return s.target == target && s.cpu == cpu; });
  if (section == sections.end())
    section = sections.insert(section, {target.str(), cpu.str(), {}});
  auto place = llvm::find_if(section->tiles,
                             [&](const MeasuredTile &other) { return other.key == tile.key; });
  if (place == section->tiles.end())
    section->tiles.push_back(std::move(tile));
  else
    *place = std::move(tile);
}

std::string TileFile::text() const {
  std::string out;
  llvm::raw_string_ostream os(out);
  os << kFirstLine << "\n# Tiles that `ingot compile --tune` measured; `--tune-file` uses them.\n";
  for (const TileSection &section : sections) {
    os << "\nmachine " << section.target << " on " << section.cpu << "\n";
    for (const MeasuredTile &tile : section.tiles) {
      os << "tile " << tile.key << ' ' << llvm::left_justify(tileText(tile.tile), 26)
         << " code=" << tile.code;
      if (!tile.note.empty())
        os << "  # " << tile.note;
      os << '\n';
    }
  }
  return out;
}

llvm::Error TileFile::write(const std::string &path) const {
  llvm::SmallString<128> temporary;
  llvm::sys::fs::createUniquePath(path + ".%%%%%%%%", temporary, /*MakeAbsolute=*/false);
  if (llvm::Error error = writeFile(temporary, text())) {
    llvm::sys::fs::remove(temporary);
    return error;
  }
  return publish(temporary, path);
}

std::string tileKey(const KernelSpec &spec, const Target &target) {
  KernelSpec untiled = spec;
  untiled.tile = Tile();
  return hashBytes(kernelText(untiled, target));
}

std::string tileCode(const KernelSpec &spec, const Target &target) {
  KernelSpec untiled = spec;
  untiled.tile = Tile();
  return hashBytes(kernelKey(untiled, target)).substr(0, kCodeDigits);
}

std::string processorName() {
  // The system's name tells more than the family that LLVM recognizes.
  if (auto info = llvm::MemoryBuffer::getFileAsStream("/proc/cpuinfo")) {
    llvm::StringRef rest = (*info)->getBuffer();
    while (!rest.empty()) {
      llvm::StringRef line;
      std::tie(line, rest) = rest.split('\n');
      auto [key, value] = line.split(':');
      if (key.trim() == "model name" && !value.trim().empty() && !value.contains('#'))
        return value.trim().str();
    }
  }
  return llvm::sys::getHostCPUName().str();
}

std::string tileText(const Tile &tile) {
  return "tokens=" + std::to_string(tile.token_tile) + " streams=" + std::to_string(tile.streams) +
         " keys=" + std::to_string(tile.key_tile);
}

} // namespace ingot
