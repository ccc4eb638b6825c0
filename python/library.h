// A model's shared library, which has a runtime of its own: the functions of ingot.h, looked up in
// it.
#pragma once

#include <ingot.h>

#include <memory>
#include <stdexcept>
#include <string>

namespace ingot::python {

/// What ended an evaluation; Python's ingot.Error, ContextFull and Cancelled.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};
struct ContextFull : Error {
  using Error::Error;
};
struct Cancelled : Error {
  using Error::Error;
};
/// A file that cannot be loaded; Python's OSError.
struct LoadError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// The functions of one library, under the names of ingot.h.
struct Functions {
#define INGOT_FUNCTION(name) decltype(&::name) name = nullptr;
#include "functions.inc"
#undef INGOT_FUNCTION
};

/// Throws what `status` means, with `what` in front: nothing for INGOT_OK.
void check(const Functions &api, ingot_status status, const std::string &what);

/// A loaded model. It stays loaded as long as its sessions have it.
class Library {
public:
  /// `weights`: the file of a model that was compiled with --split; empty: the one beside `path`.
  Library(const std::string &path, const std::string &symbol, const std::string &weights,
          bool verify);
  ~Library();
  Library(const Library &) = delete;

  Functions api;
  const ingot_program *program = nullptr;
  ingot_weights *weights = nullptr; ///< null where the library has them itself
  ingot_model_info info;
  const std::string path;

private:
  void *handle = nullptr;
};

} // namespace ingot::python
