// RUN: %ingot-opt %s --kernel-plan-memory | %FileCheck %s

// The cache comes first; %a and %c are never alive together and share a place, %b has its own; the
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
