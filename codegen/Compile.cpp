// The compiler's main line: each step with the reason why it is where it is.
#include "codegen/Compile.h"

#include "codegen/Runner.h"
#include "codegen/Variants.h"
#include "codegen/Verify.h"
#include "codegen/cache/KernelCache.h"
#include "codegen/halide/Kernel.h"
#include "codegen/link/Header.h"
#include "codegen/link/Manifest.h"
#include "codegen/link/Pack.h"
#include "codegen/link/Split.h"
#include "codegen/llvm/Steps.h"
#include "codegen/spirv/Program.h"
#include "dialects/kernel/Spec.h"
#include "frontend/Import.h"
#include "support/Error.h"
#include "support/Files.h"
#include "support/Hash.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/AsmState.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/ThreadPool.h"

#include <atomic>
#include <future>
#include <mutex>

using namespace mlir;

namespace ingot {
namespace {

/// How much may be packed before the pages that were read are given back.
constexpr uint64_t release_bytes = 32 << 20;

class Compilation {
public:
  explicit Compilation(const CompileOptions &options)
      : options(options), progress(options.progress) {
    context.loadDialect<kernel::KernelDialect, LLVM::LLVMDialect>();
  }

  llvm::Error run() {
    // Everything that can be wrong with the command itself, before any work.
    auto made = makeTarget(options.lowering.target);
    if (!made)
      return made.takeError();
    target = std::move(*made);
    if (llvm::Error error = checkForm())
      return error;
    if (options.split)
      split_file = splitFile(options.output);
    for (const std::string &file : {options.output, options.header, options.depfile, split_file})
      if (!file.empty())
        if (llvm::Error error = checkWritable(file))
          return error;
    if (llvm::Error error = checkTuning())
      return error;
    if (llvm::Error error = checkVerifying())
      return error;

    progress.stage("reading " + options.model);
    ImportOptions import{options.context, CompileOptions::default_context, options.kv_cache};
    auto imported = importModel(context, options.model, import);
    if (!imported)
      return imported.takeError();
    model = std::move(*imported);
    if (options.dump_after == "import")
      print(*model.module);

    // The scratch folder comes after the checks of the input: a bad file leaves nothing behind.
    if (llvm::Error error = lower())
      return error;
    if (llvm::Error error = checkAddresses())
      return error;
    auto made_variants = makeVariants(*model.module, *target);
    if (!made_variants)
      return made_variants.takeError();
    variants = std::move(*made_variants);
    if (options.predict)
      return printPredictions();
    auto made_scratch = ScratchFolder::beside(options.output);
    if (!made_scratch)
      return made_scratch.takeError();
    ScratchFolder scratch = std::move(*made_scratch);
    const std::string result = scratch.file("result");
    if (llvm::Error error = chooseTiles(scratch))
      return error;
    if (options.emit == Emit::mlir) {
      // Split as the tools of MLIR split files.
      std::string all;
      for (Variant &variant : variants)
        all += (all.empty() ? "" : "\n// -----\n\n") + text(*variant.module);
      if (llvm::Error error = writeFile(result, all))
        return error;
      return publish(result, options.output);
    }

    // Errors in what the manifest is made of come before the long work.
    if (llvm::Error error = makeManifest())
      return error;
    source_hash.emplace(model.file->bytes());
    startSelftest();
    if (options.emit == Emit::llvm) {
      if (llvm::Error error = finishSelftest())
        return error;
      auto steps = lowerProgram();
      if (!steps)
        return steps.takeError();
      auto ir = printLlvm(**steps, *target);
      if (!ir)
        return ir.takeError();
      if (llvm::Error error = writeFile(result, *ir))
        return error;
      return publish(result, options.output);
    }
    if (llvm::Error error = compileKernels(scratch))
      return error;
    // The file is hashed as it is packed, and the steps' object holds the manifest with its hash.
    if (llvm::Error error = writePackedWeights(scratch))
      return error;
    if (!split_file.empty())
      if (llvm::Error error = sealSplitWeights())
        return error;
    if (llvm::Error error = finishSelftest())
      return error;
    if (llvm::Error error = compileStepObject(scratch))
      return error;

    progress.stage("linking");
    link.form = options.emit == Emit::exe      ? LinkForm::program
                : options.emit == Emit::shared ? LinkForm::shared
                                               : LinkForm::object;
    link.symbol = options.symbol;
    link.name = llvm::sys::path::filename(options.output);
    link.runtime_folder = options.runtime_folder;
    link.output = result;
    link.scratch = scratch.file("link.o");
    // Verified before it gets its name: what fails is never published.
    if (options.verify && link.form != LinkForm::program)
      if (llvm::Error error = verifyObjects(scratch))
        return error;
    if (llvm::Error error = target->link(link))
      return error;
    if (options.verify && link.form == LinkForm::program)
      if (llvm::Error error = verifyProgram(result))
        return error;
    // The output is last: where it is new, what belongs to it is new, too.
    if (!split_file.empty())
      if (llvm::Error error = publish(packed, split_file))
        return error;
    if (!options.header.empty())
      if (llvm::Error error =
              writeAndPublish(scratch, headerOf(manifest, options.symbol), options.header))
        return error;
    if (!options.depfile.empty())
      if (llvm::Error error = writeAndPublish(scratch, rule(), options.depfile))
        return error;
    return publish(result, options.output);
  }

private:
  static llvm::Error writeAndPublish(ScratchFolder &scratch, const std::string &text,
                                     const std::string &path) {
    const std::string finished = scratch.file("text");
    // A build tool need not compile again what depends on a text that stays the same.
    if (auto old = llvm::MemoryBuffer::getFile(path); old && (*old)->getBuffer() == text)
      return llvm::Error::success();
    if (llvm::Error error = writeFile(finished, text))
      return error;
    return publish(finished, path);
  }

