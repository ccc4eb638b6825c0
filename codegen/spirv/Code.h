// A compute shader under construction: arithmetic, buffers, shared memory and structured control
// flow over MLIR's spirv dialect, so that kernels read like the loops that they are.
//
// All buffers are arrays of 32-bit words, whatever they hold: that needs no feature of a device.
#pragma once

#include "runtime/core/device.h"

#include "mlir/Dialect/SPIRV/IR/SPIRVDialect.h"
#include "mlir/Dialect/SPIRV/IR/SPIRVOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/Error.h"

#include <functional>
#include <string>
#include <vector>

namespace ingot::spirv {

/// A number in a shader: i32 (no sign of its own), f32 or bool.
using Num = mlir::Value;

/// What code may use beyond what every device has (runtime/core/device.h, INGOT_DEVICE_...).
struct Features {
  bool byte_dot = false; ///< i32 = 4 products of signed by unsigned bytes
  bool shuffle = false;  ///< `neighbours` invocations read each other's numbers
  int product = -1;      ///< which of product_shapes; then neither of the others

  /// Sums have the order that the other forms have.
  bool exact() const { return product < 0 || !product_shapes[product].halves(); }

  uint32_t bits() const;
};

/// Invocations thread, thread + 1 ... from a multiple of it on are in one subgroup.
constexpr int32_t neighbours = 8;

class Code;

/// A variable of one invocation.
class Local {
public:
  Num get() const;
  void set(Num value) const;
  void add(Num value) const;

private:
  friend class Code;
  Code *code = nullptr;
  mlir::Value pointer;
};

/// An array that the invocations of a workgroup share.
class Shared {
public:
  Num get(Num index) const;
  void set(Num index, Num value) const;

private:
  friend class Code;
  Code *code = nullptr;
  mlir::spirv::GlobalVariableOp variable;
};

/// A matrix in an array that invocations share: its rows (or, of what is called transposed, its
/// columns) begin `stride` words apart.
struct Panel {
  Shared array;
  Num first;
  int64_t stride;
};

class Code {
public:
  /// `threads` invocations a workgroup; `bindings` buffers, then that of the step's parameters.
  Code(mlir::MLIRContext &context, int32_t threads, int32_t bindings, const Features &features);

  const Features features;
  const int32_t threads;

  // Constants.
  Num i(int64_t value);
  Num f(double value);

  // Where this invocation is.
  Num thread() { return thread_index; }
  Num groupX() { return group_x; }
  Num groupY() { return group_y; }
  Num groupZ() { return group_z; }
  /// Of products: which subgroup of the workgroup this is, and of how many.
  Num subgroup() { return subgroup_index; }
  Num subgroups() { return subgroup_count; }

  // Integers, without sign where it matters.
  Num add(Num a, Num b);
  Num sub(Num a, Num b);
  Num mul(Num a, Num b);
  Num div(Num a, int64_t b);
  Num mod(Num a, int64_t b);
  Num bitAnd(Num a, Num b);
  Num bitOr(Num a, Num b);
  Num bitXor(Num a, Num b);
  Num shiftLeft(Num a, Num bits);
  Num shiftRight(Num a, Num bits);
  Num umin(Num a, Num b);
  /// Bits 32 to 63 of the product.
  Num mulHigh(Num a, Num b);
  Num below(Num a, Num b); ///< a < b, without sign
  Num equal(Num a, Num b);
  Num both(Num a, Num b);
  Num either(Num a, Num b);
  Num negate(Num condition);
  /// Byte `index` (0 .. 3) of a word, sign extended.
  Num signedByte(Num word, int index);
  Num unsignedByte(Num word, int index);
  /// Half `index` of a word, sign extended.
  Num signedHalf(Num word, int index);
  Num signedHalf(Num word, Num index);
  /// The 4 bytes of `activations` (signed) by those of `codes` (unsigned), summed.
  Num dot(Num activations, Num codes);

