// RUN: %ingot-opt %s --lm-quantize-activations | %FileCheck %s
// RUN: %ingot-opt %s --lm-quantize-activations=bits=16 | %FileCheck %s --check-prefix WIDE
// WIDE: lm.quantize %{{.*}} -> tensor<?x96x!lm.q<i16, g32, f32>>
// WIDE: lm.quantize %{{.*}} -> tensor<?x96x!lm.q<i16, g16, f32>>
// RUN: %ingot-opt %s "--lm-quantize-activations=bits=16 halves" | %FileCheck %s --check-prefix HALVES
// HALVES: lm.quantize %{{.*}} -> tensor<?x96x!lm.q<f16, g32, f32>>
// HALVES: lm.quantize %{{.*}} -> tensor<?x96x!lm.q<f16, g16, f32>>
// HALVES: lm.linear %arg0, %{{.*}} tensor<8x96xf16>
// RUN: %ingot-opt %s "--lm-quantize-activations=bits=16 halves half-weights" | %FileCheck %s --check-prefix BOTH
// BOTH: %[[X:.*]] = lm.quantize %{{.*}} -> tensor<?x96x!lm.q<f16, g32, f32>>
// BOTH: lm.linear %[[X]], %{{.*}} tensor<8x96xf16>
// BOTH: lm.linear %arg0, %{{.*}} tensor<8x96xbf16>

// CHECK-LABEL: func.func @forward
func.func @forward(%x: tensor<?x96xf32>, %a: tensor<8x96x!lm.q<u4, g32, f16+f16>>,
                   %b: tensor<8x96x!lm.q<i8, row, f32>>, %c: tensor<8x96x!lm.q<i6, g16, f32>>,
                   %f: tensor<8x96xf16>, %h: tensor<8x96xbf16>) {
  // Two layers of one input share its codes; the group of 32 suits a whole-row scale, too.
  // CHECK: %[[Q:.*]] = lm.quantize %{{.*}} -> tensor<?x96x!lm.q<i8, g32, f32>>
  // CHECK: lm.linear %[[Q]]
  %0 = lm.linear %x, %a : tensor<?x96xf32>, tensor<8x96x!lm.q<u4, g32, f16+f16>> -> tensor<?x8xf32>
  // CHECK-NOT: lm.quantize
  // CHECK: lm.linear %[[Q]]
  %1 = lm.linear %x, %b : tensor<?x96xf32>, tensor<8x96x!lm.q<i8, row, f32>> -> tensor<?x8xf32>
  // Groups of 16 need activations in groups of 16.
  // CHECK: lm.quantize %{{.*}} -> tensor<?x96x!lm.q<i8, g16, f32>>
  %2 = lm.linear %x, %c : tensor<?x96xf32>, tensor<8x96x!lm.q<i6, g16, f32>> -> tensor<?x8xf32>
  // Float weights take floats.
  // CHECK: lm.linear %arg0,
  %3 = lm.linear %x, %f : tensor<?x96xf32>, tensor<8x96xf16> -> tensor<?x8xf32>
  %4 = lm.linear %x, %h : tensor<?x96xf32>, tensor<8x96xbf16> -> tensor<?x8xf32>
  return
}
