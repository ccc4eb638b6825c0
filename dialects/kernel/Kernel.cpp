// Attributes and verifiers of the kernel dialect. Constraint numbers are those of KernelOps.td.
#include "dialects/kernel/Kernel.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "mlir/Interfaces/FunctionImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace ingot::kernel;

#include "dialects/kernel/KernelDialect.cpp.inc"

#define GET_ATTRDEF_CLASSES
#include "dialects/kernel/KernelAttrs.cpp.inc"

#define GET_OP_CLASSES
#include "dialects/kernel/KernelOps.cpp.inc"

void KernelDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialects/kernel/KernelAttrs.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialects/kernel/KernelOps.cpp.inc"
      >();
}

namespace ingot::kernel {

ParseResult FuncOp::parse(OpAsmParser &parser, OperationState &state) {
  auto type = [](Builder &builder, ArrayRef<Type> inputs, ArrayRef<Type> results,
                 function_interface_impl::VariadicFlag,
                 std::string &) { return builder.getFunctionType(inputs, results); };
  return function_interface_impl::parseFunctionOp(
      parser, state, /*allowVariadic=*/false, getFunctionTypeAttrName(state.name), type,
      getArgAttrsAttrName(state.name), getResAttrsAttrName(state.name));
}

void FuncOp::print(OpAsmPrinter &printer) {
  function_interface_impl::printFunctionOp(printer, *this, /*isVariadic=*/false,
                                           getFunctionTypeAttrName(), getArgAttrsAttrName(),
                                           getResAttrsAttrName());
}

LogicalResult FuncOp::verify() {
  if (llvm::none_of(getBody().front(),
                    [&](Operation &op) { return op.getName().stripDialect() == getAnchor(); }))
    return emitOpError("(c1) anchor '") << getAnchor() << "' is not in the body";
  return success();
}

LogicalResult ReturnOp::verify() {
  auto types = cast<FuncOp>((*this)->getParentOp()).getResultTypes();
  if (getOperandTypes() != types)
    return emitOpError("(c1) operands are (")
           << getOperandTypes() << "), the kernel returns (" << types << ")";
  return success();
}

LogicalResult LaunchOp::verify() {
  if (auto offsets = getOffsets(); offsets && offsets->size() != getNumResults())
    return emitOpError("(c2) ") << offsets->size() << " offsets for " << getNumResults()
                                << " results";
  if (getPerSequence() && !(*this)->getParentOp()->getAttrOfType<IntegerAttr>("max_tokens"))
    return emitOpError("(c3) 'per_sequence' outside a step with 'max_tokens'");
  return success();
}

LogicalResult LaunchOp::verifySymbolUses(SymbolTableCollection &tables) {
  auto callee = dyn_cast_or_null<FuncOp>(tables.lookupNearestSymbolFrom(*this, getCalleeAttr()));
  if (!callee)
    return emitOpError("(c1) '") << getCallee() << "' is not a kernel.func";
  if (getPerSequence() && callee.getMaxTokens() != 1)
    return emitOpError("(c3) 'per_sequence' launch of '") << getCallee()
                                                          << "', which takes more "
                                                             "than one token";
  auto wanted = [&](TypeRange types) {
    SmallVector<Type> out;
    for (Type type : types) {
      auto tensor = dyn_cast<RankedTensorType>(type);
      out.push_back(getPerSequence() && tensor && !tensor.hasStaticShape() ? lm::oneToken(tensor)
                                                                           : type);
    }
    return out;
  };
  if (callee.getArgumentTypes() != ArrayRef<Type>(wanted(getOperandTypes())) ||
      callee.getResultTypes() != ArrayRef<Type>(wanted(getResultTypes())))
    return emitOpError("(c1) operand or result types differ from '")
           << getCallee() << "', which is " << callee.getFunctionType();
  return success();
}

} // namespace ingot::kernel
