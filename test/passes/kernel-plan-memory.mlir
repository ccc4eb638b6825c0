// RUN: %ingot-opt %s --kernel-plan-memory | %FileCheck %s

// The cache has memory apart; %a and %c are never alive together and share a place, %b has its own; the
// step's result leaves it.
// CHECK: module attributes {ingot.arena_bytes = {{[0-9]+}} : i64, ingot.cache_bytes = [[CACHE:[0-9]+]] : i64}
// CHECK: lm.kv_cache @kv.0 : !lm.cache<32x1x32xf16> at 0
lm.kv_cache @kv.0 : !lm.cache<32x1x32xf16>

kernel.func @attention(%q: tensor<1x32xf32>, %kv: !lm.cache<32x1x32xf16>, %p: i32) -> tensor<1x32xf32>
    attributes {anchor = "attention", max_tokens = 1 : i64} {
  %0 = lm.attention %q over %kv at %p scale 1.0 : tensor<1x32xf32>, !lm.cache<32x1x32xf16>
  kernel.return %0 : tensor<1x32xf32>
}
kernel.func @add(%x: tensor<1x32xf32>, %y: tensor<1x32xf32>) -> tensor<1x32xf32>
    attributes {anchor = "add", max_tokens = 1 : i64} {
  %0 = lm.add %x, %y : tensor<1x32xf32>
  kernel.return %0 : tensor<1x32xf32>
}
func.func @decode(%x: tensor<1x32xf32>, %p: i32) -> tensor<1x32xf32> {
  %kv = lm.ref @kv.0 : !lm.cache<32x1x32xf16>
  // CHECK: kernel.launch @attention(%arg0, %{{.*}}, %arg1) at {{\[}}[[A:[0-9]+]]]
  %a = kernel.launch @attention(%x, %kv, %p) : (tensor<1x32xf32>, !lm.cache<32x1x32xf16>, i32) -> tensor<1x32xf32>
  // CHECK-NOT: at {{\[}}[[A]]]
  // CHECK: kernel.launch @add
  %b = kernel.launch @add(%a, %a) : (tensor<1x32xf32>, tensor<1x32xf32>) -> tensor<1x32xf32>
  // CHECK: kernel.launch @add(%{{.*}}) at {{\[}}[[A]]]
  %c = kernel.launch @add(%b, %b) : (tensor<1x32xf32>, tensor<1x32xf32>) -> tensor<1x32xf32>
  // CHECK: kernel.launch @add(%{{.*}}) at [-1]
  %d = kernel.launch @add(%c, %b) : (tensor<1x32xf32>, tensor<1x32xf32>) -> tensor<1x32xf32>
  return %d : tensor<1x32xf32>
}

// The rows of all tokens (4, padded to 24) of what runs once a sequence: %a of 24 * 128 bytes lies
// behind %x's place only if that is as large.
// CHECK-LABEL: func.func @decode4
func.func @decode4(%p: i32, %t: tensor<?xi32>) -> tensor<?x32xf32> attributes {batch, max_tokens = 4 : i64} {
  %kv = lm.ref @kv.0 : !lm.cache<32x1x32xf16>
  // CHECK: kernel.launch @angles(%{{.*}}) per_sequence at [0]
  %x = kernel.launch @angles(%t, %p) per_sequence at [0] : (tensor<?xi32>, i32) -> tensor<?x32xf32>
  // CHECK: kernel.launch @attention(%{{.*}}) per_sequence at [3072]
  %a = kernel.launch @attention(%x, %kv, %p) per_sequence : (tensor<?x32xf32>, !lm.cache<32x1x32xf16>, i32) -> tensor<?x32xf32>
  // CHECK: kernel.launch @add(%{{.*}}) per_sequence at [-1]
  %b = kernel.launch @add(%a, %a) per_sequence : (tensor<?x32xf32>, tensor<?x32xf32>) -> tensor<?x32xf32>
  return %b : tensor<?x32xf32>
}
kernel.func @angles(%t: tensor<1xi32>, %p: i32) -> tensor<1x32xf32>
    attributes {anchor = "rope_angles", max_tokens = 1 : i64} {
  %0 = lm.rope_angles %t at %p theta 1.0e+05 : tensor<1xi32> -> tensor<1x32xf32>
  kernel.return %0 : tensor<1x32xf32>
}
