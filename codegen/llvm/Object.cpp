// LLVM-dialect module -> LLVM IR -> relocatable object.
#include "codegen/link/Sections.h"
#include "codegen/llvm/Steps.h"
#include "support/Error.h"

#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/TargetParser/Triple.h"

namespace ingot {
namespace {

struct Translated {
  std::unique_ptr<llvm::LLVMContext> context = std::make_unique<llvm::LLVMContext>();
  std::unique_ptr<llvm::Module> module;
  std::unique_ptr<llvm::TargetMachine> machine;
};

llvm::Expected<Translated> translate(mlir::ModuleOp lowered, const Target &target) {
  static const bool initialized = [] {
    llvm::InitializeAllTargetInfos();
    llvm::InitializeAllTargets();
    llvm::InitializeAllTargetMCs();
    llvm::InitializeAllAsmPrinters();
    return true;
  }();
  (void)initialized;
  mlir::registerBuiltinDialectTranslation(*lowered.getContext());
  mlir::registerLLVMDialectTranslation(*lowered.getContext());

  Translated out;
  out.module = mlir::translateModuleToLLVMIR(lowered, *out.context, "ingot_steps");
  if (!out.module)
    return inputError("", "steps", "translation to LLVM IR failed");
  const llvm::Triple triple(target.machine().triple);
  std::string error;
  const llvm::Target *backend = llvm::TargetRegistry::lookupTarget(triple, error);
  if (!backend)
    return inputError("", "target " + target.machine().name, error);
  out.machine.reset(backend->createTargetMachine(triple, "generic", target.machine().baseline, {},
                                                 llvm::Reloc::PIC_, std::nullopt,
                                                 llvm::CodeGenOptLevel::Default));
  out.module->setTargetTriple(triple);
  out.module->setDataLayout(out.machine->createDataLayout());
  for (llvm::Function &function : *out.module)
    if (!function.isDeclaration()) {
      function.setSection(kStepsSection);
      function.setDoesNotThrow(); // and so needs no unwind table
      // Straight runs of calls, hundreds of them: small is all that they can be.
      function.addFnAttr(llvm::Attribute::MinSize);
      function.addFnAttr(llvm::Attribute::OptimizeForSize);
    }

  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager graphs;
  llvm::ModuleAnalysisManager modules;
  llvm::PassBuilder builder(out.machine.get());
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(graphs);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, graphs, modules);
  builder.buildPerModuleDefaultPipeline(llvm::OptimizationLevel::Os).run(*out.module, modules);
  return out;
}

} // namespace

llvm::Expected<std::string> printLlvm(mlir::ModuleOp lowered, const Target &target) {
  auto translated = translate(lowered, target);
  if (!translated)
    return translated.takeError();
  std::string text;
  llvm::raw_string_ostream stream(text);
  translated->module->print(stream, nullptr);
  return text;
}

llvm::Expected<std::string> compileSteps(mlir::ModuleOp lowered, const Target &target) {
  auto translated = translate(lowered, target);
  if (!translated)
    return translated.takeError();
  llvm::SmallVector<char, 0> bytes;
  llvm::raw_svector_ostream stream(bytes);
  llvm::legacy::PassManager passes;
  if (translated->machine->addPassesToEmitFile(passes, stream, nullptr,
                                               llvm::CodeGenFileType::ObjectFile))
    return inputError("", "target " + target.machine().name, "cannot emit objects");
  passes.run(*translated->module);
  return std::string(bytes.begin(), bytes.end());
}

} // namespace ingot
