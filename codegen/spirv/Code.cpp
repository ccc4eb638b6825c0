#include "codegen/spirv/Code.h"

#include "support/Error.h"

#include "mlir/IR/Verifier.h"
#include "mlir/Target/SPIRV/Serialization.h"

using namespace mlir;
namespace spv = mlir::spirv;

namespace ingot::spirv {

namespace {
constexpr auto workgroup_memory =
    spv::MemorySemantics::AcquireRelease | spv::MemorySemantics::WorkgroupMemory;

/// Walks up to where variables of a shader are kept.
Block *entryOf(spv::FuncOp function) { return &function.getBody().front(); }
} // namespace

uint32_t Features::bits() const {
  return (byte_dot ? INGOT_DEVICE_BYTE_DOT : 0) | (shuffle ? INGOT_DEVICE_SHUFFLE : 0) |
         (product >= 0 ? INGOT_DEVICE_PRODUCT(product) : 0);
}

Num Local::get() const { return spv::LoadOp::create(code->b, pointer); }
void Local::set(Num value) const { spv::StoreOp::create(code->b, pointer, value); }
void Local::add(Num value) const {
  set(isa<FloatType>(value.getType()) ? code->fadd(get(), value) : code->add(get(), value));
}

Num Shared::get(Num index) const {
  return spv::LoadOp::create(code->b, code->arrayElement(variable, index), code->sharedAccess(),
                             IntegerAttr());
}
void Shared::set(Num index, Num value) const {
  spv::StoreOp::create(code->b, code->arrayElement(variable, index), value, code->sharedAccess(),
                       IntegerAttr());
}

Code::Code(MLIRContext &context, int32_t threads, int32_t bindings, const Features &features)
    : features(features), threads(threads), context(context),
      b(UnknownLoc::get(&context), &context) {
  context.loadDialect<spv::SPIRVDialect>();
  i32 = b.getI32Type();
  f32 = b.getF32Type();
  SmallVector<spv::Capability> capabilities{spv::Capability::Shader};
  SmallVector<spv::Extension> extensions;
  if (features.byte_dot) {
    capabilities.push_back(spv::Capability::DotProduct);
    capabilities.push_back(spv::Capability::DotProductInput4x8BitPacked);
    extensions.push_back(spv::Extension::SPV_KHR_integer_dot_product);
  }
  if (features.shuffle) {
    capabilities.push_back(spv::Capability::GroupNonUniform);
    capabilities.push_back(spv::Capability::GroupNonUniformShuffle);
  }
  if (features.product >= 0) {
    const auto element = product_shapes[features.product].halves() ? spv::Capability::Float16
                                                                   : spv::Capability::Int8;
    for (spv::Capability needed :
         {spv::Capability::CooperativeMatrixKHR, element, spv::Capability::GroupNonUniform,
          spv::Capability::VulkanMemoryModel})
      capabilities.push_back(needed);
    extensions.push_back(spv::Extension::SPV_KHR_cooperative_matrix);
    extensions.push_back(spv::Extension::SPV_KHR_vulkan_memory_model);
  }
  auto environment =
      spv::VerCapExtAttr::get(spv::Version::V_1_3, capabilities, extensions, &context);
  module = spv::ModuleOp::create(
      b, spv::AddressingModel::Logical,
      features.product >= 0 ? spv::MemoryModel::Vulkan : spv::MemoryModel::GLSL450, environment);
  b.setInsertionPointToStart(module->getBody());

  auto words =
      spv::StructType::get({spv::RuntimeArrayType::get(i32, 4)}, spv::StructType::OffsetInfo{0});
  for (int32_t binding = 0; binding <= bindings; ++binding)
    buffers.push_back(global("buffer" + std::to_string(binding),
                             spv::PointerType::get(words, spv::StorageClass::StorageBuffer),
                             binding));
  auto pushed = spv::StructType::get({spv::ArrayType::get(i32, std::max(bindings, 1), 4)},
                                     spv::StructType::OffsetInfo{0});
  displacements =
      global("displacements", spv::PointerType::get(pushed, spv::StorageClass::PushConstant), -1);

  auto triple = VectorType::get({3}, i32);
  auto input = [&](const char *name, Type type) {
    auto variable = spv::GlobalVariableOp::create(
        b, TypeAttr::get(spv::PointerType::get(type, spv::StorageClass::Input)),
        b.getStringAttr(name), nullptr, nullptr, nullptr, nullptr, b.getStringAttr(name), nullptr);
    inputs.push_back(variable);
    return variable;
  };
  auto group = input("WorkgroupId", triple);
  // How invocations are numbered within a workgroup says nothing of subgroups: there, their own
  // numbers count.
  SmallVector<spv::GlobalVariableOp, 3> numbers;
  if (features.shuffle)
    for (const char *name : {"SubgroupId", "SubgroupSize", "SubgroupLocalInvocationId"})
      numbers.push_back(input(name, i32));
  else
    numbers.push_back(input("LocalInvocationIndex", i32));
  if (features.product >= 0)
    for (const char *name : {"SubgroupId", "NumSubgroups"})
      numbers.push_back(input(name, i32));
  function = spv::FuncOp::create(b, "main", b.getFunctionType({}, {}));
  b.setInsertionPointToStart(function.addEntryBlock());
  Value id = spv::LoadOp::create(b, spv::AddressOfOp::create(b, group));
  group_x = spv::CompositeExtractOp::create(b, id, ArrayRef<int32_t>{0});
  group_y = spv::CompositeExtractOp::create(b, id, ArrayRef<int32_t>{1});
  group_z = spv::CompositeExtractOp::create(b, id, ArrayRef<int32_t>{2});
  auto number = [&](size_t i) -> Num {
    return spv::LoadOp::create(b, spv::AddressOfOp::create(b, numbers[i]));
  };
  thread_index = features.shuffle ? add(mul(number(0), number(1)), number(2)) : number(0);
  if (features.product >= 0)
    subgroup_index = number(1), subgroup_count = number(2);
  for (int32_t binding = 0; binding < bindings; ++binding)
    displacement.push_back(spv::LoadOp::create(b, arrayElement(displacements, {i(0), i(binding)})));
}

spv::GlobalVariableOp Code::global(const std::string &name, Type type, int32_t binding) {
  auto number = [&](int32_t n) { return binding < 0 ? nullptr : b.getI32IntegerAttr(n); };
  return spv::GlobalVariableOp::create(b, TypeAttr::get(type), b.getStringAttr(name), nullptr,
                                       nullptr, number(binding), number(0), nullptr, nullptr);
}

Value Code::arrayElement(spv::GlobalVariableOp variable, ArrayRef<Num> indices) {
  return spv::AccessChainOp::create(b, spv::AddressOfOp::create(b, variable), indices);
}

Num Code::i(int64_t value) {
  return spv::ConstantOp::create(b, i32,
                                 IntegerAttr::get(i32, APInt(32, uint64_t(value), false, true)));
}
Num Code::f(double value) {
  return spv::ConstantOp::create(b, f32, b.getF32FloatAttr(static_cast<float>(value)));
}

Num Code::add(Num x, Num y) { return spv::IAddOp::create(b, x, y); }
Num Code::sub(Num x, Num y) { return spv::ISubOp::create(b, x, y); }
Num Code::mul(Num x, Num y) { return spv::IMulOp::create(b, x, y); }
Num Code::div(Num x, int64_t y) { return y == 1 ? x : Num(spv::UDivOp::create(b, x, i(y))); }
Num Code::mod(Num x, int64_t y) { return spv::UModOp::create(b, x, i(y)); }
Num Code::bitAnd(Num x, Num y) { return spv::BitwiseAndOp::create(b, x, y); }
Num Code::bitOr(Num x, Num y) { return spv::BitwiseOrOp::create(b, x, y); }
Num Code::bitXor(Num x, Num y) { return spv::BitwiseXorOp::create(b, x, y); }
Num Code::shiftLeft(Num x, Num bits) { return spv::ShiftLeftLogicalOp::create(b, i32, x, bits); }
Num Code::shiftRight(Num x, Num bits) { return spv::ShiftRightLogicalOp::create(b, i32, x, bits); }
Num Code::umin(Num x, Num y) { return spv::GLUMinOp::create(b, x, y); }
Num Code::mulHigh(Num x, Num y) {
  auto pair = spv::StructType::get({i32, i32});
  Value product = spv::UMulExtendedOp::create(b, pair, x, y);
  return spv::CompositeExtractOp::create(b, product, ArrayRef<int32_t>{1});
}
Num Code::below(Num x, Num y) { return spv::ULessThanOp::create(b, x, y); }
Num Code::equal(Num x, Num y) { return spv::IEqualOp::create(b, x, y); }
Num Code::both(Num x, Num y) { return spv::LogicalAndOp::create(b, x, y); }
Num Code::either(Num x, Num y) { return spv::LogicalOrOp::create(b, x, y); }
Num Code::negate(Num condition) { return spv::LogicalNotOp::create(b, condition); }
Num Code::signedByte(Num word, int index) {
  return spv::BitFieldSExtractOp::create(b, i32, word, i(8 * index), i(8));
}
Num Code::unsignedByte(Num word, int index) {
  return spv::BitFieldUExtractOp::create(b, i32, word, i(8 * index), i(8));
}
Num Code::signedHalf(Num word, int index) {
  return spv::BitFieldSExtractOp::create(b, i32, word, i(16 * index), i(16));
}
Num Code::signedHalf(Num word, Num index) {
  return spv::BitFieldSExtractOp::create(b, i32, word, mul(index, i(16)), i(16));
}

Num Code::dot(Num activations, Num codes) {
  if (features.byte_dot)
    return spv::SUDotOp::create(b, i32, activations, codes,
                                spv::PackedVectorFormatAttr::get(
                                    &context, spv::PackedVectorFormat::PackedVectorFormat4x8Bit));
  Num sum;
  for (int byte = 0; byte < 4; ++byte) {
    Num product = mul(signedByte(activations, byte), unsignedByte(codes, byte));
    sum = byte ? add(sum, product) : product;
  }
  return sum;
}

// Devices may make one instruction, rounded once, of a product and a sum where nothing says that
// they may not: what is fused is what is written so, for the same bits in all forms.
Num Code::apart(mlir::Operation *op) {
  op->setAttr("no_contraction", b.getUnitAttr());
  return op->getResult(0);
}
Num Code::fadd(Num x, Num y) { return apart(spv::FAddOp::create(b, x, y)); }
Num Code::fsub(Num x, Num y) { return apart(spv::FSubOp::create(b, x, y)); }
Num Code::fmul(Num x, Num y) { return apart(spv::FMulOp::create(b, x, y)); }
Num Code::fdiv(Num x, Num y) { return spv::FDivOp::create(b, x, y); }
Num Code::fma(Num x, Num y, Num z) { return spv::GLFmaOp::create(b, f32, x, y, z); }
Num Code::fmax(Num x, Num y) { return spv::GLFMaxOp::create(b, x, y); }
Num Code::fabs(Num x) { return spv::GLFAbsOp::create(b, x); }
Num Code::sqrt(Num x) { return spv::GLSqrtOp::create(b, x); }
Num Code::roundEven(Num x) { return spv::GLRoundEvenOp::create(b, x); }
Num Code::fabove(Num x, Num y) { return spv::FOrdGreaterThanOp::create(b, x, y); }
Num Code::clamp(Num x, double limit) {
  return spv::GLFClampOp::create(b, f32, x, f(-limit), f(limit));
}
Num Code::gated(Num gate, Num up) {
  Num denominator = fadd(f(1), exponential(fsub(f(0), gate)));
  return fmul(fdiv(gate, denominator), up);
}

// exp(x) = 2^n exp(r), x = n ln 2 + r with ln 2 in two parts (Cody & Waite 1980), exp(r) by its
// Taylor polynomial of degree 7: a device's own exp has an error that grows with |x|.
Num Code::exponential(Num x) {
  x = spv::GLFClampOp::create(b, f32, x, f(-87), f(88));
  Num n = roundEven(fmul(x, f(1.44269504088896341)));
  Num r = fma(n, f(-0.693359375), x);
  r = fma(n, f(2.12194440e-4), r);
  Num p = f(1.0 / 5040);
  for (double coefficient : {1.0 / 720, 1.0 / 120, 1.0 / 24, 1.0 / 6, 0.5, 1.0, 1.0})
    p = fma(p, r, f(coefficient));
  return fmul(p, asFloat(shiftLeft(add(toInt(n), i(127)), i(23))));
}

Num Code::toFloat(Num x) { return spv::ConvertSToFOp::create(b, f32, x); }
Num Code::toInt(Num x) { return spv::ConvertFToSOp::create(b, i32, x); }
Num Code::asFloat(Num bits) { return spv::BitcastOp::create(b, f32, bits); }
Num Code::asBits(Num value) { return spv::BitcastOp::create(b, i32, value); }
Num Code::halfToFloat(Num word, int part) {
  Value both = spv::GLUnpackHalf2x16Op::create(b, VectorType::get({2}, f32), word);
  return spv::CompositeExtractOp::create(b, both, ArrayRef<int32_t>{part});
}
Num Code::halfToFloat(Num word, Num part) {
  return halfToFloat(shiftRight(word, mul(part, i(16))), 0);
}
Num Code::packHalves(Num low, Num high) {
  Value both =
      spv::CompositeConstructOp::create(b, VectorType::get({2}, f32), ValueRange{low, high});
  return spv::GLPackHalf2x16Op::create(b, i32, both);
}

Num Code::select(Num condition, Num yes, Num no) {
  return spv::SelectOp::create(b, condition, yes, no);
}

Value Code::element(int32_t binding, Num index) {
  if (binding < static_cast<int32_t>(displacement.size()))
    index = add(index, displacement[binding]);
  return arrayElement(buffers[binding], {i(0), index});
}
Num Code::load(int32_t binding, Num index) {
  return spv::LoadOp::create(b, element(binding, index));
}
void Code::store(int32_t binding, Num index, Num word) {
  spv::StoreOp::create(b, element(binding, index), word);
}
Num Code::parameter(Num index) { return load(static_cast<int32_t>(buffers.size()) - 1, index); }

Local Code::local(Num initial) {
  Local made;
  made.code = this;
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(entryOf(function));
    made.pointer = spv::VariableOp::create(
        b, spv::PointerType::get(initial.getType(), spv::StorageClass::Function),
        spv::StorageClass::Function, nullptr);
  }
  made.set(initial);
  return made;
}

