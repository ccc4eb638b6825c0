// RUN: %ingot-opt %s | %ingot-opt | %FileCheck %s

// CHECK: kernel.func @add_t1(%{{.*}}: tensor<1x8xf32>, %{{.*}}: tensor<1x8xf32>) -> tensor<1x8xf32>
// CHECK-SAME: anchor = "add", max_tokens = 1 : i64, tile = #kernel.tile<tokens = 1, streams = 2, keys = 0>
kernel.func @add_t1(%a: tensor<1x8xf32>, %b: tensor<1x8xf32>) -> tensor<1x8xf32>
    attributes {anchor = "add", max_tokens = 1 : i64, tile = #kernel.tile<tokens = 1, streams = 2, keys = 0>} {
  %0 = lm.add %a, %b : tensor<1x8xf32>
  // CHECK: kernel.return %{{.*}} : tensor<1x8xf32>
  kernel.return %0 : tensor<1x8xf32>
}

// CHECK-LABEL: func.func @step
func.func @step(%x: tensor<1x8xf32>) -> tensor<1x8xf32> {
  // CHECK: kernel.launch @add_t1(%{{.*}}, %{{.*}}) at [128] : (tensor<1x8xf32>, tensor<1x8xf32>) -> tensor<1x8xf32>
  %0 = kernel.launch @add_t1(%x, %x) at [128] : (tensor<1x8xf32>, tensor<1x8xf32>) -> tensor<1x8xf32>
  // CHECK: kernel.barrier
  kernel.barrier
  return %0 : tensor<1x8xf32>
}

// CHECK-LABEL: func.func @batch
func.func @batch(%x: tensor<?x8xf32>) -> tensor<?x8xf32> attributes {batch, max_tokens = 4 : i64} {
  // CHECK: kernel.launch @add_t1(%{{.*}}, %{{.*}}) per_sequence at [128] : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %0 = kernel.launch @add_t1(%x, %x) per_sequence at [128] : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  return %0 : tensor<?x8xf32>
}
