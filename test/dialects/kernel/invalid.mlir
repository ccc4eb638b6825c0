// RUN: %ingot-opt %s -split-input-file -verify-diagnostics

// expected-error@+1 {{(c1) anchor 'linear' is not in the body}}
kernel.func @f(%a: tensor<1x8xf32>) -> tensor<1x8xf32> attributes {anchor = "linear", max_tokens = 1 : i64} {
  %0 = lm.add %a, %a : tensor<1x8xf32>
  kernel.return %0 : tensor<1x8xf32>
}

// -----

kernel.func @f(%a: tensor<1x8xf32>) -> tensor<1x9xf32> attributes {anchor = "add", max_tokens = 1 : i64} {
  %0 = lm.add %a, %a : tensor<1x8xf32>
  // expected-error@+1 {{(c1) operands are}}
  kernel.return %0 : tensor<1x8xf32>
}

// -----

func.func @step(%x: tensor<1x8xf32>) {
  // expected-error@+1 {{(c1) 'f' is not a kernel.func}}
  %0 = kernel.launch @f(%x) : (tensor<1x8xf32>) -> tensor<1x8xf32>
  return
}

// -----

kernel.func @f(%a: tensor<1x8xf32>) -> tensor<1x8xf32> attributes {anchor = "add", max_tokens = 1 : i64} {
  %0 = lm.add %a, %a : tensor<1x8xf32>
  kernel.return %0 : tensor<1x8xf32>
}
func.func @step(%x: tensor<1x9xf32>) {
  // expected-error@+1 {{(c1) operand or result types differ from 'f'}}
  %0 = kernel.launch @f(%x) : (tensor<1x9xf32>) -> tensor<1x8xf32>
  return
}

// -----

kernel.func @f(%a: tensor<1x8xf32>) -> tensor<1x8xf32> attributes {anchor = "add", max_tokens = 1 : i64} {
  %0 = lm.add %a, %a : tensor<1x8xf32>
  kernel.return %0 : tensor<1x8xf32>
}
func.func @step(%x: tensor<1x8xf32>) {
  // expected-error@+1 {{(c2) 2 offsets for 1 results}}
  %0 = kernel.launch @f(%x) at [0, 64] : (tensor<1x8xf32>) -> tensor<1x8xf32>
  return
}

// -----

kernel.func @f(%a: tensor<1x8xf32>) -> tensor<1x8xf32> attributes {anchor = "add", max_tokens = 1 : i64} {
  %0 = lm.add %a, %a : tensor<1x8xf32>
  kernel.return %0 : tensor<1x8xf32>
}
func.func @step(%x: tensor<?x8xf32>) attributes {max_tokens = 4 : i64} {
  // expected-error@+1 {{(c1) operand or result types differ from 'f'}}
  %0 = kernel.launch @f(%x) : (tensor<?x8xf32>) -> tensor<?x8xf32>
  return
}

// -----

kernel.func @f(%a: tensor<1x8xf32>) -> tensor<1x8xf32> attributes {anchor = "add", max_tokens = 1 : i64} {
  %0 = lm.add %a, %a : tensor<1x8xf32>
  kernel.return %0 : tensor<1x8xf32>
}
func.func @step(%x: tensor<?x8xf32>) {
  // expected-error@+1 {{(c3) 'per_sequence' outside a step}}
  %0 = kernel.launch @f(%x) per_sequence : (tensor<?x8xf32>) -> tensor<?x8xf32>
  return
}

// -----

kernel.func @f(%a: tensor<?x8xf32>) -> tensor<?x8xf32> attributes {anchor = "add", max_tokens = 8 : i64} {
  %0 = lm.add %a, %a : tensor<?x8xf32>
  kernel.return %0 : tensor<?x8xf32>
}
func.func @step(%x: tensor<?x8xf32>) attributes {max_tokens = 4 : i64} {
  // expected-error@+1 {{(c3) 'per_sequence' launch of 'f', which takes more than one token}}
  %0 = kernel.launch @f(%x) per_sequence : (tensor<?x8xf32>) -> tensor<?x8xf32>
  return
}