  /// OUTPUT: the files that it depends on, as Makefiles spell names.
  std::string rule() const {
    auto spelled = [](StringRef path) {
      SmallString<256> absolute(path);
      llvm::sys::fs::make_absolute(absolute);
      std::string out;
      for (char c : absolute) {
        if (c == ' ' || c == '#')
          out += '\\';
        out += c == '$' ? "$$" : std::string(1, c);
      }
      return out;
    };
    std::string out = spelled(options.output) + ": " + spelled(options.model);
    if (!tune.file.empty() && llvm::sys::fs::exists(tune.file))
      out += " " + spelled(tune.file);
    return out + "\n";
  }

  llvm::Error checkForm() const {
    if (options.emit == Emit::shared && !target->linksShared())
      return inputError("", "--emit shared",
                        "the system of " + target->machine().name + " has no shared libraries",
                        "link the object of --emit object");
    // Texts to read have no weights, and nothing runs or includes them.
    if (options.emit > Emit::object)
      for (auto [given, name] :
           {std::pair(options.split, "--split"), std::pair(options.verify, "--verify"),
            std::pair(!options.header.empty(), "--header"),
            std::pair(!options.depfile.empty(), "--depfile")})
        if (given)
          return inputError("", name, "goes only with --emit exe, shared or object");
    return checkActivations(*target, options.lowering.activations);
  }

  llvm::Error checkTuning() {
    tune = options.tune;
    if (!tune.measure)
      return llvm::Error::success();
    if (target->kernelForm() != KernelForm::objects)
      return inputError("", "--tune",
                        "kernels for " + target->machine().name + " have no tiles to choose from");
    if (!target->runsHere())
      return inputError("", "--tune",
                        "programs for " + target->machine().name + " do not run on this machine",
                        "tune on one where they do and bring the file here: --tune-file FILE");
    if (tune.file.empty() && !options.cache_folder.empty() &&
        !llvm::sys::fs::create_directories(options.cache_folder))
      tune.file = TuneOptions::defaultFile(options.cache_folder, *target);
    else if (!tune.file.empty())
      if (llvm::Error error = checkWritable(tune.file))
        return error;
    return tune.report.empty() ? llvm::Error::success() : checkWritable(tune.report);
  }

  /// Programs that do not run here are verified in an emulator.
  llvm::Error checkVerifying() {
    if (!options.verify)
      return llvm::Error::success();
    auto words = runnerOf(*target, "--verify", "verify");
    if (!words)
      return words.takeError();
    command = std::move(*words);
    return llvm::Error::success();
  }

  /// Measured tiles for each variant; those that do not run here take what the file has for them.
  llvm::Error chooseTiles(ScratchFolder &scratch) {
    const auto here =
        llvm::count_if(variants, [](const Variant &v) { return v.target->runsHere(); });
    for (Variant &variant : variants) {
      TuneOptions own = tune;
      if (variant.target->kernelForm() != KernelForm::objects)
        continue; // has no tiles
      own.measure &= variant.target->runsHere();
      own.seconds /= double(std::max<int64_t>(here, 1));
      if (!own.report.empty())
        own.report += variant.suffix;
      if (tune.measure && !own.measure && !llvm::sys::fs::exists(own.file))
        continue;
      if (llvm::Error error = tuneKernels(*variant.module, *variant.target, own,
                                          KernelCache(options.cache_folder), scratch, progress))
        return error;
    }
    return llvm::Error::success();
  }

