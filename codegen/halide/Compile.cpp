// Runs Halide: from a scheduled pipeline to an object or assembly text.
#include "codegen/halide/Builder.h"
#include "codegen/halide/Kernel.h"
#include "support/Error.h"
#include "targets/Target.h"

#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/MemoryBuffer.h"

using namespace ingot;

namespace {

enum class Form { object, assembly };

llvm::Expected<std::string> compile(const KernelSpec &spec, const Target &target, Form form) {
  llvm::Expected<BuiltKernel> kernel = buildKernel(spec, target);
  if (!kernel)
    return kernel.takeError();
  target.schedule(kernel->request);

  // Halide writes files; bytes are what callers want.
  llvm::SmallString<128> path;
  if (std::error_code error = llvm::sys::fs::createTemporaryFile(
          "ingot-kernel", form == Form::object ? "o" : "s", path))
    return inputError("kernel " + spec.name, "",
                      "cannot create a temporary file: " + error.message());
  llvm::FileRemover remover(path);
  Halide::Target machine(target.halideTarget());
  if (kernel->large_buffers)
    machine.set_feature(Halide::Target::LargeBuffers);
  std::string message;
  try {
    if (form == Form::object)
      kernel->pipeline.compile_to_object(path.c_str(), kernel->arguments, spec.name, machine);
    else
      kernel->pipeline.compile_to_assembly(path.c_str(), kernel->arguments, spec.name, machine);
  } catch (const Halide::Error &error) {
    message = error.what();
  }
  if (!message.empty())
    return inputError("kernel " + spec.name, "", message);
  auto buffer = llvm::MemoryBuffer::getFile(path, /*IsText=*/false,
                                            /*RequiresNullTerminator=*/false);
  if (!buffer)
    return inputError("kernel " + spec.name, "",
                      "cannot read a temporary file: " + buffer.getError().message());
  return (*buffer)->getBuffer().str();
}

} // namespace

llvm::Expected<std::string> ingot::compileKernel(const KernelSpec &spec, const Target &target) {
  return compile(spec, target, Form::object);
}

llvm::Expected<std::string> ingot::kernelAssembly(const KernelSpec &spec, const Target &target) {
  return compile(spec, target, Form::assembly);
}
