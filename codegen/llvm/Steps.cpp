#include "codegen/llvm/Steps.h"

#include "dialects/kernel/Spec.h"
#include "support/Error.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

using namespace mlir;

namespace ingot {
namespace {

// Fields of ingot_step_context (runtime/core/program.h).
enum ContextField { arena, weights, tokens, logits, barrier, token_count, position };

// halide_buffer_t: 56 bytes with `host` at byte 16; kernels read nothing else of it.
constexpr int64_t buffer_words = 7, host_word = 2;

class StepLowering {
public:
  StepLowering(ModuleOp planned, const ProgramConstants &constants)
      : planned(planned), constants(constants), builder(planned.getLoc(), planned.getContext()) {}

  llvm::Expected<OwningOpRef<ModuleOp>> run() {
    OwningOpRef<ModuleOp> owner = ModuleOp::create(builder, builder.getLoc());
    module = *owner;
    builder.setInsertionPointToEnd(module.getBody());
    pointer = LLVM::LLVMPointerType::get(builder.getContext());
    i32 = builder.getI32Type();
    i64 = builder.getI64Type();
    step_type = LLVM::LLVMFunctionType::get(voidType(), {pointer, i32, i32});
    context_type = LLVM::LLVMStructType::getLiteral(
        builder.getContext(), {pointer, pointer, pointer, pointer, pointer, i32, i32});
    declare("ingot_barrier_wait", LLVM::LLVMFunctionType::get(voidType(), {pointer, i32, i32}));

    for (StringRef name : {"decode", "prefill", "score"}) {
      auto step = planned.lookupSymbol<func::FuncOp>(name);
      if (!step)
        return inputError("", "", "step function '" + name + "' is missing");
      if (llvm::Error error = lowerStep(step))
        return error;
    }
    emitProgram();
    return owner;
  }

private:
  Type voidType() { return LLVM::LLVMVoidType::get(builder.getContext()); }

  LLVM::LLVMFuncOp declare(StringRef name, LLVM::LLVMFunctionType type) {
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointToEnd(module.getBody());
    return LLVM::LLVMFuncOp::create(builder, name, type);
  }

  Value constant(Type type, int64_t value) {
    return LLVM::ConstantOp::create(builder, type, builder.getIntegerAttr(type, value));
  }
  Value advance(Value base, Value bytes) {
    return LLVM::GEPOp::create(builder, pointer, builder.getI8Type(), base, ValueRange{bytes});
  }
  Value loadField(Value context, ContextField field, Type type) {
    Value address = LLVM::GEPOp::create(builder, pointer, context_type, context,
                                        ArrayRef<LLVM::GEPArg>{0, static_cast<int32_t>(field)});
    return LLVM::LoadOp::create(builder, type, address);
  }

