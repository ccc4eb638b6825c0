// From a scheduled pipeline to machine code. Halide lowers and optimizes to LLVM bitcode (or the
// target has the kernel as LLVM IR: Target::kernelCode); LLVM's
// code generator, which knows every processor of the machine table, does the rest here.
//
// Between the two, the module becomes what Kernel.h promises: large buffers move from Halide's heap
// calls to the stack (their sizes are constants), and only the kernel itself is left.
#include "codegen/halide/AskAhead.h"
#include "codegen/halide/Builder.h"
#include "codegen/halide/Kernel.h"
#include "codegen/halide/Lookups.h"
#include "codegen/link/Sections.h"
#include "support/Error.h"
#include "targets/Target.h"

#include "llvm/Analysis/LoopInfo.h"
#include "llvm/Analysis/ScalarEvolution.h"
#include "llvm/Analysis/ValueTracking.h"
#include "llvm/AsmParser/Parser.h"
#include "llvm/Bitcode/BitcodeReader.h"
#include "llvm/IR/Constants.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/InstIterator.h"
#include "llvm/IR/IntrinsicInst.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/IR/Verifier.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/Transforms/IPO/GlobalDCE.h"
#include "llvm/Transforms/Scalar/LoopUnrollPass.h"
#include "llvm/Transforms/Utils/LoopUtils.h"

using namespace ingot;

