// RUN: %ingot-opt %s --kernel-outline | %FileCheck %s

// Two launches of equal regions share a kernel; another token count makes another.
// CHECK: kernel.func @linear_16x32_f16_add_t1(
// CHECK-SAME: max_tokens = 1
// CHECK-NEXT: lm.linear
// CHECK-NEXT: lm.add
// CHECK-NEXT: kernel.return
// CHECK: kernel.func @linear_16x32_f16_t24(
// CHECK-SAME: max_tokens = 24
// CHECK-NOT: kernel.func

// CHECK-LABEL: func.func @decode
func.func @decode(%x: tensor<1x32xf32>, %r: tensor<1x16xf32>, %a: tensor<16x32xf16>,
                  %b: tensor<16x32xf16>) -> tensor<1x16xf32> attributes {max_tokens = 1 : i64} {
  // CHECK: %[[Y:.*]] = kernel.launch @linear_16x32_f16_add_t1(%arg0, %arg2, %arg1)
  %0 = lm.fused linear (%i = %x, %w = %a, %j = %r) : (tensor<1x32xf32>, tensor<16x32xf16>, tensor<1x16xf32>) -> (tensor<1x16xf32>) {
    %y = lm.linear %i, %w : tensor<1x32xf32>, tensor<16x32xf16> -> tensor<1x16xf32>
    %z = lm.add %y, %j : tensor<1x16xf32>
    lm.yield %z : tensor<1x16xf32>
  }
  // CHECK: kernel.launch @linear_16x32_f16_add_t1(%arg0, %arg3, %[[Y]])
  %1 = lm.fused linear (%i = %x, %w = %b, %j = %0) : (tensor<1x32xf32>, tensor<16x32xf16>, tensor<1x16xf32>) -> (tensor<1x16xf32>) {
    %y = lm.linear %i, %w : tensor<1x32xf32>, tensor<16x32xf16> -> tensor<1x16xf32>
    %z = lm.add %y, %j : tensor<1x16xf32>
    lm.yield %z : tensor<1x16xf32>
  }
  return %1 : tensor<1x16xf32>
}

// CHECK-LABEL: func.func @prefill
func.func @prefill(%x: tensor<?x32xf32>, %a: tensor<16x32xf16>) -> tensor<?x16xf32> attributes {max_tokens = 24 : i64} {
  // CHECK: kernel.launch @linear_16x32_f16_t24
  %0 = lm.fused linear (%i = %x, %w = %a) : (tensor<?x32xf32>, tensor<16x32xf16>) -> (tensor<?x16xf32>) {
    %y = lm.linear %i, %w : tensor<?x32xf32>, tensor<16x32xf16> -> tensor<?x16xf32>
    lm.yield %y : tensor<?x16xf32>
  }
  return %0 : tensor<?x16xf32>
}
