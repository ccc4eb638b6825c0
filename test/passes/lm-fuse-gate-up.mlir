// RUN: %ingot-opt %s --lm-fuse-gate-up=block=8 | %FileCheck %s
// RUN: %ingot-opt %s --lm-fuse-gate-up=block=16 | %FileCheck %s --check-prefix=ODD

// CHECK: lm.weight @ffn_gate_ffn_up : tensor<48x32xf16> = interleave 8 [
// 24 rows are not whole blocks of 16.
// ODD-NOT: interleave
lm.weight @ffn_gate.weight : tensor<24x32xf16> = [dense<1.0> : tensor<24x32xf16>]
lm.weight @ffn_up.weight : tensor<24x32xf16> = [dense<2.0> : tensor<24x32xf16>]

// CHECK-LABEL: func.func @forward
func.func @forward(%x: tensor<?x32xf32>) -> tensor<?x24xf32> {
  // CHECK: %[[GU:.*]] = lm.linear {{.*}} -> tensor<?x48xf32>
  // CHECK: %[[G:.*]], %[[U:.*]] = lm.split %[[GU]] blocks 8
  // CHECK: lm.silu_mul %[[G]], %[[U]]
  %wu = lm.ref @ffn_up.weight : tensor<24x32xf16>
  %u = lm.linear %x, %wu : tensor<?x32xf32>, tensor<24x32xf16> -> tensor<?x24xf32>
  %wg = lm.ref @ffn_gate.weight : tensor<24x32xf16>
  %g = lm.linear %x, %wg : tensor<?x32xf32>, tensor<24x32xf16> -> tensor<?x24xf32>
  %y = lm.silu_mul %g, %u : tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}
