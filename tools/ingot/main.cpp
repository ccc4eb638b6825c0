// ingot: the compiler's command line.
#include "codegen/Compile.h"
#include "codegen/link/Selftest.h"
#include "runtime/core/program.h"
#include "runtime/include/ingot.h"
#include "support/Error.h"
#include "targets/Target.h"
#include "tools/ingot/Commands.h"
#include "tools/ingot/Completion.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/WithColor.h"
#include "llvm/Support/raw_ostream.h"
#include <CLI/CLI.hpp>

#include <chrono>
#include <csignal>
#include <cstdlib>

using namespace ingot;

static std::string folderOfThisProgram(const char *argv0) {
  const std::string program =
      llvm::sys::fs::getMainExecutable(argv0, reinterpret_cast<void *>(&folderOfThisProgram));
  return llvm::sys::path::parent_path(program).str();
}

int main(int argc, char **argv) {
  llvm::InitLLVM init(argc, argv);
  // A limit on file sizes is an error to report, like a full disk, not a reason to die.
  std::signal(SIGXFSZ, SIG_IGN);
  // Colours on a terminal, but not where the user wants none (https://no-color.org).
  llvm::WithColor::setAutoDetectFunction([](const llvm::raw_ostream &out) {
    const char *none = std::getenv("NO_COLOR");
    return !(none && *none) && llvm::WithColor::defaultAutoDetectFunction()(out);
  });
  CLI::App app{"Compiles a language model into one program that answers.", "ingot"};
  app.set_version_flag("--version", "ingot " INGOT_VERSION);
  app.require_subcommand(1);
  app.failure_message([](const CLI::App *, const CLI::Error &error) {
    return "error: " + std::string(error.what()) +
           "\nhelp: ingot --help, or ingot COMMAND --help\n";
  });

  CompileOptions compile;
  compile.cache_folder = defaultCacheFolder();
  compile.runtime_folder = folderOfThisProgram(argv[0]) + "/../lib/ingot";
  std::string emit = "exe", activations, cache;
  bool no_cache = false, compile_json = false;
  CLI::App *compile_command = app.add_subcommand("compile", "Compile a model file");
  compile_command->add_option("MODEL", compile.model, "GGUF file")->required();
  compile_command->add_option("-o,--output", compile.output, "File to write");
  compile_command
      ->add_option("--target", compile.lowering.target,
                   "Machine to compile for; see `ingot targets`")
      ->capture_default_str();
  compile_command->add_option(
      "--quantize", compile.lowering.quantize,
      "Round weights to another format: int4:g32, uint4:g32, int8, int8:g64, "
      "f16 ... (default: as stored)");
  compile_command->add_option(
      "--quantize-output", compile.lowering.quantize_output,
      "Format of the output layer (default: as --quantize, at least 8 bits)");
  compile_command
      ->add_option(
          "--activations", activations,
          "What linear layers read: rounded to codes of 8 or 16 bits, to halves, or as it is "
          "(default: the target's)")
      ->check(CLI::IsMember({"int8", "int16", "f16", "f32"}));
  compile_command
      ->add_option("--kv-cache", cache,
                   "Elements of the KV cache (default: i16, with a scale for each head and "
                   "position; f16 where the target reads floats; f32 with --activations f32)")
      ->check(CLI::IsMember({"i16", "f16", "f32"}));
  compile_command
      ->add_option("--context", compile.context,
                   "Most tokens of a conversation (default: the model's, at most 2048)")
      ->check(CLI::PositiveNumber);
  compile_command
      ->add_option("--batch", compile.lowering.batch,
                   "Decode steps for so many sequences at once, e.g. 1,4,8; 1: none")
      ->delimiter(',')
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  compile_command->add_flag("--embeddings", compile.lowering.embeddings,
                            "Also a step whose result is hidden states (ingot_embed)");
  compile_command->add_option("--emit", emit, "What to write")
      ->check(CLI::IsMember({"exe", "shared", "object", "llvm", "mlir"}))
      ->capture_default_str();
  compile_command->add_flag("--split", compile.split,
                            "Leave the weights in a file beside the output, OUTPUT.weights");
  compile_command
      ->add_option("--symbol", compile.symbol,
                   "What the program is called in a library or object: const ingot_program SYMBOL")
      ->check([](const std::string &name) {
        const bool fits = !name.empty() && !llvm::isDigit(name[0]) &&
                          llvm::all_of(name, [](char c) { return llvm::isAlnum(c) || c == '_'; });
        return fits ? "" : "is not a name in C";
      })
      ->capture_default_str();
  compile_command->add_option("--header", compile.header,
                              "C header to write: sizes, tokens and name of the model");
  compile_command->add_option("--depfile", compile.depfile,
                              "Makefile rule to write: the files that were read");
  std::string diagnostics = "plain";
  compile_command
      ->add_option("--diagnostics", diagnostics,
                   "How errors are written; compiler: as FILE: error: MESSAGE, for build tools; "
                   "json: progress, too, as a line each, for programs")
      ->check(CLI::IsMember({"plain", "compiler", "json"}))
      ->capture_default_str();
  compile_command->add_option("--dump-after", compile.dump_after,
                              "Print the IR after a pass (`import` for the model as read)");
  std::string tune;
  CLI::Option *tune_option =
      compile_command
          ->add_flag("--tune{" + std::to_string(int(compile.tune.seconds)) + "}", tune,
                     "Measure tiles of kernels on this machine, for at most SECONDS (--tune=120; "
                     "60); measured ones are kept")
          ->check(CLI::PositiveNumber);
  CLI::Option *tune_time =
      compile_command->add_option("--tune-time", compile.tune.seconds, "The same SECONDS")
          ->check(CLI::PositiveNumber)
          ->needs(tune_option);
  compile_command->add_option("--tune-file", compile.tune.file,
                              "Measured tiles: used, and with --tune completed");
  compile_command->add_option("--tune-report", compile.tune.report, "What --tune measured, as JSON")
      ->needs(tune_option);
  PredictRequest predict;
  bool predicting = false;
  CLI::Option *predict_option = compile_command->add_flag(
      "--predict", predicting,
      "Write nothing; print what the machine's model says of speed, memory and bytes moved");
  predict_option->excludes(tune_option);
  compile_command->add_option("--threads", predict.threads, "Threads of the prediction")
      ->needs(predict_option)
      ->check(CLI::Range(1, INGOT_MAX_THREADS))
      ->capture_default_str();
  compile_command
      ->add_option("--device", predict.device,
                   "Predict for this machine alone (default: all that the target knows)")
      ->needs(predict_option);
  for (auto [name, field, help, least] :
       {std::tuple("--prompt-tokens", &predict.prompt_tokens, "Tokens of its prompt", 1),
        std::tuple("--gen-tokens", &predict.gen_tokens, "Tokens that it decodes", 1),
        std::tuple("--depth", &predict.depth, "Tokens before those", 0)})
    compile_command->add_option(name, *field, help)
        ->needs(predict_option)
        ->check(CLI::Range(least, 1 << 24))
        ->capture_default_str();
  CLI::Option *verify_option =
      compile_command
          ->add_flag("--verify", compile.verify,
                     "Compare with the reference interpreter first: the program, or one of the "
                     "same code and weights where a library or object is made")
          ->excludes(predict_option);
  compile_command->add_option("--verify-tokens", compile.verify_tokens, "Tokens to compare")
      ->needs(verify_option)
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  compile_command
      ->add_option("--selftest-tokens", compile.selftest_tokens,
                   "Tokens that --selftest of the program replays; 0: none (default: 16 for small "
                   "models, fewer or none for large ones)")
      ->check(CLI::Range(0, int(kMostSelftestTokens)));
  compile_command->add_option("--cache", compile.cache_folder, "Folder of compiled kernels");
  compile_command->add_flag("--no-cache", no_cache, "Compile every kernel anew");
  compile_command->add_flag("--json", compile_json,
                            "Say what was made, or with --predict what it would do, as JSON");
  bool verbose = false;
  compile_command->add_flag("-v,--verbose", verbose, "Say what is done and how long it takes");

  InspectOptions inspect;
  CLI::App *inspect_command =
      app.add_subcommand("inspect", "Show what is in a model file or a compiled program");
  inspect_command->add_option("FILE", inspect.file, "GGUF file or compiled program")->required();
  CLI::Option *inspect_json = inspect_command->add_flag("--json", inspect.json, "As JSON");
  inspect_command
      ->add_option("--html", inspect.html,
                   "As a page that needs nothing else, written to this file")
      ->excludes(inspect_json);

  ReferenceOptions reference;
  CLI::App *reference_command =
      app.add_subcommand("reference", "Run a model in the reference interpreter");
  reference_command->add_option("MODEL", reference.model, "GGUF file")->required();
  reference_command->add_option("--tokens", reference.tokens, "Token ids 1,2,3 or @FILE")
      ->required();
  reference_command
      ->add_option("--logits", reference.output, "File for float32 [tokens, vocab] (.npy)")
      ->required();
  reference_command
      ->add_option("--activations", reference.activations,
                   "int8, int16, f16: rounded as kernels do it")
      ->check(CLI::IsMember({"int8", "int16", "f16", "f32"}))
      ->capture_default_str();
  reference_command->add_flag("--json", reference.json, "Say what was written as JSON");

  CompareOptions compare;
  compare.runtime_folder = compile.runtime_folder;
  compare.cache_folder = compile.cache_folder;
  CLI::App *compare_command = app.add_subcommand(
      "compare", "Name the first layer and kernel in which a program differs from another");
  compare_command->add_option("A", compare.a, "Compiled program")->required();
  compare_command
      ->add_option(
          "B", compare.b,
          "Compiled program, or the model file: the reference interpreter then runs what A "
          "was compiled from")
      ->required();
  compare_command->add_option("--tokens", compare.tokens,
                              "Token ids 1,2,3 or @FILE (default: those of --selftest)");
  compare_command
      ->add_option(
          "--step", compare.step,
          "score or prefill: all tokens at once; decode: one by one; decode8: of 8 sequences")
      ->capture_default_str();
  compare_command->add_option("--isa-a", compare.isa_a, "Which kernels of A");
  compare_command->add_option("--isa-b", compare.isa_b, "Which kernels of B");
  compare_command
      ->add_option("--bound", compare.bound,
                   "Relative error that is too much (default: 0.1 with "
                   "rounded activations, 1e-4 with f32)")
      ->check(CLI::PositiveNumber);
  compare_command->add_option("--json", compare.json, "File for the errors of all launches");
  CLI::Option *reduce_option = compare_command->add_option(
      "--reduce", compare.reduce,
      "File (.mlir) for the smallest model that still shows the difference; both sides are "
      "compiled and run for each try");
  compare_command
      ->add_option("--model", compare.model, "What A was compiled from, where B is a program")
      ->needs(reduce_option);

  bool targets_json = false;
  CLI::App *targets_command = app.add_subcommand("targets", "List the machines to compile for");
  targets_command->add_flag("--json", targets_json, "As JSON");

  DoctorOptions doctor{compile.runtime_folder, compile.cache_folder};
  CLI::App *doctor_command = app.add_subcommand(
      "doctor", "Say what is installed, which targets work here, and what to do about the rest");
  doctor_command->add_flag("--json", doctor.json, "As JSON");

  std::string shell;
  CLI::App *completion_command =
      app.add_subcommand("completion", "Print a script by which a shell completes ingot's words");
  completion_command->add_option("SHELL", shell, "bash, zsh or fish")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError &error) {
    return app.exit(error) ? 2 : 0;
  }
  if (*compile_command) {
    if (compile.output.empty() && !predicting)
      return app.exit(CLI::RequiredError("--output")) ? 2 : 0;
    if (predicting)
      compile.predict = predict;
    compile.lowering.activations =
        parseActivations(activations).value_or(defaultActivations(compile.lowering.target));
    // Who asks for fp32 activations wants exactness, so the cache follows unless it is chosen.
    // Targets whose default they are read floats of half the bytes, beside halves, too.
    const Activations read = compile.lowering.activations;
    const bool floats = (read == Activations::f32 || read == Activations::f16) &&
                        defaultActivations(compile.lowering.target) == Activations::f32;
    if (cache.empty())
      cache = activations == "f32" ? "f32" : floats ? "f16" : "i16";
    compile.kv_cache = cache == "i16"   ? CodeKind::i
                       : cache == "f16" ? CodeKind::f16
                                        : CodeKind::f32;
    std::vector<int64_t> &batch = compile.lowering.batch;
    llvm::sort(batch);
    batch.erase(std::unique(batch.begin(), batch.end()), batch.end());
    if (llvm::count_if(batch, [](int64_t n) { return n > 1; }) > INGOT_MAX_BATCH_STEPS)
      return reportError(inputError("--batch", "",
                                    "at most " + llvm::Twine(INGOT_MAX_BATCH_STEPS) +
                                        " sizes above 1 are compiled"));
    compile.emit = emit == "exe"      ? Emit::exe
                   : emit == "shared" ? Emit::shared
                   : emit == "object" ? Emit::object
                   : emit == "llvm"   ? Emit::llvm
                                      : Emit::mlir;
    if (no_cache)
      compile.cache_folder.clear();
    compile.predict_json = compile_json;
    compile.tune.measure = bool(*tune_option);
    if (*tune_option && !*tune_time)
      compile.tune.seconds = std::stod(tune);
    const ErrorForm form = diagnostics == "plain"      ? ErrorForm::plain
                           : diagnostics == "compiler" ? ErrorForm::compiler
                                                       : ErrorForm::json;
    compile.progress = form == ErrorForm::json ? ProgressForm::json
                       : verbose               ? ProgressForm::times
                                               : ProgressForm::bar;
    const auto begin = std::chrono::steady_clock::now();
    if (llvm::Error error = compileModel(compile))
      return reportError(std::move(error), form);
    if (compile_json && !predicting)
      printCompiled(
          compile, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    return 0;
  }
  if (*doctor_command)
    return runDoctor(doctor);
  if (*completion_command) {
    CompletionChoices choices;
    for (const TargetName &target : targetNames())
      choices["--target"].push_back(target.name);
    llvm::outs() << completionScript(app, shell, choices);
    return 0;
  }
  if (*inspect_command)
    return runInspect(inspect);
  if (*reference_command)
    return runReference(reference);
  if (*compare_command)
    return runCompare(compare);
  if (*targets_command)
    return runTargets(targets_json);
  return 2;
}
