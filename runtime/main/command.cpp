// What the modes share (command.h): error reports, the session, input.
#include "runtime/main/command.h"

#include "runtime/core/variants.h"
#include "runtime/platform/host.h"
#include "runtime/platform/platform.h"

#include <string.h>

namespace ingot::runtime {

int fail(Command &command, const char *what, const char *detail, const char *help) {
  command.out.flush();
  command.errors.text("error: ");
  if (what)
    command.errors.text(what).text(": ");
  command.errors.text(detail).text("\n");
  if (help && *help)
    command.errors.text("help: ").text(help).text("\n");
  command.errors.flush();
  return exit_input;
}

int fail(Command &command, const char *what, ingot_status status) {
  return fail(command, what, ingot_status_string(status),
              status == INGOT_CONTEXT_FULL ? "shorten the text, or compile with a larger --context"
                                           : nullptr);
}

void list_variants(Writer &out, const manifest::Build &build) {
  for (uint32_t i = 0; i < build.variants()->size(); ++i)
    out.text(i ? ", " : "")
        .text(build.variants()->Get(i)->name()->c_str())
        .text(" (")
        .text(build.variants()->Get(i)->isa()->c_str())
        .text(")");
}

int refuse_processor(Command &command) {
  const manifest::Build &build = *program_manifest(command.program)->build();
  char detail[512], help[512];
  Writer said(detail, sizeof detail - 1), advice(help, sizeof help - 1);
  const char *isa = command.options->isa;
  const int32_t named = isa ? named_variant(build, isa, platform::has_feature) : -1;
  if (isa && named < 0) {
    said.text("this program has no kernels for '").bytes(isa, strnlen(isa, 64)).text("'");
    advice.text("it has ");
    list_variants(advice, build);
  } else {
    const auto index = named < 0 ? build.variants()->size() - 1 : static_cast<uint32_t>(named);
    const manifest::Variant &variant = *build.variants()->Get(index);
    said.text("this processor has no ")
        .text(missing_feature(variant, platform::has_feature))
        .text(!isa && index ? ", which even the kernels for " : ", which kernels for ")
        .text(variant.name()->c_str())
        .text(" need");
    advice.text(isa ? "leave --isa out" : "compile the model for another --target");
  }
  detail[said.used] = 0;
  help[advice.used] = 0;
  return fail(command, isa ? "--isa" : nullptr, detail, help);
}

/// Says how much the system refused. Returns exit_input.
static int refuse_memory(Command &command, const ingot_session_options &options) {
  const ProgramSizes sizes = sizes_of(*command.program, program_manifest(command.program));
  const Layout layout = layout_of(sizes, options.sequences, options.max_text_bytes);
  const int32_t threads = options.threads ? options.threads : platform::core_count();
  const uint64_t bytes = layout.bytes + static_cast<uint64_t>(threads) * platform::step_stack_bytes;
  char detail[160];
  Writer said(detail, sizeof detail - 1);
  said.text("too little memory: the system refuses to reserve ")
      .grouped((bytes >> 20) + 1)
      .text(" MiB beside the program");
  detail[said.used] = 0;
  return fail(command, "cannot start", detail,
              "raise the limit (ulimit -v), use fewer --threads, or compile with a smaller "
              "--context");
}

/// Of a program whose weights are in a file: opens it. Returns an exit code.
static int open_weights(Command &command) {
  const manifest::Manifest *manifest = program_manifest(command.program);
  const char *path = command.options->weights;
  if (!manifest || !manifest->build()->weights_file())
    return path ? fail(command, "--weights", "this program has its weights itself",
                       "leave the option out")
                : exit_ok;
  // What only has to do with text does not need weights that are whole.
  const Mode mode = command.options->mode;
  const int32_t verify = mode != Mode::tokenize && mode != Mode::detokenize;
  const ingot_status status = ingot_weights_open(command.program, path, verify, &command.weights);
  return status ? fail(command, path ? path : manifest->build()->weights_file()->c_str(),
                       ingot_status_string(status),
                       "a program and its file of weights are compiled together; keep them side by "
                       "side")
                : exit_ok;
}

int open_session(Command &command, uint64_t max_text_bytes) {
  if (const int code = open_weights(command))
    return code;
  ingot_session_options options = ingot_default_session_options();
  options.threads = command.options->threads;
  const ingot_program &program = *command.program;
  if (command.options->batch)
    options.sequences = command.options->batch;
  else if (command.options->mode == Mode::selftest && program.batch_steps)
    options.sequences = program.batch_tokens[program.batch_steps - 1];
  if (max_text_bytes > options.max_text_bytes)
    options.max_text_bytes = max_text_bytes;
  // Tokenizing reads no weights and needs no threads.
  const Mode mode = command.options->mode;
  if (mode == Mode::tokenize || mode == Mode::detokenize) {
    options.threads = 1;
    options.prefault = 0;
  }
  if (command.options->layers)
    options.threads = 1;
  options.isa = command.options->isa;
  options.weights = command.weights;
  char problem[INGOT_PROBLEM_BYTES];
  options.problem = problem;
  const ingot_status status = ingot_session_create(command.program, &options, &command.session);
  if (status == INGOT_UNSUPPORTED_CPU || (status == INGOT_BAD_ARGUMENT && options.isa))
    return refuse_processor(command);
  if (status == INGOT_NO_MEMORY && *problem)
    return fail(command, "too little memory", problem);
  if (status == INGOT_NO_MEMORY)
    return refuse_memory(command, options);
  if (status == INGOT_NO_DEVICE && *problem)
    return fail(command, "cannot start", problem);
  if (!status && *problem)
    command.errors.text("note: ")
        .text(problem)
        .text("; running on ")
        .text(ingot_isa(command.session))
        .text("\n")
        .flush();
  return status ? fail(command, "cannot start", status) : exit_ok;
}

int read_input(Command &command, const char *value, bool at_file, const char **text,
               uint64_t *bytes) {
  if (at_file) {
    if (int code = platform::map_file(value, text, bytes))
      return fail(command, value, platform::error_text(code));
    return exit_ok;
  }
  if (strcmp(value, "-") != 0) {
    *text = value;
    *bytes = strlen(value);
    return exit_ok;
  }
  constexpr uint64_t limit = 256u << 20; // committed as it is read
  auto *memory = static_cast<char *>(platform::map_memory(limit));
  if (!memory)
    return fail(command, "standard input", ingot_status_string(INGOT_NO_MEMORY));
  uint64_t used = 0;
  for (;;) {
    size_t count;
    const int code = platform::read_some(0, memory + used, limit - used, &count);
    if (code == platform::interrupted)
      continue;
    if (code)
      return fail(command, "standard input", platform::error_text(code));
    if (!count)
      break;
    used += count;
    if (used == limit)
      return fail(command, "standard input", "longer than 256 MiB");
  }
  *text = memory;
  *bytes = used;
  return exit_ok;
}

} // namespace ingot::runtime
