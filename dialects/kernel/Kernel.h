// The kernel dialect: see KernelOps.td.
#pragma once

#include "dialects/lm/Lm.h"

#include "mlir/Interfaces/FunctionInterfaces.h"

#include "dialects/kernel/KernelDialect.h.inc"

#define GET_ATTRDEF_CLASSES
#include "dialects/kernel/KernelAttrs.h.inc"

#define GET_OP_CLASSES
#include "dialects/kernel/KernelOps.h.inc"
