// RUN: %ingot-opt %s --kernel-outline | %FileCheck %s

// Two launches of equal regions share a kernel; another token count makes another.
// CHECK: kernel.func @linear_16x32_f16_add_t1(
// CHECK-SAME: max_tokens = 1
// CHECK-NEXT: lm.linear
// CHECK-NEXT: lm.add
// CHECK-NEXT: kernel.return
// CHECK: kernel.func @linear_16x32_f16_t24(
// CHECK-SAME: max_tokens = 24
// CHECK: kernel.func @attention_32_t1(%{{.*}}: tensor<1x32xf32>
// CHECK-NOT: kernel.func @attention
// CHECK: kernel.func @linear_16x32_f16_t4(
// CHECK-SAME: max_tokens = 4
// CHECK-NOT: kernel.func

lm.kv_cache @kv.0 : !lm.cache<32x1x32xf16>

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

// A batch step runs what depends on a position or a cache for each sequence, with decode's kernel; its
// linear layers have kernels of their own.
// CHECK-LABEL: func.func @decode_one
func.func @decode_one(%x: tensor<1x32xf32>, %p: i32) -> tensor<1x32xf32> attributes {max_tokens = 1 : i64} {
  // CHECK: kernel.launch @attention_32_t1(%{{.*}}, %{{.*}}, %{{.*}}) :
  %kv = lm.ref @kv.0 : !lm.cache<32x1x32xf16>
  %0 = lm.fused attention (%q = %x, %c = %kv, %i = %p) : (tensor<1x32xf32>, !lm.cache<32x1x32xf16>, i32) -> (tensor<1x32xf32>) {
    %y = lm.attention %q over %c at %i scale 1.0 : tensor<1x32xf32>, !lm.cache<32x1x32xf16>
    lm.yield %y : tensor<1x32xf32>
  }
  return %0 : tensor<1x32xf32>
}
// CHECK-LABEL: func.func @decode4
func.func @decode4(%x: tensor<?x32xf32>, %p: i32, %a: tensor<16x32xf16>) -> tensor<?x16xf32> attributes {batch, max_tokens = 4 : i64} {
  // CHECK: %[[Y:.*]] = kernel.launch @attention_32_t1(%{{.*}}, %{{.*}}, %{{.*}}) per_sequence : {{.*}} -> tensor<?x32xf32>
  %kv = lm.ref @kv.0 : !lm.cache<32x1x32xf16>
  %0 = lm.fused attention (%q = %x, %c = %kv, %i = %p) : (tensor<?x32xf32>, !lm.cache<32x1x32xf16>, i32) -> (tensor<?x32xf32>) {
    %y = lm.attention %q over %c at %i scale 1.0 : tensor<?x32xf32>, !lm.cache<32x1x32xf16>
    lm.yield %y : tensor<?x32xf32>
  }
  // CHECK: kernel.launch @linear_16x32_f16_t4(%[[Y]], %{{.*}}) :
  %1 = lm.fused linear (%i = %0, %w = %a) : (tensor<?x32xf32>, tensor<16x32xf16>) -> (tensor<?x16xf32>) {
    %y = lm.linear %i, %w : tensor<?x32xf32>, tensor<16x32xf16> -> tensor<?x16xf32>
    lm.yield %y : tensor<?x16xf32>
  }
  return %1 : tensor<?x16xf32>
}
