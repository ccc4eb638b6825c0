// RUN: %ingot-opt %s --lm-quantize-weights=spec=int8:g32 --lm-fold-norm-gain | %FileCheck %s
// RUN: %ingot-opt %s --lm-fold-norm-gain | %FileCheck %s --check-prefix=STORED

// CHECK-DAG: lm.weight @a : tensor<32x32x!lm.q<i8, g32, f16>> = [{{.*}}] scaled_by dense_resource<gain> : tensor<32xf32>
// CHECK-DAG: lm.weight @ones.32 : tensor<32xf32> = [dense<1.000000e+00> : tensor<32xf32>]
// CHECK-NOT: lm.weight @gain
// CHECK: %[[ONES:.*]] = lm.ref @ones.32
// CHECK: lm.rms_norm %{{.*}}, %[[ONES]]
// A weight that is not rounded anyway is left alone.
// STORED-NOT: scaled_by
// STORED: lm.ref @gain
lm.weight @a : tensor<32x32xf32> = [dense<1.0> : tensor<32x32xf32>]
lm.weight @gain : tensor<32xf32> = [dense_resource<gain> : tensor<32xf32>]

func.func @forward(%x: tensor<?x32xf32>) -> tensor<?x32xf32> {
  %g = lm.ref @gain : tensor<32xf32>
  %n = lm.rms_norm %x, %g eps 1.0e-5 : tensor<?x32xf32>, tensor<32xf32>
  %a = lm.ref @a : tensor<32x32xf32>
  %y = lm.linear %n, %a : tensor<?x32xf32>, tensor<32x32xf32> -> tensor<?x32xf32>
  return %y : tensor<?x32xf32>
}