Shared Code::shared(int64_t elements, bool floats) {
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPoint(function);
  Shared made;
  made.code = this;
  made.variable = global("shared" + std::to_string(shared_count++),
                         spv::PointerType::get(spv::ArrayType::get(floats ? f32 : i32,
                                                                   static_cast<unsigned>(elements)),
                                               spv::StorageClass::Workgroup),
                         -1);
  shared_bytes += 4 * elements;
  return made;
}

void Code::loop(Num begin, Num end, Num step, const std::function<void(Num)> &body) {
  auto op = spv::LoopOp::create(b, spv::LoopControl::None);
  {
    OpBuilder::InsertionGuard guard(b);
    Region &region = op.getBody();
    const Location location = b.getLoc();
    Block *entry = b.createBlock(&region);
    Block *header = b.createBlock(&region, region.end(), {i32}, {location});
    Block *inside = b.createBlock(&region, region.end());
    Block *next = b.createBlock(&region, region.end());
    Block *merge = b.createBlock(&region, region.end());
    b.setInsertionPointToEnd(entry);
    spv::BranchOp::create(b, header, ValueRange{begin});
    b.setInsertionPointToEnd(header);
    Num index = header->getArgument(0);
    spv::BranchConditionalOp::create(b, below(index, end), inside, ValueRange(), merge,
                                     ValueRange());
    b.setInsertionPointToEnd(inside);
    body(index);
    spv::BranchOp::create(b, next, ValueRange());
    b.setInsertionPointToEnd(next);
    spv::BranchOp::create(b, header, ValueRange{add(index, step)});
    b.setInsertionPointToEnd(merge);
    spv::MergeOp::create(b, ValueRange());
  }
}

