// One error type for everything a user's input can get wrong, and one function that prints it.
#pragma once

#include "llvm/ADT/Twine.h"
#include "llvm/Support/Error.h"

#include <string>

namespace ingot {

/// What was wrong (`message`), where (`file`, then `where`: a tensor, a metadata field, an op
/// location), and what to do about it (`help`, may be empty). Printed as
///
///     error: model.gguf: tensor 'blk.3.ffn_up.weight': needs 497,664 bytes in Q4_1, 120,032 are
///     left help: the file looks truncated; download it again
class InputError : public llvm::ErrorInfo<InputError> {
public:
  static char ID;
  std::string file, where, message, help;

  InputError(std::string file, std::string where, std::string message, std::string help)
      : file(std::move(file)), where(std::move(where)), message(std::move(message)),
        help(std::move(help)) {}
  void log(llvm::raw_ostream &os) const override;
  std::error_code convertToErrorCode() const override;
};

/// Returns an InputError. `where` and `help` may be empty.
llvm::Error inputError(const llvm::Twine &file, const llvm::Twine &where,
                       const llvm::Twine &message, const llvm::Twine &help = "");

enum class ErrorForm : uint8_t {
  plain,    ///< "error: FILE: WHERE: MESSAGE", coloured on a terminal, and "help: HELP"
  compiler, ///< "FILE: error: WHERE: MESSAGE", which build tools and editors find
  json,     ///< {"error": MESSAGE, "file": FILE, "where": WHERE, "help": HELP}, one line
};

/// Prints every error in `error` and returns the exit code (1).
int reportError(llvm::Error error, ErrorForm form = ErrorForm::plain);

/// 497664 -> "497,664": the way errors and tables print counts.
std::string grouped(uint64_t value);

} // namespace ingot