  /// Weights, intermediate results and one sequence's caches must fit the machine's addresses.
  llvm::Error checkAddresses() {
    const int64_t most = target->machine().address_bytes;
    int64_t bytes = 0;
    for (StringRef name : {"ingot.weight_bytes", "ingot.arena_bytes", "ingot.cache_bytes"})
      if (auto number = (*model.module)->getAttrOfType<IntegerAttr>(name))
        bytes += number.getInt();
    if (!most || bytes <= most)
      return llvm::Error::success();
    auto mebibytes = [](int64_t count) { return std::to_string(count >> 20) + " MiB"; };
    return inputError(model.file->name(), "",
                      "the program would need " + mebibytes(bytes) + ", and " +
                          target->machine().name + " addresses " + mebibytes(most),
                      "fewer positions (--context), fewer bits (--quantize int4:g32) or a smaller "
                      "model");
  }

  static std::string text(ModuleOp module) {
    std::string out;
    llvm::raw_string_ostream stream(out);
    OpPrintingFlags flags;
    flags.elideLargeResourceString(16).elideLargeElementsAttrs(16);
    module.print(stream, flags);
    return out;
  }
  static void print(ModuleOp module) { llvm::outs() << text(module) << "\n"; }

  llvm::Error lower() {
    progress.stage("optimizing");
    // Diagnostics of passes become the error that is reported.
    std::string message;
    ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) {
      if (message.empty())
        message = diagnostic.str();
      return success();
    });
    PassManager manager(&context);
    buildLoweringPipeline(manager, options.lowering);
    bool found = options.dump_after.empty() || options.dump_after == "import";
    if (!found) {
      std::string known = "import";
      for (Pass &pass : manager.getPasses()) {
        known += ", " + pass.getArgument().str();
        found |= pass.getArgument() == options.dump_after;
      }
      if (!found)
        return inputError("", "--dump-after", "no pass '" + options.dump_after + "' runs here",
                          "passes: " + known);
      context.disableMultithreading();
      OpPrintingFlags flags;
      flags.elideLargeResourceString(16).elideLargeElementsAttrs(16);
      const std::string wanted = options.dump_after;
      manager.enableIRPrinting(
          [](Pass *, Operation *) { return false; },
          [=](Pass *pass, Operation *) { return pass->getArgument() == wanted; },
          /*printModuleScope=*/true, /*printAfterOnlyOnChange=*/false,
          /*printAfterOnlyOnFailure=*/false, llvm::outs(), flags);
    }
    // The reference runs the model as it was read, rounded where the user asked for that.
    if (options.verify || selftestCount()) {
      original = model.module->clone();
      PassManager rounding(&context);
      buildRoundingPipeline(rounding, options.lowering);
      if (failed(rounding.run(*original)))
        return inputError(model.file->name(), "", message);
    }
    if (failed(manager.run(*model.module)))
      return inputError(model.file->name(), "", message.empty() ? "a pass failed" : message);
    return llvm::Error::success();
  }

  llvm::Error printPredictions() {
    if (llvm::Error error = makeManifest())
      return error;
    progress.stage("");
    llvm::json::Array all;
    std::vector<std::string> known;
    bool first = true;
    for (const Variant &variant : variants)
      for (const Target *model : variant.target->models()) {
        known.push_back(model->machine().name);
        if (!options.predict->device.empty() && options.predict->device != known.back())
          continue;
        auto prediction =
            predict(variant, *model, *manifest::GetManifest(manifest.data()), *options.predict);
        if (!prediction)
          return prediction.takeError();
        if (options.predict_json)
          all.push_back(predictionJson(*prediction));
        else
          printPrediction(*prediction, first ? llvm::outs() : llvm::outs() << "\n");
        first = false;
      }
    if (first)
      return inputError("", "--device " + options.predict->device,
                        target->machine().name + " has no such machine",
                        "it has " + llvm::join(known, ", "));
    if (options.predict_json)
      llvm::outs() << llvm::formatv("{0:2}\n", llvm::json::Value(std::move(all)));
    return llvm::Error::success();
  }