void Code::share(int64_t count, const std::function<void(Num)> &body) {
  if (count == threads)
    body(thread_index);
  else if (count < threads)
    when(below(thread_index, i(count)), [&] { body(thread_index); });
  else
    loop(thread_index, i(count), threads, body);
}

void Code::when(Num condition, const std::function<void()> &body) {
  auto op = spv::SelectionOp::create(b, spv::SelectionControl::None);
  OpBuilder::InsertionGuard guard(b);
  Region &region = op.getBody();
  Block *header = b.createBlock(&region);
  Block *inside = b.createBlock(&region, region.end());
  Block *merge = b.createBlock(&region, region.end());
  b.setInsertionPointToEnd(header);
  spv::BranchConditionalOp::create(b, condition, inside, ValueRange(), merge, ValueRange());
  b.setInsertionPointToEnd(inside);
  body();
  spv::BranchOp::create(b, merge, ValueRange());
  b.setInsertionPointToEnd(merge);
  spv::MergeOp::create(b, ValueRange());
}

Num Code::shuffle(Num value, int32_t mask) {
  return spv::GroupNonUniformShuffleXorOp::create(b, spv::Scope::Subgroup, value, i(mask));
}

// Products of matrices want Vulkan's memory model, which lets others see only what is said to be
// not private.
spv::MemoryAccessAttr Code::sharedAccess() {
  if (features.product < 0)
    return {};
  return spv::MemoryAccessAttr::get(&context, spv::MemoryAccess::NonPrivatePointer);
}

