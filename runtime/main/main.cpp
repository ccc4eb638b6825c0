// The entry of a compiled program: parse the command line, open a session, run one mode.
//
// The link recipe of a program: crt1.o, crti.o, the program's objects (which define
// `ingot_main_program`), libingot_runtime.a (which defines `main` and `ingot_barrier_wait`), libc,
// libm and libgcc, crtn.o; statically or not. The C library may be glibc or musl: a static program
// is some 750 KB smaller with musl. No C++ library and no unwinder is needed: the runtime has no
// exceptions, no RTTI, no heap and no static constructors.
#include "runtime/main/command.h"

#include "runtime/platform/host.h"

namespace ingot::runtime {
namespace {

int dispatch(Command &command) {
  const Options &options = *command.options;
  switch (options.mode) {
  case Mode::help:
    command.out.text(help_text);
    return exit_ok;
  case Mode::version:
  case Mode::info:
    return run_info(command);
  case Mode::chat:
    return run_chat(command);
  case Mode::prompt:
    return run_prompt(command);
  case Mode::logits:
    return run_logits(command);
  case Mode::tokenize:
    return run_tokenize(command);
  case Mode::detokenize:
    return run_detokenize(command);
  case Mode::perplexity:
    return run_perplexity(command);
  case Mode::bench:
    return run_bench(command);
  case Mode::profile:
    return run_profile(command);
  case Mode::selftest:
    return run_selftest(command);
  case Mode::first_token:
    return run_first_token(command);
  }
  return exit_usage;
}

} // namespace
} // namespace ingot::runtime

int main(int argc, char **argv) {
  using namespace ingot::runtime;
  char out_buffer[16384], error_buffer[1024];
  Options options;
  Command command{&ingot_main_program,
                  &options,
                  argv,
                  nullptr,
                  nullptr,
                  Writer(out_buffer, sizeof out_buffer, 1),
                  Writer(error_buffer, sizeof error_buffer, 2)};
  char message[256], help[256];
  if (!parse_options(argc, argv, &options, message, help)) {
    fail(command, nullptr, message, help);
    return exit_usage;
  }
  if (!options.seeded)
    options.sampling.seed = ingot::platform::entropy();
  int code = dispatch(command);
  if (int error = command.out.flush(); error && code == exit_ok)
    code = fail(command, "standard output", ingot::platform::error_text(error));
  ingot_session_destroy(command.session);
  ingot_weights_close(command.weights);
  return code;
}