  llvm::Error makeManifest() {
    std::vector<ModuleOp> modules;
    for (Variant &variant : variants)
      modules.push_back(*variant.module);
    auto made = buildManifest({*model.module, modules, &model, target.get(),
                               options.lowering.quantize, options.lowering.activations,
                               options.kv_cache, llvm::sys::path::filename(split_file).str(),
                               selftest.tokens.empty() ? nullptr : &selftest});
    if (!made)
      return made.takeError();
    manifest = std::move(*made);
    return llvm::Error::success();
  }

  int64_t selftestCount() const {
    if (options.emit == Emit::mlir || options.predict)
      return 0;
    const int64_t wanted = options.selftest_tokens < 0
                               ? defaultSelftestTokens(model.info.parameters)
                               : options.selftest_tokens;
    return std::min(wanted, model.info.context_length);
  }

  /// Beside the kernels: both take seconds.
  void startSelftest() {
    std::vector<int32_t> tokens = selftestTokens(manifest, selftestCount());
    if (tokens.empty())
      return;
    selftest_recorded = std::async(std::launch::async, [this, tokens = std::move(tokens)] {
      auto record = recordSelftest(*original, tokens, [this] { model.file->releasePages(); });
      if (record)
        selftest = std::move(*record);
      else
        selftest_error = llvm::toString(record.takeError());
    });
  }

  /// Until the record is in the manifest.
  llvm::Error finishSelftest() {
    if (!selftest_recorded.valid())
      return llvm::Error::success();
    progress.stage("recording what --selftest replays");
    selftest_recorded.get();
    if (!selftest_error.empty())
      return inputError(options.model, "--selftest-tokens", selftest_error);
    return makeManifest();
  }

  llvm::Expected<OwningOpRef<ModuleOp>> lowerProgram() {
    ModuleOp planned = *model.module;
    setSourceHash(manifest, source_hash->finish([&] { model.file->releasePages(); }));
    if (!split_file.empty())
      setWeightsHash(manifest, weights_hash);
    auto number = [&](StringRef name) {
      return planned->getAttrOfType<IntegerAttr>(name).getInt();
    };
    std::vector<StepVariant> steps;
    for (Variant &variant : variants) {
      StepVariant &step = steps.emplace_back(StepVariant{
          *variant.module, variant.suffix, variant.target->machine().near_bytes > 0, {}});
      if (variant.target->kernelForm() == KernelForm::objects)
        continue;
      auto code = spirv::compileProgram(*variant.module);
      if (!code)
        return code.takeError();
      step.device = {variant.target->device(), std::move(*code)};
    }
    return lowerSteps(steps, {manifest, !split_file.empty(), number("ingot.weight_bytes"),
                              number("ingot.arena_bytes"), number("ingot.cache_bytes"),
                              static_cast<int32_t>(model.info.vocab_size),
                              static_cast<int32_t>(model.info.context_length)});
  }

  llvm::Error compileKernels(ScratchFolder &scratch) {
    std::vector<std::pair<KernelSpec, const Target *>> specs;
    for (Variant &variant : variants) {
      if (variant.target->kernelForm() != KernelForm::objects)
        continue; // made with the steps
      for (auto function : variant.module->getOps<kernel::FuncOp>()) {
        auto spec = kernel::specOf(function);
        if (!spec)
          return spec.takeError();
        specs.emplace_back(std::move(*spec), variant.target);
      }
    }
    progress.stage("compiling kernels", specs.size());
    const KernelCache cache(options.cache_folder);
    std::mutex mutex;
    llvm::Error failure = llvm::Error::success();
    std::vector<std::string> files(specs.size());
    llvm::DefaultThreadPool pool;
    for (size_t i = 0; i < specs.size(); ++i)
      pool.async([&, i] {
        const auto &[spec, machine] = specs[i];
        auto object = compileKernelCached(spec, *machine, cache);
        if (!object) {
          std::lock_guard lock(mutex);
          failure = llvm::joinErrors(std::move(failure), object.takeError());
          return;
        }
        std::lock_guard lock(mutex);
        files[i] = scratch.file(spec.name + ".o");
        if (llvm::Error error = writeFile(files[i], *object))
          failure = llvm::joinErrors(std::move(failure), std::move(error));
        progress.advance();
      });
    pool.wait();
    link.objects = std::move(files);
    return failure;
  }