void Code::multiply(const Panel &a, const Panel &b_panel, const Panel &c, int32_t parts) {
  using Layout = spv::CooperativeMatrixLayoutKHR;
  using Use = spv::CooperativeMatrixUseKHR;
  const ProductShape &shape = product_shapes[features.product];
  const bool halves = shape.halves();
  const Type element = halves ? Type(b.getF16Type()) : b.getIntegerType(8),
             sum = halves ? f32 : i32;
  auto type = [](Type element, int32_t rows, int32_t columns, Use use) {
    return spv::CooperativeMatrixType::get(element, rows, columns, spv::Scope::Subgroup, use);
  };
  auto load = [&](Type matrix, const Panel &panel, int32_t part, Layout layout) -> Value {
    Num first =
        part ? add(panel.first, i(int64_t(part) * shape.depth * shape.bytes / 4)) : panel.first;
    return spv::KHRCooperativeMatrixLoadOp::create(
        b, matrix, arrayElement(panel.array.variable, first), layout, i(panel.stride),
        sharedAccess(), IntegerAttr());
  };
  const auto all_signed = spv::CooperativeMatrixOperandsKHRAttr::get(
      &context, spv::CooperativeMatrixOperandsKHR::ASigned |
                    spv::CooperativeMatrixOperandsKHR::BSigned |
                    spv::CooperativeMatrixOperandsKHR::CSigned |
                    spv::CooperativeMatrixOperandsKHR::ResultSigned);
  Value sums = spv::CompositeConstructOp::create(
      b, type(sum, shape.rows, shape.columns, Use::MatrixAcc), ValueRange{halves ? f(0) : i(0)});
  for (int32_t part = 0; part < parts; ++part)
    sums = spv::KHRCooperativeMatrixMulAddOp::create(
        b, load(type(element, shape.rows, shape.depth, Use::MatrixA), a, part, Layout::RowMajor),
        load(type(element, shape.depth, shape.columns, Use::MatrixB), b_panel, part,
             Layout::ColumnMajor),
        sums, halves ? spv::CooperativeMatrixOperandsKHRAttr() : all_signed);
  spv::KHRCooperativeMatrixStoreOp::create(b, arrayElement(c.array.variable, c.first), sums,
                                           Layout::ColumnMajor, i(c.stride), sharedAccess(),
                                           IntegerAttr());
}

