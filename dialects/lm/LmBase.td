//===- LmBase.td - the lm dialect, its types and interfaces ---------------===//

#ifndef INGOT_DIALECTS_LM_BASE
#define INGOT_DIALECTS_LM_BASE

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/BuiltinTypeInterfaces.td"
include "mlir/IR/OpBase.td"

def Lm_Dialect : Dialect {
  let name = "lm";
  let cppNamespace = "::ingot::lm";
  let summary = "Language models: what a model computes, with no word on how";
  let description = [{
    One function over a dynamic number of tokens, made of the operations that papers use. Weights
    and KV caches are symbols; an operation reaches them through `lm.ref`. The element type of a
    weight carries its number format, `!lm.q<u4, g32, f16+f16>`, so that the same `lm.linear` stands
    for every quantization scheme. The interpreter in dialects/lm/interpreter defines the meaning of
    every operation: fp32 values, fp64 sums.
  }];
  let useDefaultTypePrinterParser = 1;
}

class Lm_Type<string name, string typeMnemonic, list<Trait> traits = []>
    : TypeDef<Lm_Dialect, name, traits> {
  let mnemonic = typeMnemonic;
}

def EncodedTypeInterface : TypeInterface<"EncodedTypeInterface"> {
  let description = [{
    An element type that is a number format. Everything about the format (bits, groups, storage
    bytes, decoding, encoding) is asked of the `Encoding` it returns.
  }];
  let cppNamespace = "::ingot::lm";
  let methods = [
    InterfaceMethod<"The number format.", "::ingot::Encoding", "getEncoding", (ins)>
  ];
}

def Lm_QuantType : Lm_Type<"Quant", "q", [DeclareTypeInterfaceMethods<EncodedTypeInterface>]> {
  let summary = "An element of a quantized tensor";
  let description = [{
    value = code * scale + minimum, in fp32. The text is the format's, in this order: the code
    (`u4` unsigned, `i4` signed), the group that shares a scale (`g32`, or `row`), the type of the
    scale and, after `+`, of the minimum. `f16*u6` is a two-level scale: a 6-bit code per group
    times one f16 per super-block of 256. A table's name in place of the code says that the codes are its
    numbers (`iq4_nl`, `e2m1`), and `e8m0` that the scale is a power of two.

    Examples: `!lm.q<u4, g32, f16+f16>` (Q4_1), `!lm.q<i8, g32, f16>` (Q8_0),
    `!lm.q<u4, g32, f16*u6+f16*u6>` (Q4_K), `!lm.q<e2m1, g32, e8m0>` (MXFP4).
  }];
  let parameters = (ins "::ingot::Encoding":$format);
  let hasCustomAssemblyFormat = 1;
}

def Lm_CacheType : Lm_Type<"Cache", "cache"> {
  let summary = "The keys and values of one layer";
  let description = [{
    Room for a number of positions of `kv_heads` heads of `head_dim` elements, twice (keys, values).
    With i16 elements, each head of each position has one f32 scale and codes of at most
    `keyCodeLimit(head_dim)` or `kValueCodeLimit` (Encoding.h), so that sums of their products fit i32.

    Example: `!lm.cache<2048x3x64xf16>`.
  }];
  let parameters = (ins "int64_t":$positions, "int64_t":$kvHeads, "int64_t":$headDim,
                        "::mlir::Type":$elementType);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
}

def Lm_Rows : TypeConstraint<CPred<[{
    ::ingot::lm::isRows($_self)
  }]>, "a 2-D tensor of f32, one row per token">;
def Lm_Activations : TypeConstraint<CPred<[{
    ::ingot::lm::isRows($_self) || ::ingot::lm::isQuantizedRows($_self)
  }]>, "a 2-D tensor of f32 or of quantized activations, one row per token">;
def Lm_QuantizedRows : TypeConstraint<CPred<[{
    ::ingot::lm::isQuantizedRows($_self)
  }]>, "a 2-D tensor of quantized activations (!lm.q<i8, gN, f32>, i16 or f16)">;
def Lm_Matrix : TypeConstraint<CPred<[{
    ::ingot::lm::isMatrix($_self)
  }]>, "a static 2-D tensor [outputs, inputs] of a float or !lm.q type">;
def Lm_Vector : TypeConstraint<CPred<[{
    ::ingot::lm::isVector($_self)
  }]>, "a static 1-D tensor of f32">;
def Lm_Tokens : TypeConstraint<CPred<[{
    ::ingot::lm::isTokens($_self)
  }]>, "a 1-D tensor of i32 token ids">;

#endif