  // Floats.
  Num fadd(Num a, Num b);
  Num fsub(Num a, Num b);
  Num fmul(Num a, Num b);
  Num fdiv(Num a, Num b);
  Num fma(Num a, Num b, Num c);
  Num fmax(Num a, Num b);
  Num fabs(Num a);
  Num sqrt(Num a);
  Num roundEven(Num a);
  Num fabove(Num a, Num b);       ///< a > b
  Num clamp(Num a, double limit); ///< to [-limit, limit]
  /// silu(gate) * up; silu(v) = v / (1 + exp(-v))
  Num gated(Num gate, Num up);
  /// exp(x) of x in [-87, 88]; what is outside counts as the end.
  Num exponential(Num x);
  Num toFloat(Num a); ///< of a signed integer
  Num toInt(Num a);   ///< of a whole float
  bool isFloat(Num a) const { return a.getType() == f32; }
  Num asFloat(Num bits);
  Num asBits(Num value);
  /// f32 of the half-precision number in the low (0) or high (1) part of a word.
  Num halfToFloat(Num word, int part);
  Num halfToFloat(Num word, Num part);
  /// Two floats as halves, `low` in the low part.
  Num packHalves(Num low, Num high);

  Num select(Num condition, Num yes, Num no);

  // Memory. Indices count words.
  Num load(int32_t binding, Num index);
  Num loadFloat(int32_t binding, Num index) { return asFloat(load(binding, index)); }
  void store(int32_t binding, Num index, Num word);
  void storeFloat(int32_t binding, Num index, Num value) { store(binding, index, asBits(value)); }
  /// Workgroups of a launch read what others write to this buffer, behind a barrierOfAll.
  void sharedByAll(int32_t binding);
  /// Adds to a word of such a buffer; gives what it was.
  Num fetchAdd(int32_t binding, Num index, Num value);
  /// A word of the step's parameters (runtime/core/device.h).
  Num parameter(Num index);
  Local local(Num initial);
  /// Elements like `example`.
  Shared shared(int64_t elements, bool floats);
  int64_t sharedBytes() const { return shared_bytes; }

  // Control flow.
  /// for (i = begin; i < end; i += step), without sign.
  void loop(Num begin, Num end, Num step, const std::function<void(Num)> &body);
  void loop(Num begin, Num end, int64_t step, const std::function<void(Num)> &body) {
    loop(begin, end, i(step), body);
  }
  /// This workgroup's invocations share the iterations 0 .. count - 1.
  void share(int64_t count, const std::function<void(Num)> &body);
  void when(Num condition, const std::function<void()> &body);
  /// The `value` of invocation (thread xor mask), mask < neighbours; all of them are here.
  Num shuffle(Num value, int32_t mask);
  /// c = a * b, with b and c transposed, of the shape that features name, or of `parts` such side
  /// by side in depth. A subgroup does it together, and sums of halves in an order of its own.
  void multiply(const Panel &a, const Panel &b, const Panel &c, int32_t parts);
  /// All invocations of the workgroup meet; what they wrote to shared memory is seen.
  void barrier();
  /// They meet; what they wrote to buffers that workgroups share is seen by all others, too.
  void barrierOfAll();

  /// Ends the shader and gives its words.
  llvm::Expected<std::vector<uint32_t>> finish();

private:
  friend class Local;
  friend class Shared;
  Num apart(mlir::Operation *op);
  mlir::Value element(int32_t binding, Num index);
  mlir::spirv::MemoryAccessAttr sharedAccess();
  mlir::spirv::GlobalVariableOp global(const std::string &name, mlir::Type type, int32_t binding);
  Num builtIn(const char *name, mlir::Type type);
  mlir::Value arrayElement(mlir::spirv::GlobalVariableOp variable, llvm::ArrayRef<Num> indices);

  mlir::MLIRContext &context;
  mlir::ImplicitLocOpBuilder b;
  mlir::OwningOpRef<mlir::spirv::ModuleOp> module;
  mlir::spirv::FuncOp function;
  std::vector<mlir::spirv::GlobalVariableOp> buffers, inputs;
  mlir::spirv::GlobalVariableOp displacements;
  std::vector<Num> displacement;
  mlir::Type i32, f32;
  Num thread_index, group_x, group_y, group_z, subgroup_index, subgroup_count;
  int64_t shared_bytes = 0;
  int32_t shared_count = 0;
};

} // namespace ingot::spirv
