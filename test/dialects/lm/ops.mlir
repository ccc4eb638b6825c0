// Every operation and type parses and prints as written.
// RUN: %ingot-opt %s | %ingot-opt | %FileCheck %s

// CHECK: lm.weight @embd : tensor<64x32x!lm.q<i8, g32, f16>> = [dense_resource<embd>
lm.weight @embd : tensor<64x32x!lm.q<i8, g32, f16>> = [dense_resource<embd> : tensor<64x32x!lm.q<i8, g32, f16>>]
// CHECK: lm.weight @gain : tensor<32xf32> = [dense<1.000000e+00> : tensor<32xf32>]
lm.weight @gain : tensor<32xf32> = [dense<1.0> : tensor<32xf32>]
// CHECK: lm.weight @qkv : tensor<64x32xf16> = [{{.*}}] scaled_by dense<2.000000e+00> : tensor<32xf32>
lm.weight @qkv : tensor<64x32xf16> = [dense<1.0> : tensor<32x32xf16>, dense<1.0> : tensor<32x32xf16>] scaled_by dense<2.0> : tensor<32xf32>
// CHECK: lm.weight @gate_up : tensor<64x32xbf16> = interleave 16 [
lm.weight @gate_up : tensor<64x32xbf16> = interleave 16 [dense<1.0> : tensor<32x32xbf16>, dense<1.0> : tensor<32x32xbf16>]
// CHECK: lm.weight @packed : {{.*}} packed #kernel.layout<rows = 16, k_inner = 4, bits = 4, scale = f16> at 4096
lm.weight @packed : tensor<32x32x!lm.q<u4, g32, f16+f16>> = [dense_resource<p> : tensor<32x32x!lm.q<u4, g32, f16+f16>>] packed #kernel.layout<rows = 16, k_inner = 4, bits = 4, scale = f16> at 4096
// CHECK: lm.weight @k : tensor<1x256x!lm.q<u4, g32, f16*u6+f16*u6>>
lm.weight @k : tensor<1x256x!lm.q<u4, g32, f16*u6+f16*u6>> = [dense_resource<k> : tensor<1x256x!lm.q<u4, g32, f16*u6+f16*u6>>]
// CHECK: lm.weight @row : tensor<4x48x!lm.q<i8, row, f32>>
lm.weight @row : tensor<4x48x!lm.q<i8, row, f32>> = [dense_resource<r> : tensor<4x48x!lm.q<i8, row, f32>>]
// CHECK: lm.weight @nl : tensor<4x64x!lm.q<iq4_nl, g32, f16>>
lm.weight @nl : tensor<4x64x!lm.q<iq4_nl, g32, f16>> = [dense_resource<n> : tensor<4x64x!lm.q<iq4_nl, g32, f16>>]
// CHECK: lm.weight @mx : tensor<4x64x!lm.q<e2m1, g32, e8m0>>
lm.weight @mx : tensor<4x64x!lm.q<e2m1, g32, e8m0>> = [dense_resource<m> : tensor<4x64x!lm.q<e2m1, g32, e8m0>>]
// CHECK: lm.kv_cache @kv.0 : !lm.cache<128x2x16xf16>
lm.kv_cache @kv.0 : !lm.cache<128x2x16xf16>

