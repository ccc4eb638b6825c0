// RUN: %ingot-opt %s --lm-legalize-encodings=target=x86-64-v3 | %FileCheck %s
// RUN: %not %ingot-opt %s --lm-legalize-encodings=target=pdp11 2>&1 | %FileCheck %s --check-prefix=BAD

// Two-level scales become f32 scales: the same values, bit for bit.
// CHECK: lm.weight @k : tensor<1x256x!lm.q<u4, g32, f32+f32>> = [dense_resource<k> : tensor<1x256x!lm.q<u4, g32, f16*u6+f16*u6>>]
// What kernels read stays as it is.
// CHECK: lm.weight @q : tensor<1x256x!lm.q<u4, g32, f16+f16>>
// BAD: pdp11
lm.weight @k : tensor<1x256x!lm.q<u4, g32, f16*u6+f16*u6>> = [dense_resource<k> : tensor<1x256x!lm.q<u4, g32, f16*u6+f16*u6>>]
lm.weight @q : tensor<1x256x!lm.q<u4, g32, f16+f16>> = [dense_resource<q> : tensor<1x256x!lm.q<u4, g32, f16+f16>>]

func.func @forward(%x: tensor<?x256xf32>) -> tensor<?x1xf32> {
  %k = lm.ref @k : tensor<1x256x!lm.q<u4, g32, f16*u6+f16*u6>>
  // CHECK: lm.linear {{.*}} tensor<1x256x!lm.q<u4, g32, f32+f32>>
  %y = lm.linear %x, %k : tensor<?x256xf32>, tensor<1x256x!lm.q<u4, g32, f16*u6+f16*u6>> -> tensor<?x1xf32>
  %q = lm.ref @q : tensor<1x256x!lm.q<u4, g32, f16+f16>>
  %z = lm.linear %x, %q : tensor<?x256xf32>, tensor<1x256x!lm.q<u4, g32, f16+f16>> -> tensor<?x1xf32>
  %s = lm.add %y, %z : tensor<?x1xf32>
  return %s : tensor<?x1xf32>
}
