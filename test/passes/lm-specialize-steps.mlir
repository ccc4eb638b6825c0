// RUN: %ingot-opt %s --lm-specialize-steps="prefill=24 score=8 batch=4,7" | %FileCheck %s
// RUN: echo "module {}" | %not %ingot-opt --lm-specialize-steps 2>&1 | %FileCheck %s --check-prefix=BAD
// BAD: expected a function @forward

lm.weight @gain : tensor<32xf32> = [dense<1.0> : tensor<32xf32>]
lm.weight @out : tensor<64x32xf16> = [dense<1.0> : tensor<64x32xf16>]

// CHECK-LABEL: func.func @decode(%{{.*}}: tensor<1xi32>, %{{.*}}: i32) -> tensor<1x64xf32>
// CHECK-SAME: max_tokens = 1
// CHECK: lm.rms_norm {{.*}} tensor<1x32xf32>

// In prefill the last row is taken before the norm.
// CHECK-LABEL: func.func @prefill(%{{.*}}: tensor<?xi32>, %{{.*}}: i32) -> tensor<1x64xf32>
// CHECK-SAME: max_tokens = 24
// CHECK: lm.embedding {{.*}} -> tensor<?x32xf32>
// CHECK: %[[LAST:.*]] = lm.last_token %{{.*}} : tensor<?x32xf32> -> tensor<1x32xf32>
// CHECK: lm.rms_norm %[[LAST]]
// CHECK: lm.logits {{.*}} -> tensor<1x64xf32>

// CHECK-LABEL: func.func @score(%{{.*}}: tensor<?xi32>, %{{.*}}: i32) -> tensor<?x64xf32>
// CHECK-SAME: max_tokens = 8
// CHECK-NOT: lm.last_token

// A batch step has the logits of every token.
// CHECK-LABEL: func.func @decode4(%{{.*}}: tensor<?xi32>, %{{.*}}: i32) -> tensor<?x64xf32>
// CHECK-SAME: {batch, max_tokens = 4 : i64}
// CHECK-NOT: lm.last_token
// CHECK-LABEL: func.func @decode7(%{{.*}}: tensor<?xi32>, %{{.*}}: i32) -> tensor<?x64xf32>
// CHECK-SAME: {batch, max_tokens = 7 : i64}
// CHECK-NOT: lm.last_token
func.func @forward(%tokens: tensor<?xi32>, %position: i32) -> tensor<?x64xf32> {
  %out = lm.ref @out : tensor<64x32xf16>
  %x = lm.embedding %tokens, %out : tensor<?xi32>, tensor<64x32xf16> -> tensor<?x32xf32>
  %g = lm.ref @gain : tensor<32xf32>
  %n = lm.rms_norm %x, %g eps 1.0e-5 : tensor<?x32xf32>, tensor<32xf32>
  %l = lm.logits %n, %out : tensor<?x32xf32>, tensor<64x32xf16> -> tensor<?x64xf32>
  return %l : tensor<?x64xf32>
}
