// RUN: %ingot-opt %s --lm-fuse-regions | %FileCheck %s --check-prefixes=CHECK,APART
// RUN: %ingot-opt %s --lm-fuse-regions=norms-with-floats | %FileCheck %s --check-prefixes=CHECK,WITH

// CHECK-LABEL: func.func @step
func.func @step(%x: tensor<1x32xf32>, %angles: tensor<1x16xf32>, %position: i32,
                  %gain: tensor<32xf32>, %wqkv: tensor<96x32x!lm.q<u4, g32, f16+f16>>,
                  %wo: tensor<32x32xf16>, %wgu: tensor<64x32xf16>,
                  %kv: !lm.cache<64x2x16xf16>) -> tensor<1x32xf32> {
  // A norm with the quantization behind it.
  // CHECK: lm.fused rms_norm
  // CHECK-NEXT: lm.rms_norm
  // CHECK-NEXT: lm.quantize
  // CHECK-NEXT: lm.yield
  %n = lm.rms_norm %x, %gain eps 1.0e-5 : tensor<1x32xf32>, tensor<32xf32>
  %q8 = lm.quantize %n : tensor<1x32xf32> -> tensor<1x32x!lm.q<i8, g32, f32>>
  // CHECK: lm.fused linear
  // CHECK-NEXT: lm.linear
  // CHECK-NEXT: lm.yield
  %qkv = lm.linear %q8, %wqkv : tensor<1x32x!lm.q<i8, g32, f32>>, tensor<96x32x!lm.q<u4, g32, f16+f16>> -> tensor<1x96xf32>
  %q = lm.slice %qkv from 0 : tensor<1x96xf32> -> tensor<1x32xf32>
  %k = lm.slice %qkv from 32 : tensor<1x96xf32> -> tensor<1x32xf32>
  %v = lm.slice %qkv from 64 : tensor<1x96xf32> -> tensor<1x32xf32>
  %qr = lm.rope %q by %angles interleaved : tensor<1x32xf32>, tensor<1x16xf32>
  %kr = lm.rope %k by %angles interleaved : tensor<1x32xf32>, tensor<1x16xf32>
  // CHECK: lm.fused append
  // CHECK-NEXT: lm.slice
  // CHECK-NEXT: lm.slice
  // CHECK-NEXT: lm.rope
  // CHECK-NEXT: lm.append
  lm.append %kr, %v to %kv at %position : tensor<1x32xf32>, tensor<1x32xf32>, !lm.cache<64x2x16xf16>
  // Attention rotates its queries itself.
  // CHECK: lm.fused attention
  // CHECK-NEXT: lm.slice
  // CHECK-NEXT: lm.rope
  // CHECK-NEXT: lm.attention
  // CHECK-NEXT: lm.yield
  %a = lm.attention %qr over %kv at %position scale 0.25 : tensor<1x32xf32>, !lm.cache<64x2x16xf16>
  // A linear layer with the residual.
  // CHECK: lm.fused linear
  // CHECK-NEXT: lm.linear
  // CHECK-NEXT: lm.add
  // CHECK-NEXT: lm.yield
  %o = lm.linear %a, %wo : tensor<1x32xf32>, tensor<32x32xf16> -> tensor<1x32xf32>
  %r = lm.add %o, %x : tensor<1x32xf32>
  // A linear layer with the gate.
  // CHECK: lm.fused linear
  // CHECK-NEXT: lm.linear
  // CHECK-NEXT: lm.split
  // CHECK-NEXT: lm.silu_mul
  // CHECK-NEXT: lm.yield
  %gu = lm.linear %r, %wgu : tensor<1x32xf32>, tensor<64x32xf16> -> tensor<1x64xf32>
  %g, %u = lm.split %gu blocks 16 : tensor<1x64xf32> -> tensor<1x32xf32>, tensor<1x32xf32>
  %s = lm.silu_mul %g, %u : tensor<1x32xf32>
  // CHECK: return
  return %s : tensor<1x32xf32>
}

// A single token is quantized where it is read.
// CHECK-LABEL: func.func @decode
func.func @decode(%x: tensor<1x32xf32>, %gain: tensor<32xf32>,
                  %w: tensor<96x32x!lm.q<u4, g32, f16+f16>>) -> tensor<1x96xf32>
    attributes {max_tokens = 1 : i64} {
  // CHECK: lm.fused linear
  // CHECK-NEXT: lm.rms_norm
  // CHECK-NEXT: lm.quantize
  // CHECK-NEXT: lm.linear
  // CHECK-NEXT: lm.yield
  %n = lm.rms_norm %x, %gain eps 1.0e-5 : tensor<1x32xf32>, tensor<32xf32>
  %q8 = lm.quantize %n : tensor<1x32xf32> -> tensor<1x32x!lm.q<i8, g32, f32>>
  %y = lm.linear %q8, %w : tensor<1x32x!lm.q<i8, g32, f32>>, tensor<96x32x!lm.q<u4, g32, f16+f16>> -> tensor<1x96xf32>
  // CHECK: return
  return %y : tensor<1x96xf32>
}

// Of floats the norm stays apart, but where a launch costs more. What others read stays apart, too.
// CHECK-LABEL: func.func @floats
func.func @floats(%x: tensor<1x32xf32>, %gain: tensor<32xf32>, %w: tensor<96x32xf16>)
    -> (tensor<1x96xf32>, tensor<1x96xf32>, tensor<1x32xf32>) attributes {max_tokens = 1 : i64} {
  // APART: lm.fused rms_norm
  // APART: lm.fused linear
  // APART-NEXT: lm.linear
  // WITH: lm.fused linear
  // WITH-NEXT: lm.rms_norm
  // WITH-NEXT: lm.linear
  %n = lm.rms_norm %x, %gain eps 1.0e-5 : tensor<1x32xf32>, tensor<32xf32>
  %y = lm.linear %n, %w : tensor<1x32xf32>, tensor<96x32xf16> -> tensor<1x96xf32>
  // CHECK: lm.fused rms_norm
  // CHECK: lm.fused linear
  // CHECK-NEXT: lm.linear
  %m = lm.rms_norm %x, %gain eps 1.0e-6 : tensor<1x32xf32>, tensor<32xf32>
  %z = lm.linear %m, %w : tensor<1x32xf32>, tensor<96x32xf16> -> tensor<1x96xf32>
  // CHECK: return
  return %y, %z, %m : tensor<1x96xf32>, tensor<1x96xf32>, tensor<1x32xf32>
}
