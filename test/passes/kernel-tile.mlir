// RUN: %ingot-opt %s --kernel-tile=target=x86-64-v3 | %FileCheck %s

// A kernel gets a tile, and its matrix the layout that the target packs that format in.
// CHECK: kernel.func @linear_t24(%{{.*}}: tensor<?x32x!lm.q<i8, g32, f32>>, %{{.*}}: tensor<48x32x!lm.q<u4, g32, f16+f16>> {kernel.layout = #kernel.layout<rows = 16, k_inner = {{2|4}}, bits = 4, scale = f16>})
// CHECK-SAME: tile = #kernel.tile<tokens = {{[1-9]}}
kernel.func @linear_t24(%a: tensor<?x32x!lm.q<i8, g32, f32>>, %w: tensor<48x32x!lm.q<u4, g32, f16+f16>>) -> tensor<?x48xf32>
    attributes {anchor = "linear", max_tokens = 24 : i64} {
  %0 = lm.linear %a, %w : tensor<?x32x!lm.q<i8, g32, f32>>, tensor<48x32x!lm.q<u4, g32, f16+f16>> -> tensor<?x48xf32>
  kernel.return %0 : tensor<?x48xf32>
}
