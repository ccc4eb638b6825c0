// Loads a model's shared library (library.h).
#include "library.h"

#include <dlfcn.h>
#include <new>

namespace ingot::python {
namespace {

/// "folder/model.so" -> "folder/model.weights", as the compiler names it.
std::string weightsBeside(std::string path) {
  if (path.ends_with(".so"))
    path.resize(path.size() - 3);
  return path + ".weights";
}

} // namespace

void check(const Functions &api, ingot_status status, const std::string &what) {
  if (status == INGOT_OK)
    return;
  const std::string message = what + ": " + api.ingot_status_string(status);
  switch (status) {
  case INGOT_BAD_TOKEN:
  case INGOT_BAD_ARGUMENT:
  case INGOT_TEXT_TOO_LONG:
  case INGOT_FOREIGN_SAVE:
  case INGOT_DAMAGED_SAVE:
    throw std::invalid_argument(message);
  case INGOT_NO_MEMORY:
    throw std::bad_alloc();
  case INGOT_CONTEXT_FULL:
    throw ContextFull(message);
  case INGOT_INTERRUPTED:
    throw Cancelled(message);
  case INGOT_WEIGHTS_UNREADABLE:
  case INGOT_WRONG_WEIGHTS:
  case INGOT_DAMAGED_WEIGHTS:
    throw LoadError(message);
  default:
    throw Error(message);
  }
}

Library::Library(const std::string &path, const std::string &symbol,
                 const std::string &weights_file, bool verify)
    : path(path) {
  // Sees its own functions before those of another model in the process.
  handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle)
    throw LoadError(std::string("cannot load ") + dlerror() +
                    "; what ingot.compile(..., emit=\"shared\") makes can be loaded");
  try {
    std::string missing;
    auto look = [&](const std::string &name) {
      void *found = dlsym(handle, name.c_str());
      if (!found && missing.empty())
        missing = name;
      return found;
    };
#define INGOT_FUNCTION(name) api.name = reinterpret_cast<decltype(api.name)>(look(#name));
#include "functions.inc"
#undef INGOT_FUNCTION
    if (!missing.empty() || (api.ingot_api_version && api.ingot_api_version() != INGOT_API_VERSION))
      throw LoadError(path + ": is no model of this version of Ingot" +
                      (missing.empty() ? "" : " (it has no " + missing + ")") +
                      "; compile it again");
    program = static_cast<const ingot_program *>(look(symbol));
    if (!program)
      throw LoadError(path + ": has no model '" + symbol +
                      "'; give the symbol that it was compiled with");
    check(api, api.ingot_model_info_of(program, &info), path);
    const std::string file = weights_file.empty() ? weightsBeside(path) : weights_file;
    const ingot_status status = api.ingot_weights_open(program, file.c_str(), verify, &weights);
    // A model that has its weights itself has no use for a file.
    if (status == INGOT_BAD_ARGUMENT && weights_file.empty())
      return;
    if (status == INGOT_BAD_ARGUMENT)
      throw std::invalid_argument(path + ": has its weights itself, and needs no file of them");
    check(api, status, file);
  } catch (...) {
    dlclose(handle);
    throw;
  }
}

Library::~Library() {
  if (weights)
    api.ingot_weights_close(weights);
  dlclose(handle);
}

} // namespace ingot::python