  /// Defines, once a kernel,
  ///   void launch.NAME(context, thread, threads, base pointer of each argument...)
  /// which gives this thread its share of the slices:
  ///   begin = units * thread / threads * grain, end = units * (thread + 1) / threads * grain.
  llvm::Expected<LLVM::LLVMFuncOp> launcher(kernel::FuncOp callee) {
    LLVM::LLVMFuncOp &made = launchers[callee.getSymName()];
    if (made)
      return made;
    auto spec = kernel::specOf(callee);
    if (!spec)
      return spec.takeError();
    const KernelInterface interface = kernelInterface(*spec);
    const size_t count = interface.arguments.size();

    SmallVector<Type> kernel_types(4, i32), launch_types{pointer, i32, i32};
    kernel_types.append(count, pointer);
    launch_types.append(count, pointer);
    LLVM::LLVMFuncOp kernel =
        declare(callee.getSymName(), LLVM::LLVMFunctionType::get(i32, kernel_types));

    OpBuilder::InsertionGuard guard(builder);
    made = declare(("launch." + callee.getSymName()).str(),
                   LLVM::LLVMFunctionType::get(voidType(), launch_types));
    made.setLinkage(LLVM::Linkage::Internal);
    made.setNoInline(true);
    Block *entry = made.addEntryBlock(builder);
    Block *work = builder.createBlock(&made.getBody()),
          *done = builder.createBlock(&made.getBody());
    builder.setInsertionPointToStart(entry);
    Value context = entry->getArgument(0), thread = entry->getArgument(1),
          threads = entry->getArgument(2);

    const bool one_token = callee.getMaxTokens() == 1;
    Value token_value = one_token ? constant(i32, 1) : loadField(context, token_count, i32);
    Value slices = interface.slices ? constant(i32, interface.slices) : token_value;
    Value grain = constant(i32, interface.grain);
    Value units = slices;
    if (interface.grain > 1)
      units = LLVM::UDivOp::create(
          builder, LLVM::AddOp::create(builder, slices, constant(i32, interface.grain - 1)), grain);
    auto share = [&](Value of) -> Value {
      Value scaled = LLVM::MulOp::create(builder, units, of);
      return LLVM::MulOp::create(builder, LLVM::UDivOp::create(builder, scaled, threads), grain);
    };
    Value begin = share(thread);
    Value next = LLVM::AddOp::create(builder, thread, constant(i32, 1));
    Value end = LLVM::UMinOp::create(builder, share(next), slices);
    Value any = LLVM::ICmpOp::create(builder, LLVM::ICmpPredicate::ult, begin, end);
    auto buffer_type = LLVM::LLVMArrayType::get(i64, buffer_words);
    Value buffers = LLVM::AllocaOp::create(
        builder, pointer, LLVM::LLVMArrayType::get(buffer_type, count), constant(i32, 1), 16);
    LLVM::CondBrOp::create(builder, any, work, done);

    builder.setInsertionPointToStart(work);
    Value wide_begin = LLVM::ZExtOp::create(builder, i64, begin);
    SmallVector<Value> operands{begin, LLVM::SubOp::create(builder, end, begin), token_value,
                                loadField(context, position, i32)};
    for (size_t i = 0; i < count; ++i) {
      Value host = entry->getArgument(3 + i);
      if (int64_t stride = interface.arguments[i].slice_stride_bytes)
        host = advance(host, LLVM::MulOp::create(builder, wide_begin, constant(i64, stride)));
      Value buffer = LLVM::GEPOp::create(builder, pointer, buffer_type, buffers,
                                         ArrayRef<LLVM::GEPArg>{static_cast<int32_t>(i)});
      Value slot = LLVM::GEPOp::create(builder, pointer, i64, buffer,
                                       ArrayRef<LLVM::GEPArg>{static_cast<int32_t>(host_word)});
      LLVM::StoreOp::create(builder, host, slot);
      operands.push_back(buffer);
    }
    LLVM::CallOp::create(builder, kernel, operands);
    LLVM::BrOp::create(builder, ValueRange(), done);
    builder.setInsertionPointToStart(done);
    LLVM::ReturnOp::create(builder, ValueRange());
    return made;
  }

  llvm::Error lowerStep(func::FuncOp step) {
    auto function = declare(("ingot_" + step.getSymName()).str(), step_type);
    Block *entry = function.addEntryBlock(builder);
    builder.setInsertionPointToStart(entry);
    Value context = entry->getArgument(0);
    Value bases[] = {loadField(context, arena, pointer), loadField(context, weights, pointer),
                     loadField(context, tokens, pointer), loadField(context, logits, pointer)};
    Value barrier_value = loadField(context, barrier, pointer);
    for (Operation &op : step.getBody().front()) {
      if (isa<kernel::BarrierOp>(op)) {
        LLVM::CallOp::create(
            builder, TypeRange(), "ingot_barrier_wait",
            ValueRange{barrier_value, entry->getArgument(1), entry->getArgument(2)});
        continue;
      }
      auto launch = dyn_cast<kernel::LaunchOp>(op);
      if (!launch)
        continue;
      auto callee = launcher(kernel::calleeOf(launch));
      if (!callee)
        return callee.takeError();
      auto uses = kernel::bufferUses(launch);
      if (!uses)
        return uses.takeError();
      SmallVector<Value> operands(entry->getArguments());
      for (const kernel::BufferUse &use : *uses) {
        Value base = bases[static_cast<int>(use.space)];
        operands.push_back(use.offset ? advance(base, constant(i64, use.offset)) : base);
      }
      LLVM::CallOp::create(builder, *callee, operands);
    }
    LLVM::ReturnOp::create(builder, ValueRange());
    builder.setInsertionPointToEnd(module.getBody());
    return llvm::Error::success();
  }

