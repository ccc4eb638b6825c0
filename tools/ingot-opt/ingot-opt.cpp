// ingot-opt: runs passes over textual IR. `ingot-opt --help` lists them.
#include "passes/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "mlir/Transforms/Passes.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  registry.insert<ingot::lm::LmDialect, ingot::kernel::KernelDialect, mlir::func::FuncDialect,
                  mlir::LLVM::LLVMDialect>();
  ingot::registerAll();
  mlir::registerTransformsPasses();
  return mlir::asMainReturnCode(mlir::MlirOptMain(argc, argv, "Ingot's pass driver\n", registry));
}