  llvm::Error compileStepObject(ScratchFolder &scratch) {
    progress.stage("compiling steps");
    auto steps = lowerProgram();
    if (!steps)
      return steps.takeError();
    auto object = compileSteps(**steps, *target);
    if (!object)
      return object.takeError();
    link.objects.push_back(scratch.file("steps.o"));
    return writeFile(link.objects.back(), *object);
  }

  llvm::Error writePackedWeights(ScratchFolder &scratch) {
    link.weight_bytes =
        model.module->getOperation()->getAttrOfType<IntegerAttr>("ingot.weight_bytes").getInt();
    progress.stage("packing weights", link.weight_bytes);
    // Under its name, so that a program that is verified finds it beside itself.
    packed = scratch.file(split_file.empty() ? "weights" : llvm::sys::path::filename(split_file));
    link.weights = split_file.empty() ? packed : "";
    // Pages of the file that stay mapped are memory of this process: they would be all of it.
    auto release = [&] { model.file->releasePages(); };
    std::atomic<uint64_t> unreleased{0};
    auto reading = [&](ArrayRef<uint8_t> bytes) {
      const ArrayRef<uint8_t> file = model.file->bytes();
      if (bytes.begin() >= file.begin() && bytes.end() <= file.end())
        source_hash->add(bytes, release);
    };
    auto written = [&](uint64_t bytes) {
      progress.advance(bytes);
      if (unreleased.fetch_add(bytes) + bytes < release_bytes)
        return;
      unreleased = 0;
      release();
    };
    return writeWeights(*model.module, packed, target->weightsReserve(), {reading, written});
  }

  llvm::Error sealSplitWeights() {
    auto hash = sealWeights(packed, target->weightsReserve(), link.weight_bytes);
    if (!hash)
      return hash.takeError();
    weights_hash = *hash;
    return llvm::Error::success();
  }

  /// What runs a library is not here: a program of the same objects and weights is verified.
  llvm::Error verifyObjects(ScratchFolder &scratch) {
    LinkInputs program = link;
    program.form = LinkForm::program;
    program.output = scratch.file("program");
    if (!link.weights.empty()) { // linking makes the program of that file
      program.weights = scratch.file("program.weights");
      if (std::error_code error = llvm::sys::fs::copy_file(link.weights, program.weights))
        return inputError(program.weights, "", "cannot write: " + error.message());
    }
    if (llvm::Error error = target->link(program))
      return error;
    return verifyProgram(program.output);
  }

  llvm::Error verifyProgram(const std::string &program) {
    llvm::sys::fs::setPermissions(program, llvm::sys::fs::all_all);
    progress.stage("verifying");
    const bool emulated = !command.empty();
    command.push_back(program);
    for (const Variant &variant : variants) {
      const std::string &name = variant.target->machine().name;
      const std::string label = variants.size() > 1 ? name + ": " : "";
      if (!emulated && !variant.target->runsHere()) {
        llvm::outs() << label << "not verified, it does not run on this machine\n";
        continue;
      }
      auto report = compareWithReference(*original, command, name, options.verify_tokens,
                                         options.lowering.activations);
      if (!report)
        return report.takeError();
      progress.stage("");
      llvm::outs() << label << report->text << "\n";
      if (!report->passed)
        return inputError(options.model, "--verify",
                          "the program differs from the reference by more "
                          "than the stated bounds");
    }
    return llvm::Error::success();
  }

  const CompileOptions &options;
  MLIRContext context;
  ImportedModel model;
  OwningOpRef<ModuleOp> original;
  std::unique_ptr<Target> target;
  std::vector<Variant> variants;
  std::string manifest;
  std::string packed, split_file, weights_hash; ///< files of weights; the last two of --split
  std::optional<PieceHash> source_hash;
  TuneOptions tune;
  LinkInputs link;
  std::vector<std::string> command; ///< what runs the program
  Progress progress;
  SelftestRecord selftest;
  std::string selftest_error;
  std::future<void> selftest_recorded; ///< the last member: waits where an error ends the rest
};

} // namespace

std::string splitFile(StringRef output) {
  if (!output.consume_back(".o"))
    output.consume_back(".so");
  return (output + ".weights").str();
}

llvm::Error compileModel(const CompileOptions &options) {
  llvm::Error error = Compilation(options).run();
  if (error && !options.depfile.empty())
    for (const std::string &file :
         {options.output, options.header, options.split ? splitFile(options.output) : ""})
      if (!file.empty() && llvm::sys::fs::is_regular_file(file))
        (void)llvm::sys::fs::remove(file);
  return error;
}

} // namespace ingot