namespace {

llvm::Error kernelError(const KernelSpec &spec, const llvm::Twine &message) {
  return inputError("kernel " + spec.name, "", message);
}

/// What Halide says while it compiles. Its warnings are about how a kernel could be faster on
/// another machine (half precision is converted by integer arithmetic on some), which is no user's
/// to change.
struct Reporter final : Halide::CompileTimeErrorReporter {
  void warning(const char *) override {}
  void error(const char *message) override { throw Halide::CompileError(message); }
};

/// Lowers to bitcode. Halide writes files; bytes are what we want.
llvm::Expected<std::unique_ptr<llvm::Module>> lower(const KernelSpec &spec, const Target &target,
                                                    llvm::LLVMContext &context) {
  if (std::string code = target.kernelCode(spec); !code.empty()) {
    llvm::SMDiagnostic problem;
    auto module = llvm::parseAssemblyString(code, problem, context);
    if (!module)
      return kernelError(spec, problem.getMessage());
    return module;
  }
  llvm::Expected<BuiltKernel> kernel = buildKernel(spec, target);
  if (!kernel)
    return kernel.takeError();
  static Reporter reporter;
  static const bool reporting = (Halide::set_custom_compile_time_error_reporter(&reporter), true);
  (void)reporting;
  target.schedule(kernel->request);
  askAhead(kernel->pipeline, kernel->request.asks);

  llvm::SmallString<128> path;
  if (std::error_code error = llvm::sys::fs::createTemporaryFile("ingot-kernel", "bc", path))
    return kernelError(spec, "cannot create a temporary file: " + error.message());
  llvm::FileRemover remover(path);
  Halide::Target machine(target.halideTarget());
  if (kernel->large_buffers)
    machine.set_feature(Halide::Target::LargeBuffers);
  std::string message;
  try {
    kernel->pipeline.compile_to_bitcode(path.c_str(), kernel->arguments, spec.name, machine);
  } catch (const Halide::Error &error) {
    message = error.what();
  }
  if (!message.empty())
    return kernelError(spec, message);
  auto buffer = llvm::MemoryBuffer::getFile(path, /*IsText=*/false,
                                            /*RequiresNullTerminator=*/false);
  if (!buffer)
    return kernelError(spec, "cannot read a temporary file: " + buffer.getError().message());
  llvm::Expected<std::unique_ptr<llvm::Module>> module = llvm::parseBitcodeFile(**buffer, context);
  if (!module)
    return kernelError(spec, llvm::toString(module.takeError()));
  return module;
}

void dropCalls(const std::vector<std::string> &names, llvm::Module &module) {
  for (const std::string &name : names)
    if (llvm::Function *function = module.getFunction(name))
      for (llvm::User *user : llvm::make_early_inc_range(function->users()))
        if (auto *call = llvm::dyn_cast<llvm::CallInst>(user)) {
          if (!call->getType()->isVoidTy())
            call->replaceAllUsesWith(llvm::Constant::getNullValue(call->getType()));
          call->eraseFromParent();
        }
}

/// Replaces Halide's heap by the stack of the caller.
llvm::Error moveHeapToStack(const KernelSpec &spec, llvm::Module &module, uint64_t vector_bytes) {
  if (llvm::Function *allocate = module.getFunction("halide_malloc")) {
    for (llvm::User *user : llvm::make_early_inc_range(allocate->users())) {
      auto *call = llvm::dyn_cast<llvm::CallInst>(user);
      auto *size = call ? llvm::dyn_cast<llvm::ConstantInt>(call->getArgOperand(1)) : nullptr;
      if (!size)
        return kernelError(spec, "a buffer has no constant size");
      llvm::IRBuilder<> builder(&*call->getFunction()->getEntryBlock().getFirstInsertionPt());
      llvm::AllocaInst *stack =
          builder.CreateAlloca(llvm::ArrayType::get(builder.getInt8Ty(), size->getZExtValue()));
      stack->setAlignment(llvm::Align(std::max<uint64_t>(64, vector_bytes)));
      call->replaceAllUsesWith(stack);
      call->eraseFromParent();
    }
    allocate->eraseFromParent();
  }
  if (llvm::Function *release = module.getFunction("halide_free")) {
    for (llvm::User *user : llvm::make_early_inc_range(release->users())) {
      auto *call = llvm::dyn_cast<llvm::CallInst>(user);
      if (!call || !call->use_empty())
        return kernelError(spec, "a buffer is freed in an unknown way");
      call->eraseFromParent();
    }
    release->eraseFromParent();
  }
  return llvm::Error::success();
}

/// True for the running sum of a loop: where the sum starts (zero), what the last iteration left, a
/// sum that was fused before, or lanes of those.
bool isRunningSum(llvm::Value *value) {
  if (auto *constant = llvm::dyn_cast<llvm::Constant>(value))
    return constant->isNullValue() || llvm::isa<llvm::UndefValue>(constant);
  if (auto *shuffle = llvm::dyn_cast<llvm::ShuffleVectorInst>(value))
    return isRunningSum(shuffle->getOperand(0)) && isRunningSum(shuffle->getOperand(1));
  if (llvm::isa<llvm::PHINode>(value))
    return true;
  if (auto *load = llvm::dyn_cast<llvm::LoadInst>(value))
    return llvm::isa<llvm::AllocaInst>(llvm::getUnderlyingObject(load->getPointerOperand()));
  auto *call = llvm::dyn_cast<llvm::IntrinsicInst>(value);
  return call && call->getIntrinsicID() == llvm::Intrinsic::fma;
}

/// sum + a * b becomes fma(a, b, sum) where `sum` is the running sum of a loop, and nowhere else:
/// a dequantized weight (code * scale + min) is rounded twice, as its format defines. Pipelines are
/// lowered with strict float operations, so nothing else reorders or fuses, and kernels for one and
/// for many tokens fuse alike.
void fuseRunningSums(llvm::Module &module) {
  for (llvm::Function &function : module)
    for (llvm::BasicBlock &block : function)
      for (llvm::Instruction &instruction : llvm::make_early_inc_range(block)) {
        if (instruction.getOpcode() != llvm::Instruction::FAdd ||
            !instruction.getType()->getScalarType()->isFloatTy())
          continue;
        for (unsigned side : {0, 1}) {
          auto *product = llvm::dyn_cast<llvm::BinaryOperator>(instruction.getOperand(side));
          llvm::Value *sum = instruction.getOperand(1 - side);
          if (!product || product->getOpcode() != llvm::Instruction::FMul ||
              !product->hasOneUse() || !isRunningSum(sum))
            continue;
          llvm::IRBuilder<> builder(&instruction);
          llvm::Value *fused =
              builder.CreateIntrinsic(llvm::Intrinsic::fma, {instruction.getType()},
                                      {product->getOperand(0), product->getOperand(1), sum});
          instruction.replaceAllUsesWith(fused);
          instruction.eraseFromParent();
          product->eraseFromParent();
          break;
        }
      }
}

/// Sums of pairs in i16 are written as saturating additions, because Halide knows the instruction
/// for pairs only there. They never saturate (DotForm::saturating_pairs), and plain additions have
/// more of the processor's pipes to themselves.
void relaxSaturation(llvm::Module &module) {
  for (llvm::Function &function : module)
    for (llvm::BasicBlock &block : function)
      for (llvm::Instruction &instruction : llvm::make_early_inc_range(block)) {
        auto *call = llvm::dyn_cast<llvm::IntrinsicInst>(&instruction);
        if (!call || call->getIntrinsicID() != llvm::Intrinsic::sadd_sat ||
            !call->getType()->getScalarType()->isIntegerTy(16))
          continue;
        llvm::IRBuilder<> builder(call);
        call->replaceAllUsesWith(
            builder.CreateNSWAdd(call->getArgOperand(0), call->getArgOperand(1)));
        call->eraseFromParent();
      }
}

/// What LLVM's passes ask of each other.
struct Analyses {
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager graphs;
  llvm::ModuleAnalysisManager modules;