// CHECK-LABEL: func.func @forward
func.func @forward(%tokens: tensor<?xi32>, %position: i32) -> tensor<?x64xf32> {
  // CHECK: %[[TABLE:.*]] = lm.ref @embd : tensor<64x32x!lm.q<i8, g32, f16>>
  %table = lm.ref @embd : tensor<64x32x!lm.q<i8, g32, f16>>
  // CHECK: %[[X:.*]] = lm.embedding %{{.*}}, %[[TABLE]] : tensor<?xi32>, tensor<64x32x!lm.q<i8, g32, f16>> -> tensor<?x32xf32>
  %x = lm.embedding %tokens, %table : tensor<?xi32>, tensor<64x32x!lm.q<i8, g32, f16>> -> tensor<?x32xf32>
  // CHECK: %[[A:.*]] = lm.rope_angles %{{.*}} at %{{.*}} theta 1.000000e+04 : tensor<?xi32> -> tensor<?x16xf32>
  %a = lm.rope_angles %tokens at %position theta 1.0e4 : tensor<?xi32> -> tensor<?x16xf32>
  %gain = lm.ref @gain : tensor<32xf32>
  // CHECK: lm.rms_norm %[[X]], %{{.*}} eps 1.000000e-05 : tensor<?x32xf32>, tensor<32xf32>
  %n = lm.rms_norm %x, %gain eps 1.0e-5 : tensor<?x32xf32>, tensor<32xf32>
  // CHECK: lm.quantize %{{.*}} : tensor<?x32xf32> -> tensor<?x32x!lm.q<i16, g32, f32>>
  %i16 = lm.quantize %n : tensor<?x32xf32> -> tensor<?x32x!lm.q<i16, g32, f32>>
  // CHECK: lm.quantize %{{.*}} : tensor<?x32xf32> -> tensor<?x32x!lm.q<i8, g32, f32>>
  %i8 = lm.quantize %n : tensor<?x32xf32> -> tensor<?x32x!lm.q<i8, g32, f32>>
  %w = lm.ref @qkv : tensor<64x32xf16>
  // CHECK: lm.linear %{{.*}}, %{{.*}} : tensor<?x32x!lm.q<i8, g32, f32>>, tensor<64x32xf16> -> tensor<?x64xf32>
  %qkv = lm.linear %i8, %w : tensor<?x32x!lm.q<i8, g32, f32>>, tensor<64x32xf16> -> tensor<?x64xf32>
  // CHECK: lm.slice %{{.*}} from 32 : tensor<?x64xf32> -> tensor<?x32xf32>
  %q = lm.slice %qkv from 32 : tensor<?x64xf32> -> tensor<?x32xf32>
  // CHECK: lm.rope %{{.*}} by %[[A]] interleaved : tensor<?x32xf32>, tensor<?x16xf32>
  %r = lm.rope %q by %a interleaved : tensor<?x32xf32>, tensor<?x16xf32>
  %kv = lm.ref @kv.0 : !lm.cache<128x2x16xf16>
  // CHECK: lm.append %{{.*}}, %{{.*}} to %{{.*}} at %{{.*}} : tensor<?x32xf32>, tensor<?x32xf32>, !lm.cache<128x2x16xf16>
  lm.append %r, %q to %kv at %position : tensor<?x32xf32>, tensor<?x32xf32>, !lm.cache<128x2x16xf16>
  // CHECK: lm.attention %{{.*}} over %{{.*}} at %{{.*}} scale 2.500000e-01 : tensor<?x32xf32>, !lm.cache<128x2x16xf16>
  %o = lm.attention %r over %kv at %position scale 0.25 : tensor<?x32xf32>, !lm.cache<128x2x16xf16>
  // CHECK: %{{.*}}, %{{.*}} = lm.split %{{.*}} blocks 16 : tensor<?x64xf32> -> tensor<?x32xf32>, tensor<?x32xf32>
  %gate, %up = lm.split %qkv blocks 16 : tensor<?x64xf32> -> tensor<?x32xf32>, tensor<?x32xf32>
  // CHECK: lm.silu_mul %{{.*}}, %{{.*}} : tensor<?x32xf32>
  %s = lm.silu_mul %gate, %up : tensor<?x32xf32>
  // CHECK: lm.add %{{.*}}, %{{.*}} : tensor<?x32xf32>
  %y = lm.add %s, %o : tensor<?x32xf32>
  // CHECK: lm.last_token %{{.*}} : tensor<?x32xf32> -> tensor<1x32xf32>
  %last = lm.last_token %y : tensor<?x32xf32> -> tensor<1x32xf32>
  // CHECK: lm.fused add (%{{.*}} = %{{.*}}, %{{.*}} = %{{.*}}) : (tensor<?x32xf32>, tensor<?x32xf32>) -> (tensor<?x32xf32>)
  %f = lm.fused add (%u = %y, %v = %x) : (tensor<?x32xf32>, tensor<?x32xf32>) -> (tensor<?x32xf32>) {
    %sum = lm.add %u, %v : tensor<?x32xf32>
    // CHECK: lm.yield %{{.*}} : tensor<?x32xf32>
    lm.yield %sum : tensor<?x32xf32>
  }
  // CHECK: lm.logits %{{.*}}, %[[TABLE]] : tensor<?x32xf32>, tensor<64x32x!lm.q<i8, g32, f16>> -> tensor<?x64xf32>
  %l = lm.logits %f, %table : tensor<?x32xf32>, tensor<64x32x!lm.q<i8, g32, f16>> -> tensor<?x64xf32>
  return %l : tensor<?x64xf32>
}