  /// The global that the runtime finds everything through; see runtime/core/program.h.
  void emitProgram() {
    builder.setInsertionPointToEnd(module.getBody());
    auto bytes = LLVM::LLVMArrayType::get(builder.getI8Type(), constants.manifest.size());
    auto manifest =
        LLVM::GlobalOp::create(builder, bytes, /*isConstant=*/true, LLVM::Linkage::Internal,
                               "ingot_manifest", builder.getStringAttr(constants.manifest),
                               /*alignment=*/64);
    manifest.setSection(".ingot.manifest"); // where `ingot inspect` looks for it
    // Packed weights are linked as their own section, far from the code.
    LLVM::GlobalOp::create(builder, builder.getI8Type(), true, LLVM::Linkage::External,
                           "ingot_weights", Attribute());

    auto maxTokens = [&](StringRef name) {
      return planned.lookupSymbol<func::FuncOp>(name)
          ->getAttrOfType<IntegerAttr>("max_tokens")
          .getInt();
    };
    struct Field {
      Type type;
      std::function<Value()> value;
    };
    auto number = [&](Type type, int64_t n) {
      return Field{type, [=, this] { return constant(type, n); }};
    };
    auto address = [&](StringRef symbol) {
      return Field{pointer, [=, this] {
                     return LLVM::AddressOfOp::create(builder, pointer, symbol).getResult();
                   }};
    };
    const Field fields[] = {
        number(i32, 1),
        number(i32, 0),
        address("ingot_manifest"),
        number(i64, constants.manifest.size()),
        address("ingot_weights"),
        number(i64, constants.weight_bytes),
        number(i64, constants.arena_bytes),
        address("ingot_decode"),
        address("ingot_prefill"),
        address("ingot_score"),
        number(i32, maxTokens("prefill")),
        number(i32, maxTokens("score")),
        number(i32, constants.vocab_size),
        number(i32, (constants.vocab_size + 15) / 16 * 16),
        number(i32, constants.context_length),
        number(i32, 0),
    };
    SmallVector<Type> types;
    for (const Field &field : fields)
      types.push_back(field.type);
    auto type = LLVM::LLVMStructType::getLiteral(builder.getContext(), types);
    auto program = LLVM::GlobalOp::create(builder, type, true, LLVM::Linkage::External,
                                          "ingot_main_program", Attribute());
    Block *block = builder.createBlock(&program.getInitializerRegion());
    builder.setInsertionPointToStart(block);
    Value value = LLVM::UndefOp::create(builder, type);
    for (auto [index, field] : llvm::enumerate(fields))
      value = LLVM::InsertValueOp::create(builder, value, field.value(), index);
    LLVM::ReturnOp::create(builder, value);
  }

  ModuleOp planned;
  const ProgramConstants &constants;
  ImplicitLocOpBuilder builder;
  ModuleOp module;
  Type pointer, i32, i64;
  LLVM::LLVMFunctionType step_type;
  LLVM::LLVMStructType context_type;
  llvm::StringMap<LLVM::LLVMFuncOp> launchers;
};

} // namespace

llvm::Expected<OwningOpRef<ModuleOp>> lowerSteps(ModuleOp planned,
                                                 const ProgramConstants &constants) {
  return StepLowering(planned, constants).run();
}

} // namespace ingot
