//===- LmOps.td - the operations of a language model -----------------------===//
//
// Shapes: T tokens (dynamic or static), D model width, H heads, d head_dim, N outputs, K inputs.
// Constraints are numbered (op_c1, ...); verifiers and test/dialects/lm/invalid.mlir use the numbers.

#ifndef INGOT_DIALECTS_LM_OPS
#define INGOT_DIALECTS_LM_OPS

include "lm/LmBase.td"
include "mlir/IR/BuiltinAttributes.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/IR/RegionKindInterface.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

class Lm_Op<string mnemonic, list<Trait> traits = []> : Op<Lm_Dialect, mnemonic, traits>;

//===--- Symbols -----------------------------------------------------------===//

def Lm_WeightOp : Lm_Op<"weight", [Symbol]> {
  let summary = "A weight and the recipe that makes it";
  let description = [{
    The payload is never in the IR: `sources` are resources backed by the mapped model file. The
    recipe is evaluated row by row when weights are packed: the rows of all sources follow each
    other (or, with `interleave n`, alternate in blocks of n rows); each row is decoded, its columns
    are multiplied by `scale` where there is one, and re-encoded in the element type of `type`. A
    row that already has that element type and no scale is taken as it is, bit for bit.

    1. `sources` is not empty and all sources have the columns of `type`.
    2. Their rows sum to the rows of `type`.
    3. With `interleave n`: the sources have equal rows, a multiple of n.
    4. `scale` is an f32 vector as long as a row.

    ```mlir
    lm.weight @blk.0.ffn_down : tensor<576x1536x!lm.q<u4, g32, f16+f16>>
        = [dense_resource<w> : tensor<576x1536x!lm.q<u4, g32, f16+f16>>]
    lm.weight @blk.0.attn_qkv : tensor<960x576xf16> = [dense_resource<q> : tensor<576x576xf16>,
        dense_resource<k> : tensor<192x576xf16>, dense_resource<v> : tensor<192x576xf16>]
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, TypeAttrOf<AnyRankedTensor>:$type,
                       ArrayAttr:$sources, OptionalAttr<ElementsAttr>:$scale,
                       OptionalAttr<I64Attr>:$interleave, OptionalAttr<AnyAttr>:$layout,
                       OptionalAttr<I64Attr>:$offset);
  let assemblyFormat = [{
    $sym_name `:` $type `=` (`interleave` $interleave^)? $sources (`scaled_by` $scale^)?
    (`packed` $layout^)? (`at` $offset^)? attr-dict
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    ::mlir::RankedTensorType getTensorType();
    /// Number format of the result.
    ::ingot::Encoding getEncoding();
    /// True where every stored row is used as it is.
    bool isPlain();
  }];
}

def Lm_KvCacheOp : Lm_Op<"kv_cache", [Symbol]> {
  let summary = "The KV cache of one layer";
  let description = [{
    State that lives across steps. Starts empty.

    ```mlir
    lm.kv_cache @kv.0 : !lm.cache<2048x3x64xf16>
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, TypeAttrOf<Lm_CacheType>:$type,
                       OptionalAttr<I64Attr>:$offset);
  let assemblyFormat = "$sym_name `:` $type (`at` $offset^)? attr-dict";
}

def Lm_RefOp : Lm_Op<"ref", [Pure, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "A weight or a KV cache, as a value";
  let description = [{
    1. `symbol` names an `lm.weight` or `lm.kv_cache` of the same module.
    2. The result has its type.

    ```mlir
    %w = lm.ref @blk.0.ffn_down : tensor<576x1536x!lm.q<u4, g32, f16+f16>>
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$symbol);
  let results = (outs AnyType:$result);
  let assemblyFormat = "$symbol `:` type($result) attr-dict";
}

//===--- Model operations ----------------------------------------------------===//

def Lm_EmbeddingOp : Lm_Op<"embedding", [Pure]> {
  let summary = "Rows of the embedding table";
  let description = [{
    result[t, :] = decode(table[tokens[t], :]).

    1. The result has as many tokens as `tokens` and the columns of `table`.

    ```mlir
    %x = lm.embedding %tokens, %table : tensor<?xi32>, tensor<49152x576xf16> -> tensor<?x576xf32>
    ```
  }];
  let arguments = (ins Lm_Tokens:$tokens, Lm_Matrix:$table);
  let results = (outs Lm_Rows:$result);
  let assemblyFormat = "operands attr-dict `:` type(operands) `->` type($result)";
  let hasVerifier = 1;
}

def Lm_RmsNormOp : Lm_Op<"rms_norm", [Pure, AllTypesMatch<["x", "result"]>]> {
  let summary = "Root-mean-square normalization";
  let description = [{
    result[t, i] = x[t, i] / sqrt(mean_i(x[t, i]^2) + eps) * gain[i] (Zhang & Sennrich 2019, eq. 4).

    1. `gain` has the columns of `x`.
    2. eps >= 0.

    ```mlir
    %y = lm.rms_norm %x, %gain eps 1.0e-05 : tensor<?x576xf32>, tensor<576xf32>
    ```
  }];
  let arguments = (ins Lm_Rows:$x, Lm_Vector:$gain, F64Attr:$eps);
  let results = (outs Lm_Rows:$result);
  let assemblyFormat = "$x `,` $gain `eps` $eps attr-dict `:` type($x) `,` type($gain)";
  let hasVerifier = 1;
}

def Lm_QuantizeOp : Lm_Op<"quantize", [Pure]> {
  let summary = "Quantizes activations, row by row";
  let description = [{
    Per group of columns: scale = max|x| / L, code = round_half_even(x / scale), where L is 127 for
    codes of 8 bits and 32767 for 16. Of halves: scale = 2^floor(log2(max|x|)), code = f16(x / scale).

    1. The result has the shape of `x`, codes i8, i16 or f16, a whole number of groups and f32 scales, no minimum.

    ```mlir
    %a = lm.quantize %x : tensor<?x576xf32> -> tensor<?x576x!lm.q<i8, g32, f32>>
    ```
  }];
  let arguments = (ins Lm_Rows:$x);
  let results = (outs Lm_QuantizedRows:$result);
  let assemblyFormat = "$x attr-dict `:` type($x) `->` type($result)";
  let hasVerifier = 1;
}

class Lm_MatmulOp<string mnemonic> : Lm_Op<mnemonic, [Pure]> {
  let arguments = (ins Lm_Activations:$x, Lm_Matrix:$weight);
  let results = (outs Lm_Rows:$result);
  let assemblyFormat = "$x `,` $weight attr-dict `:` type($x) `,` type($weight) `->` type($result)";
  let hasVerifier = 1;
}

def Lm_LinearOp : Lm_MatmulOp<"linear"> {
  let summary = "A linear layer without bias";
  let description = [{
    result[t, n] = sum_k decode(weight[n, k]) * decode(x[t, k]).

    1. `weight` has the columns of `x`.
    2. The result has the tokens of `x` and the rows of `weight`.

    ```mlir
    %y = lm.linear %x, %w : tensor<?x576xf32>, tensor<1536x576xf16> -> tensor<?x1536xf32>
    ```
  }];
}

def Lm_LogitsOp : Lm_MatmulOp<"logits"> {
  let summary = "The output layer: a score for every token of the vocabulary";
  let description = [{
    A linear layer whose result leaves the model; the constraints are those of `lm.linear`.

    ```mlir
    %y = lm.logits %x, %w : tensor<1x576xf32>, tensor<49152x576xf16> -> tensor<1x49152xf32>
    ```
  }];
}

def Lm_RopeAnglesOp : Lm_Op<"rope_angles", [Pure]> {
  let summary = "Cosine and sine of every rotation of this step";
  let description = [{
    result[t, i] = cos(a), result[t, head_dim/2 + i] = sin(a), with
    a = (position + t) * theta^(-2i / head_dim) (Su et al. 2021, section 3.2.2). Shared by all layers.

    1. The result has as many tokens as `tokens`, and an even number of columns, head_dim.
    2. theta > 0.

    ```mlir
    %a = lm.rope_angles %tokens at %position theta 1.0e+05 : tensor<?xi32> -> tensor<?x64xf32>
    ```
  }];
  let arguments = (ins Lm_Tokens:$tokens, I32:$position, F64Attr:$theta);
  let results = (outs Lm_Rows:$result);
  let assemblyFormat = [{
    $tokens `at` $position `theta` $theta attr-dict `:` type($tokens) `->` type($result)
  }];
  let hasVerifier = 1;
}

def Lm_RopeOp : Lm_Op<"rope", [Pure, AllTypesMatch<["x", "result"]>]> {
  let summary = "Rotary position embedding";
  let description = [{
    Rotates pairs of each head's elements by `angles`. A pair is (2i, 2i+1) with `interleaved`, else
    (i, i + head_dim/2); head_dim is the columns of `angles`.

    1. The columns of `x` are a multiple of head_dim; tokens agree.

    ```mlir
    %y = lm.rope %x by %a interleaved : tensor<?x576xf32>, tensor<?x64xf32>
    ```
  }];
  let arguments = (ins Lm_Rows:$x, Lm_Rows:$angles, UnitAttr:$interleaved);
  let results = (outs Lm_Rows:$result);
  let assemblyFormat = [{
    $x `by` $angles (`interleaved` $interleaved^)? attr-dict `:` type($x) `,` type($angles)
  }];
  let hasVerifier = 1;
}

def Lm_AppendOp : Lm_Op<"append", [MemoryEffects<[MemWrite]>]> {
  let summary = "Stores this step's keys and values in the KV cache";
  let description = [{
    cache.keys[position + t], cache.values[position + t] = keys[t], values[t], rounded to the
    cache's element type.

    1. `keys` and `values` have the same tokens and kv_heads * head_dim columns.

    ```mlir
    lm.append %k, %v to %kv at %position : tensor<?x192xf32>, !lm.cache<2048x3x64xf16>
    ```
  }];
  let arguments = (ins Lm_Rows:$keys, Lm_Rows:$values, Lm_CacheType:$cache, I32:$position);
  let assemblyFormat = [{
    $keys `,` $values `to` $cache `at` $position attr-dict `:` type($keys) `,` type($values) `,`
    qualified(type($cache))
  }];
  let hasVerifier = 1;
}

def Lm_AttentionOp : Lm_Op<"attention", [MemoryEffects<[MemRead]>, AllTypesMatch<["q", "result"]>]> {
  let summary = "Causal attention over the KV cache";
  let description = [{
    For head h of token t, with key head h / (heads / kv_heads):
    result[t, h] = softmax_s(scale * q[t, h] . keys[s]) . values, s = 0 .. position + t
    (grouped-query attention, Ainslie et al. 2023). The step's own keys and values are in the cache
    already (`lm.append`).

    1. The columns of `q` are a multiple of the cache's head_dim, and that number of heads is a
       multiple of its kv_heads.

    ```mlir
    %y = lm.attention %q over %kv at %position scale 1.25e-01 : tensor<?x576xf32>,
        !lm.cache<2048x3x64xf16>
    ```
  }];
  let arguments = (ins Lm_Rows:$q, Lm_CacheType:$cache, I32:$position, F64Attr:$scale);
  let results = (outs Lm_Rows:$result);
  let assemblyFormat = [{
    $q `over` $cache `at` $position `scale` $scale attr-dict `:` type($q) `,` qualified(type($cache))
  }];
  let hasVerifier = 1;
}

def Lm_SiluMulOp : Lm_Op<"silu_mul", [Pure, SameOperandsAndResultType]> {
  let summary = "The gate of a gated MLP: silu(gate) * up";
  let description = [{
    result = gate / (1 + exp(-gate)) * up (SwiGLU, Shazeer 2020, section 2).

    ```mlir
    %y = lm.silu_mul %gate, %up : tensor<?x1536xf32>
    ```
  }];
  let arguments = (ins Lm_Rows:$gate, Lm_Rows:$up);
  let results = (outs Lm_Rows:$result);
  let assemblyFormat = "operands attr-dict `:` type($result)";
}

def Lm_AddOp : Lm_Op<"add", [Pure, SameOperandsAndResultType]> {
  let summary = "Residual addition";
  let description = [{
    ```mlir
    %y = lm.add %x, %r : tensor<?x576xf32>
    ```
  }];
  let arguments = (ins Lm_Rows:$x, Lm_Rows:$y);
  let results = (outs Lm_Rows:$result);
  let assemblyFormat = "operands attr-dict `:` type($result)";
}

def Lm_SliceOp : Lm_Op<"slice", [Pure]> {
  let summary = "A range of columns";
  let description = [{
    result[t, i] = x[t, offset + i].

    1. 0 <= offset and offset + result columns <= columns of `x`; tokens agree.

    ```mlir
    %k = lm.slice %qkv from 576 : tensor<?x960xf32> -> tensor<?x192xf32>
    ```
  }];
  let arguments = (ins Lm_Rows:$x, I64Attr:$offset);
  let results = (outs Lm_Rows:$result);
  let assemblyFormat = "$x `from` $offset attr-dict `:` type($x) `->` type($result)";
  let hasVerifier = 1;
}

def Lm_SplitOp : Lm_Op<"split", [Pure]> {
  let summary = "Undoes the interleaving of two weights' rows";
  let description = [{
    Columns of `x` alternate in blocks: n of `first`, n of `second`, and so on.

    1. `first` and `second` have half the columns of `x`, a multiple of `blocks`; tokens agree.

    ```mlir
    %gate, %up = lm.split %x blocks 16 : tensor<?x3072xf32> -> tensor<?x1536xf32>
    ```
  }];
  let arguments = (ins Lm_Rows:$x, I64Attr:$blocks);
  let results = (outs Lm_Rows:$first, Lm_Rows:$second);
  let assemblyFormat = [{
    $x `blocks` $blocks attr-dict `:` type($x) `->` type($first) `,` type($second)
  }];
  let hasVerifier = 1;
}

def Lm_LastTokenOp : Lm_Op<"last_token", [Pure]> {
  let summary = "The row of the last token";
  let description = [{
    1. The result is 1 x the columns of `x`.

    ```mlir
    %y = lm.last_token %x : tensor<?x576xf32> -> tensor<1x576xf32>
    ```
  }];
  let arguments = (ins Lm_Rows:$x);
  let results = (outs Lm_Rows:$result);
  let assemblyFormat = "$x attr-dict `:` type($x) `->` type($result)";
  let hasVerifier = 1;
}

//===--- Fusion ---------------------------------------------------------------===//

def Lm_FusedOp : Lm_Op<"fused", [IsolatedFromAbove, SingleBlock,
                                 SingleBlockImplicitTerminator<"YieldOp">]> {
  let summary = "Operations that become one kernel";
  let description = [{
    Holds the operations themselves, so a fused module means what it meant before. `anchor` names the
    one that a schedule is built around (a linear layer, attention); the others are its prologue and
    epilogue.

    1. Block arguments and yielded values have the types of operands and results.
    2. `anchor` names an operation in the body.

    ```mlir
    %y = lm.fused linear (%a = %x, %b = %w, %c = %r) : (...) -> tensor<?x576xf32> { ... }
    ```
  }];
  let arguments = (ins Variadic<AnyType>:$inputs, StrAttr:$anchor);
  let results = (outs Variadic<AnyType>:$results);
  let regions = (region SizedRegion<1>:$body);
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
}

def Lm_YieldOp : Lm_Op<"yield", [Pure, Terminator, ReturnLike, ParentOneOf<["FusedOp"]>]> {
  let summary = "The results of `lm.fused`";
  let arguments = (ins Variadic<AnyType>:$values);
  let assemblyFormat = "attr-dict ($values^ `:` type($values))?";
  let builders = [OpBuilder<(ins), [{ (void)$_state; }]>];
}

#endif
