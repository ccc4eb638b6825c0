#include "support/Error.h"

#include "llvm/Support/JSON.h"
#include "llvm/Support/WithColor.h"
#include "llvm/Support/raw_ostream.h"

namespace ingot {

char InputError::ID = 0;

void InputError::log(llvm::raw_ostream &os) const {
  if (!file.empty())
    os << file << ": ";
  if (!where.empty())
    os << where << ": ";
  os << message;
}

std::error_code InputError::convertToErrorCode() const {
  return std::make_error_code(std::errc::invalid_argument);
}

llvm::Error inputError(const llvm::Twine &file, const llvm::Twine &where,
                       const llvm::Twine &message, const llvm::Twine &help) {
  return llvm::make_error<InputError>(file.str(), where.str(), message.str(), help.str());
}

static void printDiagnostic(InputError error) {
  const std::string file = error.file.empty() ? "ingot" : error.file;
  error.file.clear();
  llvm::errs() << file << ": ";
  error.log(llvm::WithColor::error());
  llvm::errs() << "\n";
  if (!error.help.empty())
    llvm::errs() << file << ": ", llvm::WithColor::note() << error.help << "\n";
}

static void printJson(const InputError &error) {
  auto text = [](llvm::StringRef bytes) { return llvm::json::fixUTF8(bytes); };
  llvm::errs() << llvm::json::Value(llvm::json::Object{{"error", text(error.message)},
                                                       {"file", text(error.file)},
                                                       {"where", text(error.where)},
                                                       {"help", text(error.help)}})
               << "\n";
}

int reportError(llvm::Error error, ErrorForm form) {
  llvm::handleAllErrors(
      std::move(error),
      [&](const InputError &e) {
        if (form == ErrorForm::compiler)
          return printDiagnostic(e);
        if (form == ErrorForm::json)
          return printJson(e);
        e.log(llvm::WithColor::error());
        llvm::errs() << "\n";
        if (!e.help.empty())
          llvm::WithColor(llvm::errs(), llvm::HighlightColor::Note) << "help: ",
              llvm::errs() << e.help << "\n";
      },
      [&](const llvm::ErrorInfoBase &e) {
        if (form == ErrorForm::compiler)
          return printDiagnostic(InputError("", "", e.message(), ""));
        if (form == ErrorForm::json)
          return printJson(InputError("", "", e.message(), ""));
        llvm::WithColor::error() << e.message() << "\n";
      });
  return 1;
}

std::string grouped(uint64_t value) {
  std::string digits = std::to_string(value), out;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i && (digits.size() - i) % 3 == 0)
      out += ',';
    out += digits[i];
  }
  return out;
}

} // namespace ingot
