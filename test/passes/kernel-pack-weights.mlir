// RUN: %ingot-opt %s --kernel-pack-weights=target=x86-64-v3 | %FileCheck %s

// In the order of first use, each part on its own 128 bytes:
// codes 48*32/2 = 768, scales and mins 48*2 = 96 -> 128 each, so the vector is at 1024.
// CHECK: module attributes {ingot.weight_bytes = 1152 : i64}
// CHECK: lm.weight @gain : tensor<32xf32> = {{.*}} at 1024
// CHECK: lm.weight @w : {{.*}} packed #kernel.layout<rows = 16, k_inner = {{2|4}}, bits = 4, scale = f16> at 0
// What no step reads gets no place.
// CHECK: lm.weight @unused : {{.*}} tensor<32xf32>]{{$}}
lm.weight @gain : tensor<32xf32> = [dense<1.0> : tensor<32xf32>]
lm.weight @w : tensor<48x32x!lm.q<u4, g32, f16+f16>> = [dense_resource<w> : tensor<48x32x!lm.q<u4, g32, f16+f16>>]
lm.weight @unused : tensor<32xf32> = [dense<1.0> : tensor<32xf32>]

kernel.func @linear(%a: tensor<1x32xf32>, %w: tensor<48x32x!lm.q<u4, g32, f16+f16>>) -> tensor<1x48xf32>
    attributes {anchor = "linear", max_tokens = 1 : i64} {
  %0 = lm.linear %a, %w : tensor<1x32xf32>, tensor<48x32x!lm.q<u4, g32, f16+f16>> -> tensor<1x48xf32>
  kernel.return %0 : tensor<1x48xf32>
}
kernel.func @norm(%a: tensor<1x32xf32>, %g: tensor<32xf32>) -> tensor<1x32xf32>
    attributes {anchor = "rms_norm", max_tokens = 1 : i64} {
  %0 = lm.rms_norm %a, %g eps 1.0e-5 : tensor<1x32xf32>, tensor<32xf32>
  kernel.return %0 : tensor<1x32xf32>
}
func.func @decode(%x: tensor<1x32xf32>) -> tensor<1x32xf32> {
  %w = lm.ref @w : tensor<48x32x!lm.q<u4, g32, f16+f16>>
  %g = lm.ref @gain : tensor<32xf32>
  %0 = kernel.launch @linear(%x, %w) : (tensor<1x32xf32>, tensor<48x32x!lm.q<u4, g32, f16+f16>>) -> tensor<1x48xf32>
  %1 = kernel.launch @norm(%x, %g) : (tensor<1x32xf32>, tensor<32xf32>) -> tensor<1x32xf32>
  return %1 : tensor<1x32xf32>
}
