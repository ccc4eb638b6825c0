//===- KernelOps.td - kernels, launches and planned memory -------------------===//

#ifndef INGOT_DIALECTS_KERNEL_OPS
#define INGOT_DIALECTS_KERNEL_OPS

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/BuiltinAttributes.td"
include "mlir/IR/OpBase.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"
include "mlir/Interfaces/FunctionInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def Kernel_Dialect : Dialect {
  let name = "kernel";
  let cppNamespace = "::ingot::kernel";
  let summary = "Scheduled kernels, packed layouts and planned buffers";
  let description = [{
    What is left of a model when it has been cut into kernels: `kernel.func` holds the lm operations
    of one kernel with the tile that the target chose; a step function is a list of `kernel.launch`,
    whose results have places in one arena, with a `kernel.barrier` wherever the threads must meet.
  }];
  let useDefaultAttributePrinterParser = 1;
  let dependentDialects = ["::ingot::lm::LmDialect"];
}

def Kernel_TileAttr : AttrDef<Kernel_Dialect, "Tile"> {
  let mnemonic = "tile";
  let summary = "Register tile of a kernel, from the target's machine model";
  let description = [{
    `tokens` tokens are computed at once, and blocks of rows at `streams` places far from each
    other in turns; attention takes `keys` keys at once.

    Example: `#kernel.tile<tokens = 6, streams = 1, keys = 0>`.
  }];
  let parameters = (ins "int32_t":$tokens, "int32_t":$streams, "int32_t":$keys);
  let assemblyFormat = "`<` struct(params) `>`";
}

def Kernel_LayoutAttr : AttrDef<Kernel_Dialect, "Layout"> {
  let mnemonic = "layout";
  let summary = "How the codes of a matrix are laid out for the kernels";
  let description = [{
    See PackedLayout in dialects/kernel/KernelSpec.h: codes as
    `[k % k_inner][row % rows][k / k_inner][group][row / rows]`, first index fastest, in containers of
    `bits`, with scales of type `scale`.

    Example: `#kernel.layout<rows = 16, k_inner = 4, bits = 4, scale = f16>`.
  }];
  let parameters = (ins "int32_t":$rows, "int32_t":$k_inner, "int32_t":$bits, "::mlir::Type":$scale);
  let assemblyFormat = "`<` struct(params) `>`";
}

class Kernel_Op<string mnemonic, list<Trait> traits = []> : Op<Kernel_Dialect, mnemonic, traits>;

def Kernel_FuncOp : Kernel_Op<"func", [FunctionOpInterface, IsolatedFromAbove, Symbol]> {
  let summary = "One kernel";
  let description = [{
    The lm operations that become one piece of machine code. `max_tokens` is 1 for a kernel that takes
    exactly one token, otherwise the most that a step passes. The body ends in `kernel.return`.

    1. `anchor` names an operation of the body.

    ```mlir
    kernel.func @linear_576x1536(%a: tensor<?x1536x!lm.q<i8, g32, f32>>, ...) -> tensor<?x576xf32>
        attributes {anchor = "linear", max_tokens = 192 : i64,
                    tile = #kernel.tile<tokens = 6, streams = 1, keys = 0>} { ... }
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, TypeAttrOf<FunctionType>:$function_type,
                       StrAttr:$anchor, I64Attr:$max_tokens, OptionalAttr<Kernel_TileAttr>:$tile,
                       OptionalAttr<DictArrayAttr>:$arg_attrs, OptionalAttr<DictArrayAttr>:$res_attrs);
  let regions = (region SizedRegion<1>:$body);
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    ::llvm::ArrayRef<::mlir::Type> getArgumentTypes() { return getFunctionType().getInputs(); }
    ::llvm::ArrayRef<::mlir::Type> getResultTypes() { return getFunctionType().getResults(); }
    ::mlir::Region *getCallableRegion() { return &getBody(); }
  }];
}

def Kernel_ReturnOp : Kernel_Op<"return", [Pure, Terminator, ReturnLike, HasParent<"FuncOp">]> {
  let summary = "The results of a kernel";
  let description = [{
    1. The operands have the result types of the kernel.
  }];
  let arguments = (ins Variadic<AnyType>:$values);
  let assemblyFormat = "attr-dict ($values^ `:` type($values))?";
  let hasVerifier = 1;
}

def Kernel_LaunchOp : Kernel_Op<"launch", [DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "Runs a kernel";
  let description = [{
    All threads call the kernel, each with its slices. After memory planning, `offsets` says where in
    the arena each result lies; -1 is a result that leaves the step (the logits).

    `per_sequence` runs a kernel of one token for each token of the step, with the row of the token in
    each operand and result, and with the cache and the position of the token's sequence.

    1. The callee is a `kernel.func` with these operand and result types; with `per_sequence`, with
       one token where they have any number.
    2. `offsets`, where present, has one entry a result.
    3. `per_sequence` only of a kernel of one token, in a step whose `max_tokens` says how many there
       may be.

    ```mlir
    %y = kernel.launch @linear_576x1536(%a, %w, %r) at [16384]
        : (tensor<?x1536x!lm.q<i8, g32, f32>>, ...) -> tensor<?x576xf32>
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$callee, Variadic<AnyType>:$inputs,
                       OptionalAttr<DenseI64ArrayAttr>:$offsets, UnitAttr:$per_sequence);
  let results = (outs Variadic<AnyType>:$results);
  let assemblyFormat = [{
    $callee `(` $inputs `)` (`per_sequence` $per_sequence^)? (`at` $offsets^)? attr-dict `:` functional-type($inputs, $results)
  }];
  let hasVerifier = 1;
}

def Kernel_BarrierOp : Kernel_Op<"barrier", [MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "All threads meet";
  let description = [{
    What launches before the barrier wrote is visible to all threads after it.
  }];
  let assemblyFormat = "attr-dict";
}

#endif