void Code::barrier() {
  auto semantics = workgroup_memory;
  if (features.product >= 0)
    semantics = semantics | spv::MemorySemantics::MakeAvailable | spv::MemorySemantics::MakeVisible;
  spv::ControlBarrierOp::create(b, spv::Scope::Workgroup, spv::Scope::Workgroup, semantics);
}

void Code::barrierOfAll() {
  spv::ControlBarrierOp::create(b, spv::Scope::Workgroup, spv::Scope::Device,
                                workgroup_memory | spv::MemorySemantics::UniformMemory);
}

void Code::sharedByAll(int32_t binding) { buffers[binding]->setAttr("coherent", b.getUnitAttr()); }

Num Code::fetchAdd(int32_t binding, Num index, Num value) {
  return spv::AtomicIAddOp::create(
      b, element(binding, index), spv::Scope::Device,
      spv::MemorySemantics::AcquireRelease | spv::MemorySemantics::UniformMemory, value);
}

llvm::Expected<std::vector<uint32_t>> Code::finish() {
  spv::ReturnOp::create(b);
  b.setInsertionPointToEnd(module->getBody());
  SmallVector<Attribute> interface;
  for (spv::GlobalVariableOp input : inputs)
    interface.push_back(SymbolRefAttr::get(input));
  spv::EntryPointOp::create(b, spv::ExecutionModel::GLCompute, function, interface);
  spv::ExecutionModeOp::create(b, function, spv::ExecutionMode::LocalSize,
                               ArrayRef<int32_t>{threads, 1, 1});
  std::string message;
  ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) {
    if (message.empty())
      message = diagnostic.str();
    return success();
  });
  SmallVector<uint32_t, 0> words;
  spv::SerializationOptions options;
  options.emitSymbolName = false;
  if (failed(mlir::verify(*module)) || failed(spv::serialize(*module, words, options)))
    return inputError("", "SPIR-V", message);
  return std::vector<uint32_t>(words.begin(), words.end());
}

} // namespace ingot::spirv
