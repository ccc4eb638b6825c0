// RUN: %ingot-opt %s --lm-quantize-weights=spec=int4:g32 | %FileCheck %s
// RUN: %ingot-opt %s --lm-quantize-weights="spec=uint4:g32 output=f16" | %FileCheck %s --check-prefix=OUTPUT
// RUN: %not %ingot-opt %s --lm-quantize-weights=spec=int4:g7 2>&1 | %FileCheck %s --check-prefix=BAD
// RUN: %not %ingot-opt %s --lm-quantize-weights=spec=int4:g64 2>&1 | %FileCheck %s --check-prefix=ODD

// The output layer keeps 8 bits unless told otherwise; a norm's gain is not touched.
// CHECK: lm.weight @w : tensor<32x96x!lm.q<i4, g32, f16>> = [dense<{{.*}}> : tensor<32x96xf32>]
// CHECK: lm.weight @out : tensor<64x96x!lm.q<i8, g32, f16>>
// CHECK: lm.weight @gain : tensor<96xf32>
// CHECK: lm.linear {{.*}} tensor<32x96x!lm.q<i4, g32, f16>>
// OUTPUT: lm.weight @w : tensor<32x96x!lm.q<u4, g32, f16+f16>>
// OUTPUT: lm.weight @out : tensor<64x96xf16>
// BAD: int4:g7
// ODD: a row of 96 elements is not whole groups of i4, g64, f16
lm.weight @w : tensor<32x96xf32> = [dense<1.0> : tensor<32x96xf32>]
lm.weight @out : tensor<64x96xf32> = [dense<1.0> : tensor<64x96xf32>]
lm.weight @gain : tensor<96xf32> = [dense<1.0> : tensor<96xf32>]

func.func @forward(%x: tensor<?x96xf32>) -> (tensor<?x32xf32>, tensor<?x64xf32>) {
  %g = lm.ref @gain : tensor<96xf32>
  %n = lm.rms_norm %x, %g eps 1.0e-5 : tensor<?x96xf32>, tensor<96xf32>
  %w = lm.ref @w : tensor<32x96xf32>
  %y = lm.linear %n, %w : tensor<?x96xf32>, tensor<32x96xf32> -> tensor<?x32xf32>
  %o = lm.ref @out : tensor<64x96xf32>
  %l = lm.logits %n, %o : tensor<?x96xf32>, tensor<64x96xf32> -> tensor<?x64xf32>
  return %y, %l : tensor<?x32xf32>, tensor<?x64xf32>
}
