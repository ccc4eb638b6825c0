// Writes a model's C header (Header.h).
#include "codegen/link/Header.h"

#include "runtime/manifest_generated.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/raw_ostream.h"

#include <set>

namespace ingot {
namespace {

/// Capitals, digits and single underscores: "<|im_end|>" -> "IM_END".
std::string constantName(llvm::StringRef text) {
  std::string out;
  for (char c : text)
    if (llvm::isAlnum(c))
      out += llvm::toUpper(c);
    else if (!out.empty() && out.back() != '_')
      out += '_';
  return llvm::StringRef(out).rtrim('_').str();
}

/// The inside of a C string literal. Octal escapes end after three digits, hexadecimal ones do not;
/// and no trigraphs.
std::string literal(llvm::StringRef text) {
  std::string out;
  llvm::raw_string_ostream stream(out);
  for (unsigned char c : text)
    if (c == '"' || c == '\\' || c == '?')
      stream << '\\' << c;
    else if (c < 32 || c == 127)
      stream << '\\' << char('0' + (c >> 6)) << char('0' + (c >> 3 & 7)) << char('0' + (c & 7));
    else
      stream << c;
  return out;
}

llvm::StringRef view(const flatbuffers::String *text) {
  return text ? llvm::StringRef(text->c_str(), text->size()) : llvm::StringRef();
}

/// A text inside of a comment.
std::string comment(llvm::StringRef text) {
  std::string out;
  for (char c : text)
    out += llvm::isPrint(c) && c != '*' ? c : '?';
  return out;
}

} // namespace

std::string headerOf(llvm::StringRef bytes, llvm::StringRef symbol) {
  const manifest::Manifest &root = *manifest::GetManifest(bytes.data());
  const manifest::Model &model = *root.model();
  const manifest::Tokenizer &tables = *root.tokenizer();
  llvm::StringRef stem = symbol;
  stem.consume_back("_program");
  const std::string prefix = llvm::StringRef(stem).upper() + "_";
  std::string out;
  llvm::raw_string_ostream stream(out);
  std::set<std::string> defined; // a name means the first token that has it
  auto define = [&](const llvm::Twine &name, const llvm::Twine &value) {
    if (defined.insert(name.str()).second)
      stream << "#define " << prefix << name << " " << value << "\n";
  };
  stream << "/* " << comment(view(root.build()->source_file())) << " for "
         << comment(view(root.build()->target()))
         << ". Made by `ingot compile`; edits are lost. */\n"
         << "#pragma once\n\n#include <ingot.h>\n\n";
  define("MODEL_NAME", "\"" + literal(view(model.name())) + "\"");
  define("ARCHITECTURE", "\"" + literal(view(model.architecture())) + "\"");
  define("CONTEXT_LENGTH", llvm::Twine(model.context_length()) + " /* tokens */");
  define("VOCAB_SIZE", llvm::Twine(model.vocab_size()) + " /* token ids are below it */");
  if (const flatbuffers::String *file = root.build()->weights_file())
    define("WEIGHTS_FILE", "\"" + literal(view(file)) + "\"");
  stream << "\n/* Token ids; -1: the model has none. */\n";
  define("TOKEN_BOS", llvm::Twine(tables.bos()));
  define("ADD_BOS", llvm::Twine(int(tables.add_bos())) +
                        " /* 1: TOKEN_BOS before a text that begins a sequence */");
  define("TOKEN_EOS", llvm::Twine(tables.eos()));
  define("TOKEN_UNKNOWN", llvm::Twine(tables.unknown()));
  for (uint32_t i = 0; tables.special() && i < tables.special()->size(); ++i) {
    const auto id = static_cast<uint32_t>(tables.special()->Get(i));
    const uint32_t begin = tables.token_offsets()->Get(id);
    const uint32_t end = tables.token_offsets()->Get(id + 1);
    const llvm::StringRef text(reinterpret_cast<const char *>(tables.token_bytes()->data()) + begin,
                               end - begin);
    const std::string name = constantName(text);
    if (!name.empty())
      define("TOKEN_" + name, llvm::Twine(id) + " /* " + comment(text) + " */");
  }
  stream << "\n#ifdef __cplusplus\nextern \"C\" {\n#endif\n"
         << "/* The model: what ingot_session_create takes. */\n"
         << "extern const ingot_program " << symbol << ";\n"
         << "#ifdef __cplusplus\n}\n#endif\n";
  return out;
}

} // namespace ingot
