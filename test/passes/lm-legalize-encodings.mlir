// RUN: %ingot-opt %s --lm-legalize-encodings=target=x86-64-v3 | %FileCheck %s
// RUN: %ingot-opt %s --lm-legalize-encodings=target=vulkan | %FileCheck %s
// RUN: %ingot-opt %s --lm-legalize-encodings=target=vulkan+x86-64-v3 | %FileCheck %s
// RUN: %ingot-opt %s --lm-legalize-encodings=target=hexagon-v68 | %FileCheck %s
// RUN: %not %ingot-opt %s --lm-legalize-encodings=target=pdp11 2>&1 | %FileCheck %s --check-prefix=BAD

// What kernels read stays as it is: all that files have.
// CHECK: lm.weight @k : tensor<1x256x!lm.q<u4, g32, f16*u6+f16*u6>>
// CHECK: lm.weight @five : tensor<1x256x!lm.q<i5, g32, f16>>
// CHECK: lm.weight @six : tensor<1x256x!lm.q<i6, g16, f16*i8>>
// CHECK: lm.weight @q : tensor<1x256x!lm.q<u4, g32, f16+f16>>
// CHECK: lm.weight @n : tensor<1x256x!lm.q<iq4_nl, g32, f16>>
// CHECK: lm.weight @m : tensor<1x256x!lm.q<e2m1, g32, e8m0>>
// A layout has one type of scales and minima, f16 or f32: f32 holds the same values.
// CHECK: lm.weight @mixed : tensor<1x256x!lm.q<u4, g32, f32+f32>> = [dense_resource<mixed> : tensor<1x256x!lm.q<u4, g32, f16+f32>>]
// BAD: pdp11
lm.weight @k : tensor<1x256x!lm.q<u4, g32, f16*u6+f16*u6>> = [dense_resource<k> : tensor<1x256x!lm.q<u4, g32, f16*u6+f16*u6>>]
lm.weight @five : tensor<1x256x!lm.q<i5, g32, f16>> = [dense_resource<five> : tensor<1x256x!lm.q<i5, g32, f16>>]
lm.weight @six : tensor<1x256x!lm.q<i6, g16, f16*i8>> = [dense_resource<six> : tensor<1x256x!lm.q<i6, g16, f16*i8>>]
lm.weight @q : tensor<1x256x!lm.q<u4, g32, f16+f16>> = [dense_resource<q> : tensor<1x256x!lm.q<u4, g32, f16+f16>>]
lm.weight @n : tensor<1x256x!lm.q<iq4_nl, g32, f16>> = [dense_resource<n> : tensor<1x256x!lm.q<iq4_nl, g32, f16>>]
lm.weight @m : tensor<1x256x!lm.q<e2m1, g32, e8m0>> = [dense_resource<m> : tensor<1x256x!lm.q<e2m1, g32, e8m0>>]
lm.weight @mixed : tensor<1x256x!lm.q<u4, g32, f16+f32>> = [dense_resource<mixed> : tensor<1x256x!lm.q<u4, g32, f16+f32>>]

func.func @forward(%x: tensor<?x256xf32>) -> tensor<?x1xf32> {
  %k = lm.ref @k : tensor<1x256x!lm.q<u4, g32, f16*u6+f16*u6>>
  // CHECK: lm.linear {{.*}} tensor<1x256x!lm.q<u4, g32, f16*u6+f16*u6>>
  %y = lm.linear %x, %k : tensor<?x256xf32>, tensor<1x256x!lm.q<u4, g32, f16*u6+f16*u6>> -> tensor<?x1xf32>
  %five = lm.ref @five : tensor<1x256x!lm.q<i5, g32, f16>>
  %f = lm.linear %x, %five : tensor<?x256xf32>, tensor<1x256x!lm.q<i5, g32, f16>> -> tensor<?x1xf32>
  %six = lm.ref @six : tensor<1x256x!lm.q<i6, g16, f16*i8>>
  %x6 = lm.linear %x, %six : tensor<?x256xf32>, tensor<1x256x!lm.q<i6, g16, f16*i8>> -> tensor<?x1xf32>
  %q = lm.ref @q : tensor<1x256x!lm.q<u4, g32, f16+f16>>
  %z = lm.linear %x, %q : tensor<?x256xf32>, tensor<1x256x!lm.q<u4, g32, f16+f16>> -> tensor<?x1xf32>
  %mixed = lm.ref @mixed : tensor<1x256x!lm.q<u4, g32, f16+f32>>
  // CHECK: lm.linear {{.*}} tensor<1x256x!lm.q<u4, g32, f32+f32>>
  %w = lm.linear %x, %mixed : tensor<?x256xf32>, tensor<1x256x!lm.q<u4, g32, f16+f32>> -> tensor<?x1xf32>
  %s = lm.add %y, %z : tensor<?x1xf32>
  %s2 = lm.add %s, %f : tensor<?x1xf32>
  %s3 = lm.add %s2, %x6 : tensor<?x1xf32>
  %s4 = lm.add %s3, %w : tensor<?x1xf32>
  return %s4 : tensor<?x1xf32>
}
