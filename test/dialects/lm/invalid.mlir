// One wrong use for each constraint of LmOps.td.
// RUN: %ingot-opt %s -split-input-file -verify-diagnostics

// expected-error@+1 {{'lm.weight' op (c1) expected at least one source}}
lm.weight @w : tensor<4x8xf32> = []

// -----

// expected-error@+1 {{(c1) source 0 has 16 columns, expected 8}}
lm.weight @w : tensor<4x8xf32> = [dense<0.0> : tensor<4x16xf32>]

// -----

// expected-error@+1 {{(c2) sources have 3 rows together, expected 4}}
lm.weight @w : tensor<4x8xf32> = [dense<0.0> : tensor<3x8xf32>]

// -----

// expected-error@+1 {{(c3) interleave 2 needs sources of equal rows, a multiple of 2; source 1 has 1}}
lm.weight @w : tensor<3x8xf32> = interleave 2 [dense<0.0> : tensor<2x8xf32>, dense<0.0> : tensor<1x8xf32>]

// -----

// expected-error@+1 {{(c4) scale must be tensor<8xf32>, found 'tensor<4xf32>'}}
lm.weight @w : tensor<4x8xf32> = [dense<0.0> : tensor<4x8xf32>] scaled_by dense<1.0> : tensor<4xf32>

// -----

// expected-error@+1 {{(c5) i6, g16, f16*i8 is read from files, never rounded to}}
lm.weight @w : tensor<8x256x!lm.q<i6, g16, f16*i8>> = [dense<0.0> : tensor<8x256xf32>]

// -----

// expected-error@+1 {{'u4, q32' is not a number format}}
lm.weight @w : tensor<4x32x!lm.q<u4, q32>> = [dense<0.0> : tensor<4x32xf32>]

// -----

// expected-error@+1 {{cache elements must be i16, f16 or f32, found 'i8'}}
lm.kv_cache @kv : !lm.cache<8x1x4xi8>

// -----

func.func @ref() {
  // expected-error@+1 {{(c1) 'nothing' is not an lm.weight or lm.kv_cache}}
  %0 = lm.ref @nothing : tensor<4x8xf32>
  return
}

// -----

lm.weight @w : tensor<4x8xf32> = [dense<0.0> : tensor<4x8xf32>]
func.func @ref() {
  // expected-error@+1 {{(c2) 'w' is 'tensor<4x8xf32>', the result is 'tensor<4x9xf32>'}}
  %0 = lm.ref @w : tensor<4x9xf32>
  return
}

// -----

func.func @embedding(%t: tensor<?xi32>, %w: tensor<4x8xf32>) {
  // expected-error@+1 {{(c1) the result must be tensor<?x8xf32>, found 'tensor<?x9xf32>'}}
  %0 = lm.embedding %t, %w : tensor<?xi32>, tensor<4x8xf32> -> tensor<?x9xf32>
  return
}

// -----

func.func @rms_norm(%x: tensor<?x8xf32>, %g: tensor<4xf32>) {
  // expected-error@+1 {{(c1) gain has 4 elements, x has 8 columns}}
  %0 = lm.rms_norm %x, %g eps 1.0e-5 : tensor<?x8xf32>, tensor<4xf32>
  return
}

// -----

func.func @rms_norm(%x: tensor<?x8xf32>, %g: tensor<8xf32>) {
  // expected-error@+1 {{(c2) eps must not be negative}}
  %0 = lm.rms_norm %x, %g eps -1.0 : tensor<?x8xf32>, tensor<8xf32>
  return
}

// -----

func.func @quantize(%x: tensor<?x40xf32>) {
  // expected-error@+1 {{(c1) 40 columns are not whole groups of 32}}
  %0 = lm.quantize %x : tensor<?x40xf32> -> tensor<?x40x!lm.q<i8, g32, f32>>
  return
}

// -----

func.func @weight(%x: tensor<?x32xf32>, %w: tensor<8x32x!lm.q<i16, g32, f32>>) {
  // expected-error@+1 {{op operand #1 must be a static 2-D tensor [outputs, inputs]}}
  %0 = lm.linear %x, %w : tensor<?x32xf32>, tensor<8x32x!lm.q<i16, g32, f32>> -> tensor<?x8xf32>
  return
}

// -----

func.func @quantize(%x: tensor<?x32xf32>) {
  // expected-error@+1 {{op result #0 must be a 2-D tensor of quantized activations}}
  %0 = lm.quantize %x : tensor<?x32xf32> -> tensor<?x32x!lm.q<u4, g32, f32>>
  return
}

// -----

func.func @linear(%x: tensor<?x8xf32>, %w: tensor<4x16xf32>) {
  // expected-error@+1 {{(c1) weight has 16 columns, x has 8}}
  %0 = lm.linear %x, %w : tensor<?x8xf32>, tensor<4x16xf32> -> tensor<?x4xf32>
  return
}

