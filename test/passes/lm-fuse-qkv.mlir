// RUN: %ingot-opt %s --lm-fuse-qkv | %FileCheck %s

// CHECK: lm.weight @attn_q_attn_k : tensor<48x32xf16> = [dense<1.{{.*}}> : tensor<32x32xf16>, dense<2.{{.*}}> : tensor<16x32xf16>]
// Another number format stays apart.
// CHECK: lm.weight @attn_v.weight : tensor<16x32xf32>
lm.weight @attn_q.weight : tensor<32x32xf16> = [dense<1.0> : tensor<32x32xf16>]
lm.weight @attn_k.weight : tensor<16x32xf16> = [dense<2.0> : tensor<16x32xf16>]
lm.weight @attn_v.weight : tensor<16x32xf32> = [dense<3.0> : tensor<16x32xf32>]

// CHECK-LABEL: func.func @forward
func.func @forward(%x: tensor<?x32xf32>) -> (tensor<?x32xf32>, tensor<?x16xf32>, tensor<?x16xf32>) {
  // CHECK: %[[W:.*]] = lm.ref @attn_q_attn_k
  // CHECK: %[[QK:.*]] = lm.linear %{{.*}}, %[[W]] {{.*}} -> tensor<?x48xf32>
  // CHECK: %[[Q:.*]] = lm.slice %[[QK]] from 0
  // CHECK: %[[K:.*]] = lm.slice %[[QK]] from 32
  // CHECK: %[[V:.*]] = lm.linear
  // CHECK: return %[[Q]], %[[K]], %[[V]]
  %wq = lm.ref @attn_q.weight : tensor<32x32xf16>
  %q = lm.linear %x, %wq : tensor<?x32xf32>, tensor<32x32xf16> -> tensor<?x32xf32>
  %wk = lm.ref @attn_k.weight : tensor<16x32xf16>
  %k = lm.linear %x, %wk : tensor<?x32xf32>, tensor<16x32xf16> -> tensor<?x16xf32>
  %wv = lm.ref @attn_v.weight : tensor<16x32xf32>
  %v = lm.linear %x, %wv : tensor<?x32xf32>, tensor<16x32xf32> -> tensor<?x16xf32>
  return %q, %k, %v : tensor<?x32xf32>, tensor<?x16xf32>, tensor<?x16xf32>
}