  Analyses() {
    llvm::PassBuilder builder;
    builder.registerModuleAnalyses(modules);
    builder.registerCGSCCAnalyses(graphs);
    builder.registerFunctionAnalyses(functions);
    builder.registerLoopAnalyses(loops);
    builder.crossRegisterProxies(loops, functions, graphs, modules);
  }
};

bool isPrefetch(const llvm::Instruction &instruction) {
  auto *call = llvm::dyn_cast<llvm::IntrinsicInst>(&instruction);
  return call && call->getIntrinsicID() == llvm::Intrinsic::prefetch;
}

/// Halide asks ahead for a few cache lines in a loop of its own, most of whose instructions count:
/// one after the other they need nothing but an offset each. Longer loops run once a block of rows.
void unrollPrefetches(llvm::Module &module) {
  constexpr unsigned most_unrolled = 8;
  Analyses analyses;
  for (llvm::Function &function : module) {
    if (function.isDeclaration())
      continue;
    bool some = false;
    auto &evolution = analyses.functions.getResult<llvm::ScalarEvolutionAnalysis>(function);
    for (llvm::Loop *loop :
         analyses.functions.getResult<llvm::LoopAnalysis>(function).getLoopsInPreorder())
      if (const unsigned lines = evolution.getSmallConstantTripCount(loop);
          lines && lines <= most_unrolled && loop->getNumBlocks() == 1 &&
          llvm::any_of(*loop->getHeader(), isPrefetch) &&
          llvm::none_of(*loop->getHeader(), [](const llvm::Instruction &instruction) {
            return instruction.mayWriteToMemory() && !isPrefetch(instruction);
          })) {
        llvm::addStringMetadataToLoop(loop, "llvm.loop.unroll.full", 1);
        some = true;
      }
    if (some)
      llvm::LoopUnrollPass(llvm::LoopUnrollOptions(2, /*OnlyWhenForced=*/true))
          .run(function, analyses.functions);
  }
}

/// Halide asks for data that is used once, past all caches but the first.
void prefetchInto(int32_t cache, llvm::Module &module) {
  constexpr int32_t nearest = 3; // llvm.prefetch's locality of the first cache; 0 is Halide's
  if (cache <= 1)
    return;
  for (llvm::Function &function : module)
    for (llvm::Instruction &instruction : llvm::instructions(function))
      if (isPrefetch(instruction))
        llvm::cast<llvm::CallInst>(instruction)
            .setArgOperand(2, llvm::ConstantInt::get(llvm::Type::getInt32Ty(module.getContext()),
                                                     nearest + 1 - cache));
}

/// Keeps the kernel and what it calls; the rest is Halide's wrappers for other callers.
void keepOnlyKernel(const KernelSpec &spec, llvm::Module &module) {
  for (llvm::GlobalValue &value : module.global_values())
    if (!value.isDeclaration() && value.getName() != spec.name)
      value.setLinkage(llvm::GlobalValue::InternalLinkage);
  Analyses analyses;
  llvm::ModulePassManager passes;
  passes.addPass(llvm::GlobalDCEPass());
  passes.run(module, analyses.modules);
}

llvm::Expected<std::string> compile(const KernelSpec &spec, const Target &target,
                                    llvm::CodeGenFileType type) {
  static const bool initialized = [] {
    llvm::InitializeAllTargetInfos();
    llvm::InitializeAllTargets();
    llvm::InitializeAllTargetMCs();
    llvm::InitializeAllAsmPrinters();
    llvm::InitializeAllAsmParsers(); // Halide has instructions that LLVM selects for nothing else
    return true;
  }();
  (void)initialized;

  llvm::LLVMContext context;
  llvm::Expected<std::unique_ptr<llvm::Module>> lowered = lower(spec, target, context);
  if (!lowered)
    return lowered.takeError();
  llvm::Module &module = **lowered;
  module.setModuleIdentifier("kernel");
  module.setSourceFileName("kernel");
  dropCalls(target.needlessCalls(), module);
  if (llvm::Error error = moveHeapToStack(spec, module, target.machine().vector_bits / 8))
    return std::move(error);
  keepOnlyKernel(spec, module);
  fuseRunningSums(module);
  relaxSaturation(module);
  unrollPrefetches(module);
  const Machine &machine = target.machine();
  prefetchInto(machine.rates.prefetch_cache, module);
  lowerLookups(module, machine);
  target.finishKernel(module);

  const llvm::Triple triple(machine.triple);
  std::string message, features;
  const llvm::Target *backend = llvm::TargetRegistry::lookupTarget(triple, message);
  if (!backend)
    return kernelError(spec, message);
  for (const std::string &feature : machine.features)
    features += (features.empty() ? "+" : ",+") + feature;
  // The processor's name only tunes: code uses the listed features, which programs check at start,
  // and not the others that processor has.
  std::unique_ptr<llvm::TargetMachine> generator(
      backend->createTargetMachine(triple, "", features, llvm::TargetOptions(), llvm::Reloc::PIC_,
                                   std::nullopt, llvm::CodeGenOptLevel::Aggressive));
  module.setTargetTriple(triple);
  module.setDataLayout(generator->createDataLayout());
  for (llvm::Function &function : module) {
    // What Halide believes of the processor stops at the bitcode.
    for (const char *attribute : {"target-cpu", "target-features", "tune-cpu"})
      function.removeFnAttr(attribute);
    function.addFnAttr("tune-cpu", machine.cpu);
    // Nothing unwinds through kernels: tables for it would be a tenth of a program's code.
    function.removeFnAttr(llvm::Attribute::UWTable);
    function.setDoesNotThrow();
    if (!function.isDeclaration())
      function.setSection(kKernelsSection);
    if (function.isDeclaration() && function.getName().starts_with("halide_") &&
        !function.use_empty())
      return kernelError(spec, "needs " + function.getName() + " at run time");
  }
  if (llvm::verifyModule(module))
    return kernelError(spec, "the generated module is not valid");

  llvm::SmallString<0> bytes;
  llvm::raw_svector_ostream stream(bytes);
  llvm::legacy::PassManager passes;
  if (generator->addPassesToEmitFile(passes, stream, nullptr, type))
    return kernelError(spec, "this target cannot emit objects");
  passes.run(module);
  return bytes.str().str();
}

} // namespace

llvm::Expected<std::string> ingot::compileKernel(const KernelSpec &spec, const Target &target) {
  return compile(spec, target, llvm::CodeGenFileType::ObjectFile);
}

llvm::Expected<std::string> ingot::kernelAssembly(const KernelSpec &spec, const Target &target) {
  return compile(spec, target, llvm::CodeGenFileType::AssemblyFile);
}