// -----

func.func @logits(%x: tensor<1x8xf32>, %w: tensor<4x8xf32>) {
  // expected-error@+1 {{(c2) the result must be tensor<1x4xf32>, found 'tensor<?x4xf32>'}}
  %0 = lm.logits %x, %w : tensor<1x8xf32>, tensor<4x8xf32> -> tensor<?x4xf32>
  return
}

// -----

func.func @angles(%t: tensor<?xi32>, %p: i32) {
  // expected-error@+1 {{(c1) expected the tokens of 'tensor<?xi32>' and an even number of columns}}
  %0 = lm.rope_angles %t at %p theta 1.0e4 : tensor<?xi32> -> tensor<?x7xf32>
  return
}

// -----

func.func @angles(%t: tensor<?xi32>, %p: i32) {
  // expected-error@+1 {{(c2) theta must be positive}}
  %0 = lm.rope_angles %t at %p theta 0.0 : tensor<?xi32> -> tensor<?x8xf32>
  return
}

// -----

func.func @rope(%x: tensor<?x12xf32>, %a: tensor<?x8xf32>) {
  // expected-error@+1 {{(c1) x 'tensor<?x12xf32>' is not whole heads of angles 'tensor<?x8xf32>'}}
  %0 = lm.rope %x by %a : tensor<?x12xf32>, tensor<?x8xf32>
  return
}

// -----

func.func @append(%k: tensor<?x8xf32>, %v: tensor<?x16xf32>, %c: !lm.cache<4x2x8xf16>, %p: i32) {
  // expected-error@+1 {{(c1) keys and values need 16 columns}}
  lm.append %k, %v to %c at %p : tensor<?x8xf32>, tensor<?x16xf32>, !lm.cache<4x2x8xf16>
  return
}

// -----

func.func @attention(%q: tensor<?x24xf32>, %c: !lm.cache<4x2x8xf16>, %p: i32) {
  // expected-error@+1 {{(c1) q has 24 columns, not a multiple of 2 kv_heads of 8}}
  %0 = lm.attention %q over %c at %p scale 1.0 : tensor<?x24xf32>, !lm.cache<4x2x8xf16>
  return
}

// -----

func.func @silu_mul(%g: tensor<?x24xf32>, %u: tensor<?x16xf32>) {
  // expected-error@+1 {{requires the same type for all operands and results}}
  %0 = "lm.silu_mul"(%g, %u) : (tensor<?x24xf32>, tensor<?x16xf32>) -> tensor<?x24xf32>
  return
}

// -----

func.func @add(%g: tensor<?x24xf32>, %u: tensor<?x16xf32>) {
  // expected-error@+1 {{requires the same}}
  %0 = "lm.add"(%g, %u) : (tensor<?x24xf32>, tensor<?x16xf32>) -> tensor<?x24xf32>
  return
}

// -----

func.func @slice(%x: tensor<?x24xf32>) {
  // expected-error@+1 {{(c1) columns 16 to 32 are outside 'tensor<?x24xf32>'}}
  %0 = lm.slice %x from 16 : tensor<?x24xf32> -> tensor<?x16xf32>
  return
}

// -----

func.func @split(%x: tensor<?x24xf32>) {
  // expected-error@+1 {{(c1) 'tensor<?x12xf32>' is not half of 'tensor<?x24xf32>' in blocks of 8}}
  %0, %1 = lm.split %x blocks 8 : tensor<?x24xf32> -> tensor<?x12xf32>, tensor<?x12xf32>
  return
}

// -----

func.func @last(%x: tensor<?x24xf32>) {
  // expected-error@+1 {{(c1) the result must be tensor<1x24xf32>}}
  %0 = lm.last_token %x : tensor<?x24xf32> -> tensor<2x24xf32>
  return
}

// -----

func.func @fused(%x: tensor<?x24xf32>) {
  // expected-error@+1 {{(c2) anchor 'linear' is not in the body}}
  %0 = lm.fused linear (%a = %x) : (tensor<?x24xf32>) -> (tensor<?x24xf32>) {
    %y = lm.add %a, %a : tensor<?x24xf32>
    lm.yield %y : tensor<?x24xf32>
  }
  return
}

// -----

func.func @fused(%x: tensor<?x24xf32>) {
  // expected-error@+1 {{(c1) yielded values do not have the types of the results}}
  %0 = lm.fused add (%a = %x) : (tensor<?x24xf32>) -> (tensor<?x16xf32>) {
    %y = lm.add %a, %a : tensor<?x24xf32>
    lm.yield %y : tensor<?x24xf32>
  }
  return
}
