// RUN: %ingot-opt %s --kernel-insert-barriers | %FileCheck %s
// RUN: %ingot-opt %s --kernel-insert-barriers --mlir-print-ir-after-all -o /dev/null 2>&1 | %FileCheck %s --check-prefix=PRINT
// PRINT: IR Dump After KernelInsertBarriers

kernel.func @add(%x: tensor<1x32xf32>, %y: tensor<1x32xf32>) -> tensor<1x32xf32>
    attributes {anchor = "add", max_tokens = 1 : i64} {
  %0 = lm.add %x, %y : tensor<1x32xf32>
  kernel.return %0 : tensor<1x32xf32>
}
kernel.func @embed(%t: tensor<1xi32>, %w: tensor<64x32xf16> {kernel.layout = #kernel.layout<rows = 16, k_inner = 1, bits = 16, scale = none>}) -> tensor<1x32xf32>
    attributes {anchor = "embedding", max_tokens = 1 : i64} {
  %0 = lm.embedding %t, %w : tensor<1xi32>, tensor<64x32xf16> -> tensor<1x32xf32>
  kernel.return %0 : tensor<1x32xf32>
}
lm.weight @w : tensor<64x32xf16> = [dense<0.0> : tensor<64x32xf16>] at 0

// CHECK-LABEL: func.func @decode
func.func @decode(%t: tensor<1xi32>) -> tensor<1x32xf32> {
  %w = lm.ref @w : tensor<64x32xf16>
  // Nothing between launches that share only what they read.
  // CHECK: kernel.launch @embed
  // CHECK-NEXT: kernel.launch @embed
  %a = kernel.launch @embed(%t, %w) at [0] : (tensor<1xi32>, tensor<64x32xf16>) -> tensor<1x32xf32>
  %b = kernel.launch @embed(%t, %w) at [128] : (tensor<1xi32>, tensor<64x32xf16>) -> tensor<1x32xf32>
  // Reading what was written.
  // CHECK-NEXT: kernel.barrier
  // CHECK-NEXT: kernel.launch @add
  %c = kernel.launch @add(%a, %b) at [256] : (tensor<1x32xf32>, tensor<1x32xf32>) -> tensor<1x32xf32>
  // Overwriting what another launch may still read.
  // CHECK-NEXT: kernel.barrier
  // CHECK-NEXT: kernel.launch @embed
  %d = kernel.launch @embed(%t, %w) at [0] : (tensor<1xi32>, tensor<64x32xf16>) -> tensor<1x32xf32>
  // CHECK-NEXT: kernel.barrier
  // CHECK-NEXT: kernel.launch @add
  %e = kernel.launch @add(%c, %d) at [-1] : (tensor<1x32xf32>, tensor<1x32xf32>) -> tensor<1x32xf32>
  return %e : tensor<1x32xf32>
}
