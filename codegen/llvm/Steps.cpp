#include "codegen/llvm/Steps.h"

#include "codegen/link/Sections.h"
#include "dialects/kernel/Spec.h"
#include "runtime/core/program.h"
#include "support/Error.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

using namespace mlir;

namespace ingot {
namespace {

/// Of the weights of the next launch: what fits the second-level cache beside a launch's own data.
constexpr int64_t fetched_while_waiting = 256 << 10;

// Fields of ingot_step_context (runtime/core/program.h).
enum ContextField {
  arena,
  weights,
  tokens,
  logits,
  barrier,
  token_count,
  position,
  caches,
  positions,
  profile,
  near_memory,
  near_bytes
};

/// Of halide_buffer_t, kernels read `host`, and those of machines with near memory, of the first
/// one, what of that is theirs: how many bytes, and where.
enum BufferField { device_field, interface_field, host_field };

class StepLowering {
public:
  StepLowering(ArrayRef<StepVariant> variants, const ProgramConstants &constants)
      : variants(variants), planned(variants.front().planned), constants(constants),
        builder(planned.getLoc(), planned.getContext()) {}

  llvm::Expected<OwningOpRef<ModuleOp>> run() {
    OwningOpRef<ModuleOp> owner = ModuleOp::create(builder, builder.getLoc());
    module = *owner;
    builder.setInsertionPointToEnd(module.getBody());
    pointer = LLVM::LLVMPointerType::get(builder.getContext());
    i32 = builder.getI32Type();
    i64 = builder.getI64Type();
    step_type = LLVM::LLVMFunctionType::get(voidType(), {pointer, i32, i32});
    context_type = LLVM::LLVMStructType::getLiteral(
        builder.getContext(), {pointer, pointer, pointer, pointer, pointer, i32, i32, pointer,
                               pointer, pointer, pointer, i64});
    declare("ingot_barrier_wait",
            LLVM::LLVMFunctionType::get(voidType(), {pointer, i32, i32, pointer, i64}));
    declare("ingot_profile_mark", LLVM::LLVMFunctionType::get(voidType(), {pointer, i32}));

    for (const StepVariant &variant : variants) {
      planned = variant.planned;
      suffix = variant.suffix;
      gives_near_memory = variant.near_memory;
      if (llvm::Error error = lowerVariant(variant.device))
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

  /// Where a launcher keeps the halide_buffer_t of each argument of its kernel.
  Value makeBuffers(size_t count) {
    return LLVM::AllocaOp::create(builder, pointer, LLVM::LLVMArrayType::get(bufferType(), count),
                                  constant(i32, 1), 16);
  }
  /// halide_buffer_t: device and its interface, host, flags, type, dimensions and their shapes.
  Type bufferType() {
    return LLVM::LLVMStructType::getLiteral(
        builder.getContext(), {i64, pointer, pointer, i64, i32, i32, pointer, pointer});
  }

  /// Calls a kernel for the slices [begin, begin + extent): operands `slices` are (begin, extent,
  /// tokens, position), `hosts` the memory of each argument. `launcher` is where we are.
  void callKernel(LLVM::LLVMFuncOp launcher, LLVM::LLVMFuncOp kernel, Value buffers,
                  ArrayRef<Value> slices, ArrayRef<Value> hosts) {
    SmallVector<Value> operands(slices);
    auto store = [&](Value buffer, BufferField field, Value value) {
      Value slot = LLVM::GEPOp::create(builder, pointer, bufferType(), buffer,
                                       ArrayRef<LLVM::GEPArg>{0, static_cast<int32_t>(field)});
      LLVM::StoreOp::create(builder, value, slot);
    };
    for (auto [index, host] : llvm::enumerate(hosts)) {
      Value buffer = LLVM::GEPOp::create(builder, pointer, bufferType(), buffers,
                                         ArrayRef<LLVM::GEPArg>{static_cast<int32_t>(index)});
      store(buffer, host_field, host);
      operands.push_back(buffer);
    }
    if (gives_near_memory && !hosts.empty()) {
      Value context = launcher.getArgument(0), thread = launcher.getArgument(1);
      Value bytes = loadField(context, near_bytes, i64);
      Value before =
          LLVM::MulOp::create(builder, LLVM::ZExtOp::create(builder, i64, thread), bytes);
      store(operands[slices.size()], device_field, bytes);
      store(operands[slices.size()], interface_field,
            advance(loadField(context, near_memory, pointer), before));
    }
    LLVM::CallOp::create(builder, kernel, operands);
  }

  LLVM::LLVMFuncOp declareKernel(kernel::FuncOp callee, size_t arguments) {
    LLVM::LLVMFuncOp &made = kernels[callee.getSymName()];
    if (!made) {
      SmallVector<Type> types(4, i32);
      types.append(arguments, pointer);
      made = declare(callee.getSymName(), LLVM::LLVMFunctionType::get(i32, types));
    }
    return made;
  }

  LLVM::LLVMFuncOp declareLauncher(const Twine &name, ArrayRef<Type> arguments) {
    SmallVector<Type> types{pointer, i32, i32};
    llvm::append_range(types, arguments);
    LLVM::LLVMFuncOp made = declare(name.str(), LLVM::LLVMFunctionType::get(voidType(), types));
    made.setLinkage(LLVM::Linkage::Internal);
    made.setNoInline(true);
    return made;
  }

  /// Ends a launcher at `block`: tells the profile, where there is one, that this thread's share is
  /// done. Here rather than in steps, which have some sixty calls for each launcher; which launch
  /// it was follows from the order of the calls.
  void finish(LLVM::LLVMFuncOp launcher, Block *block) {
    Block *mark = builder.createBlock(&launcher.getBody()),
          *done = builder.createBlock(&launcher.getBody());
    builder.setInsertionPointToEnd(block);
    Value wanted = loadField(launcher.getArgument(0), profile, pointer);
    Value none = LLVM::ZeroOp::create(builder, pointer);
    Value off = LLVM::ICmpOp::create(builder, LLVM::ICmpPredicate::eq, wanted, none);
    LLVM::CondBrOp::create(builder, off, done, mark);
    builder.setInsertionPointToStart(mark);
    LLVM::CallOp::create(builder, TypeRange(), "ingot_profile_mark",
                         ValueRange{wanted, launcher.getArgument(1)});
    LLVM::BrOp::create(builder, ValueRange(), done);
    builder.setInsertionPointToStart(done);
    LLVM::ReturnOp::create(builder, ValueRange());
  }

  /// void launch.barrier(context, thread, threads, next, bytes): all threads meet, and those that
  /// wait fetch ahead; launch.wait(context, thread, threads): they only meet. There are hundreds of
  /// calls in a program.
  LLVM::LLVMFuncOp barrierLauncher(bool fetches) {
    LLVM::LLVMFuncOp &made = launchers[fetches ? "barrier" : "wait"];
    if (made)
      return made;
    OpBuilder::InsertionGuard guard(builder);
    made = fetches ? declareLauncher("launch.barrier", {pointer, i64})
                   : declareLauncher("launch.wait", {});
    Block *entry = made.addEntryBlock(builder);
    builder.setInsertionPointToStart(entry);
    SmallVector<Value> operands(entry->getArguments());
    operands[0] = loadField(operands[0], barrier, pointer);
    if (!fetches)
      operands.append({LLVM::ZeroOp::create(builder, pointer), constant(i64, 0)});
    LLVM::CallOp::create(builder, TypeRange(), "ingot_barrier_wait", operands);
    finish(made, entry);
    return made;
  }

  Value bytesFrom(Value index, int64_t bytes) {
    return LLVM::MulOp::create(builder, LLVM::ZExtOp::create(builder, i64, index),
                               constant(i64, bytes));
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
    if (interface.axis == SliceAxis::heads && spec->max_tokens > 1)
      return headLauncher(callee, *spec);
    const size_t count = interface.arguments.size();
    LLVM::LLVMFuncOp kernel = declareKernel(callee, count);

    OpBuilder::InsertionGuard guard(builder);
    made = declareLauncher("launch." + callee.getSymName(), SmallVector<Type>(count, pointer));
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
    Value buffers = makeBuffers(count);
    LLVM::CondBrOp::create(builder, any, work, done);

    builder.setInsertionPointToStart(work);
    SmallVector<Value> hosts(entry->getArguments().drop_front(3));
    for (auto [host, argument] : llvm::zip(hosts, interface.arguments))
      if (argument.slice_stride_bytes)
        host = advance(host, bytesFrom(begin, argument.slice_stride_bytes));
    callKernel(made, kernel, buffers,
               {begin, LLVM::SubOp::create(builder, end, begin), token_value,
                loadField(context, position, i32)},
               hosts);
    LLVM::BrOp::create(builder, ValueRange(), done);
    finish(made, done);
    return made;
  }

  /// Defines, once a kernel of one token that is launched per sequence,
  ///   void launch.each.NAME(context, thread, threads, base of each argument...)
  /// where the base of a cache is its offset (i64) in the caches of one sequence. The slices of all
  /// tokens, `grain` of them a unit, are one list, token by token, of which this thread takes
  ///   begin = units * thread / threads, end = units * (thread + 1) / threads.
  llvm::Expected<LLVM::LLVMFuncOp> sequenceLauncher(kernel::FuncOp callee,
                                                    ArrayRef<kernel::BufferUse> uses) {
    LLVM::LLVMFuncOp &made = sequence_launchers[callee.getSymName()];
    if (made)
      return made;
    auto spec = kernel::specOf(callee);
    if (!spec)
      return spec.takeError();
    LLVM::LLVMFuncOp kernel = declareKernel(callee, uses.size());
    const auto isCache = [](const kernel::BufferUse &use) {
      return use.space == kernel::BufferUse::Space::cache;
    };
    SmallVector<Type> types;
    for (const kernel::BufferUse &use : uses)
      types.push_back(isCache(use) ? i64 : pointer);

    OpBuilder::InsertionGuard guard(builder);
    made = declareLauncher("launch.each." + callee.getSymName(), types);
    Block *entry = made.addEntryBlock(builder);
    Block *loop = builder.createBlock(&made.getBody(), {}, {i32}, {builder.getLoc()}),
          *work = builder.createBlock(&made.getBody()),
          *done = builder.createBlock(&made.getBody());
    builder.setInsertionPointToStart(entry);
    Value context = entry->getArgument(0), thread = entry->getArgument(1),
          threads = entry->getArgument(2);
    const KernelInterface interface = kernelInterface(*spec);
    Value grain = constant(i32, interface.grain), slices = constant(i32, interface.slices);
    Value per_token = constant(i32, llvm::divideCeil(interface.slices, interface.grain));
    Value units = LLVM::MulOp::create(builder, loadField(context, token_count, i32), per_token);
    auto share = [&](Value of) -> Value {
      return LLVM::UDivOp::create(builder, LLVM::MulOp::create(builder, units, of), threads);
    };
    Value begin = share(thread);
    Value end = share(LLVM::AddOp::create(builder, thread, constant(i32, 1)));
    Value cache_list = loadField(context, caches, pointer);
    Value position_list = loadField(context, positions, pointer);
    Value buffers = makeBuffers(uses.size());
    LLVM::BrOp::create(builder, begin, loop);

    builder.setInsertionPointToStart(loop);
    Value unit = loop->getArgument(0);
    Value any = LLVM::ICmpOp::create(builder, LLVM::ICmpPredicate::ult, unit, end);
    LLVM::CondBrOp::create(builder, any, work, done);

    builder.setInsertionPointToStart(work);
    Value token = LLVM::UDivOp::create(builder, unit, per_token);
    Value first = LLVM::URemOp::create(builder, unit, per_token);
    Value taken = LLVM::UMinOp::create(builder, LLVM::SubOp::create(builder, end, unit),
                                       LLVM::SubOp::create(builder, per_token, first));
    Value slice = LLVM::MulOp::create(builder, first, grain);
    Value extent = LLVM::UMinOp::create(builder, LLVM::MulOp::create(builder, taken, grain),
                                        LLVM::SubOp::create(builder, slices, slice));
    auto ofToken = [&](Value list, Type type) -> Value {
      Value address =
          LLVM::GEPOp::create(builder, pointer, type, list, ArrayRef<LLVM::GEPArg>{token});
      return LLVM::LoadOp::create(builder, type, address);
    };
    SmallVector<Value> hosts(entry->getArguments().drop_front(3));
    for (auto [host, use] : llvm::zip(hosts, uses)) {
      if (isCache(use))
        host = advance(ofToken(cache_list, pointer), host);
      else if (use.token_bytes)
        host = advance(host, bytesFrom(token, use.token_bytes));
      if (use.argument.slice_stride_bytes)
        host = advance(host, bytesFrom(slice, use.argument.slice_stride_bytes));
    }
    callKernel(made, kernel, buffers,
               {slice, extent, constant(i32, 1), ofToken(position_list, i32)}, hosts);
    LLVM::BrOp::create(builder, Value(LLVM::AddOp::create(builder, unit, taken)), loop);
    finish(made, done);
    return made;
  }

  /// Defines, once a kernel of many tokens that is cut by heads,
  ///   void launch.NAME(context, thread, threads, base pointer of each argument...)
  /// Heads alone are few: 9 of them would leave one of two threads waiting. So the work is one list
  /// of (head, kTokenPadding tokens), head by head, of which this thread takes
  ///   begin = units * thread / threads, end = units * (thread + 1) / threads,
  /// and tokens from `first` on are a step of their own at position + first.
  llvm::Expected<LLVM::LLVMFuncOp> headLauncher(kernel::FuncOp callee, const KernelSpec &spec) {
    LLVM::LLVMFuncOp &made = launchers[callee.getSymName()];
    const KernelInterface interface = kernelInterface(spec);
    const size_t count = interface.arguments.size();
    LLVM::LLVMFuncOp kernel = declareKernel(callee, count);

    OpBuilder::InsertionGuard guard(builder);
    made = declareLauncher("launch." + callee.getSymName(), SmallVector<Type>(count, pointer));
    Block *entry = made.addEntryBlock(builder);
    Block *loop = builder.createBlock(&made.getBody(), {}, {i32}, {builder.getLoc()}),
          *work = builder.createBlock(&made.getBody()),
          *done = builder.createBlock(&made.getBody());
    builder.setInsertionPointToStart(entry);
    Value context = entry->getArgument(0), thread = entry->getArgument(1),
          threads = entry->getArgument(2);
    auto add = [&](Value a, Value b) -> Value { return LLVM::AddOp::create(builder, a, b); };
    auto subtract = [&](Value a, Value b) -> Value { return LLVM::SubOp::create(builder, a, b); };
    auto multiply = [&](Value a, Value b) -> Value { return LLVM::MulOp::create(builder, a, b); };
    Value tokens = loadField(context, token_count, i32), step = constant(i32, kTokenPadding);
    Value per_head =
        LLVM::UDivOp::create(builder, add(tokens, constant(i32, kTokenPadding - 1)), step);
    Value units = multiply(constant(i32, interface.slices), per_head);
    auto share = [&](Value of) -> Value {
      return LLVM::UDivOp::create(builder, multiply(units, of), threads);
    };
    Value begin = share(thread), end = share(add(thread, constant(i32, 1)));
    Value buffers = makeBuffers(count);
    LLVM::BrOp::create(builder, begin, loop);

    builder.setInsertionPointToStart(loop);
    Value unit = loop->getArgument(0);
    Value any = LLVM::ICmpOp::create(builder, LLVM::ICmpPredicate::ult, unit, end);
    LLVM::CondBrOp::create(builder, any, work, done);

    builder.setInsertionPointToStart(work);
    Value head = LLVM::UDivOp::create(builder, unit, per_head);
    Value part = LLVM::URemOp::create(builder, unit, per_head);
    Value taken = LLVM::UMinOp::create(builder, subtract(end, unit), subtract(per_head, part));
    Value first = multiply(part, step);
    Value extent = LLVM::UMinOp::create(builder, multiply(taken, step), subtract(tokens, first));
    SmallVector<Value> hosts(entry->getArguments().drop_front(3));
    for (auto [host, argument] : llvm::zip(hosts, interface.arguments)) {
      const KernelValue::Kind kind = spec.values[argument.value].kind;
      if (kind == KernelValue::Kind::rows || kind == KernelValue::Kind::angles)
        host = advance(host, bytesFrom(first, bufferBytes(spec, argument.value, argument.part) /
                                                  paddedTokens(spec.max_tokens)));
      if (argument.slice_stride_bytes)
        host = advance(host, bytesFrom(head, argument.slice_stride_bytes));
    }
    callKernel(made, kernel, buffers,
               {head, constant(i32, 1), extent, add(loadField(context, position, i32), first)},
               hosts);
    LLVM::BrOp::create(builder, add(unit, taken), loop);
    finish(made, done);
    return made;
  }

  /// The steps of one variant and their addresses, as `ingot_steps` has them.
  llvm::Error lowerVariant(const DeviceSteps &device) {
    for (auto *made : {&kernels, &launchers, &sequence_launchers})
      made->clear();
    batches.clear();
    for (StringRef name : {"decode", "prefill", "score"})
      if (!planned.lookupSymbol<func::FuncOp>(name))
        return inputError("", "", "step function '" + name + "' is missing");
    for (auto step : planned.getOps<func::FuncOp>()) {
      if (device.device.empty())
        if (llvm::Error error = lowerStep(step))
          return error;
      if (step->hasAttr("batch"))
        batches.push_back(step);
    }
    if (batches.size() > INGOT_MAX_BATCH_STEPS)
      return inputError(
          "", "", "there are more than " + llvm::Twine(INGOT_MAX_BATCH_STEPS) + " batch steps");
    const bool functions = device.device.empty();
    for (StringRef name : {"decode", "prefill", "score"})
      steps.push_back(functions ? address(functionName(name)) : nullPointer());
    for (size_t i = 0; i < INGOT_MAX_BATCH_STEPS; ++i)
      steps.push_back(functions && i < batches.size()
                          ? address(functionName(batches[i].getSymName()))
                          : nullPointer());
    steps.push_back(functions && planned.lookupSymbol<func::FuncOp>("embed")
                        ? address(functionName("embed"))
                        : nullPointer());
    if (functions) {
      llvm::append_range(steps, ArrayRef{nullPointer(), nullPointer(), number(i64, 0)});
      return llvm::Error::success();
    }
    builder.setInsertionPointToEnd(module.getBody());
    LLVM::GlobalOp::create(builder, builder.getI8Type(), true, LLVM::Linkage::External,
                           device.device, Attribute());
    const std::string name = "ingot_device_code" + suffix;
    emitBytes(name, device.code, kKernelsSection);
    llvm::append_range(
        steps, ArrayRef{address(device.device), address(name), number(i64, device.code.size())});
    return llvm::Error::success();
  }

  /// A constant that only this object sees.
  void emitBytes(StringRef name, StringRef contents, StringRef section) {
    auto type = LLVM::LLVMArrayType::get(builder.getI8Type(), contents.size());
    auto global =
        LLVM::GlobalOp::create(builder, type, /*isConstant=*/true, LLVM::Linkage::Internal, name,
                               builder.getStringAttr(contents), /*alignment=*/64);
    global.setSection(section);
  }

  /// Where the weights of the next launch that has a matrix begin and how many of their bytes to
  /// fetch while waiting; nothing where many tokens share them.
  llvm::Expected<std::pair<int64_t, int64_t>> nextWeights(Operation &barrier) {
    for (Operation *op = barrier.getNextNode(); op; op = op->getNextNode()) {
      auto launch = dyn_cast<kernel::LaunchOp>(op);
      if (!launch || launch.getPerSequence())
        continue;
      kernel::FuncOp callee = kernel::calleeOf(launch);
      auto spec = kernel::specOf(callee);
      auto uses = kernel::bufferUses(launch);
      if (!spec || !uses)
        return llvm::joinErrors(spec.takeError(), uses.takeError());
      for (const kernel::BufferUse &use : *uses)
        if (use.space == kernel::BufferUse::Space::weights &&
            spec->values[use.argument.value].kind == KernelValue::Kind::matrix)
          return std::pair(use.offset, spec->max_tokens == 1
                                           ? std::min(use.bytes, fetched_while_waiting)
                                           : int64_t(0));
    }
    return std::pair(int64_t(0), int64_t(0));
  }

  llvm::Error lowerStep(func::FuncOp step) {
    auto function = declare(functionName(step.getSymName()), step_type);
    Block *entry = function.addEntryBlock(builder);
    builder.setInsertionPointToStart(entry);
    Value context = entry->getArgument(0);
    Value bases[] = {loadField(context, arena, pointer), loadField(context, weights, pointer),
                     loadField(context, tokens, pointer), loadField(context, logits, pointer),
                     LLVM::LoadOp::create(builder, pointer, loadField(context, caches, pointer))};
    for (Operation &op : step.getBody().front()) {
      if (isa<kernel::BarrierOp>(op)) {
        auto next = nextWeights(op);
        if (!next)
          return next.takeError();
        SmallVector<Value> operands(entry->getArguments());
        if (next->second)
          operands.append(
              {advance(bases[1], constant(i64, next->first)), constant(i64, next->second)});
        LLVM::CallOp::create(builder, barrierLauncher(next->second != 0), operands);
        continue;
      }
      auto launch = dyn_cast<kernel::LaunchOp>(op);
      if (!launch)
        continue;
      auto uses = kernel::bufferUses(launch);
      if (!uses)
        return uses.takeError();
      const bool each = launch.getPerSequence();
      auto callee = each ? sequenceLauncher(kernel::calleeOf(launch), *uses)
                         : launcher(kernel::calleeOf(launch));
      if (!callee)
        return callee.takeError();
      SmallVector<Value> operands(entry->getArguments());
      for (const kernel::BufferUse &use : *uses) {
        if (each && use.space == kernel::BufferUse::Space::cache) {
          operands.push_back(constant(i64, use.offset));
          continue;
        }
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
    emitBytes("ingot_manifest", constants.manifest, kManifestSection);
    // Packed weights are linked as their own section, far from the code.
    if (!constants.split)
      LLVM::GlobalOp::create(builder, builder.getI8Type(), true, LLVM::Linkage::External,
                             "ingot_weights", Attribute());

    auto maxTokens = [&](StringRef name) {
      return planned.lookupSymbol<func::FuncOp>(name)
          ->getAttrOfType<IntegerAttr>("max_tokens")
          .getInt();
    };
    emitConstant("ingot_variants", LLVM::Linkage::Internal, steps);
    std::vector<Field> fields = {
        number(i32, INGOT_PROGRAM_ABI),
        number(i32, variants.size()),
        address("ingot_manifest"),
        number(i64, constants.manifest.size()),
        constants.split ? nullPointer() : address("ingot_weights"),
        number(i64, constants.weight_bytes),
        number(i64, constants.arena_bytes),
        number(i64, constants.cache_bytes),
        address("ingot_variants"),
        number(i32, maxTokens("prefill")),
        number(i32, maxTokens("score")),
        number(i32, constants.vocab_size),
        number(i32, logitsStride(constants.vocab_size)),
        number(i32, constants.context_length),
        number(i32, batches.size()),
    };
    for (size_t i = 0; i < INGOT_MAX_BATCH_STEPS; ++i)
      fields.push_back(number(i32, i < batches.size() ? maxTokens(batches[i].getSymName()) : 0));
    emitConstant("ingot_main_program", LLVM::Linkage::External, fields);
  }

  /// One field of a constant: its value is made where the constant's initializer is.
  struct Field {
    Type type;
    std::function<Value()> value;
  };
  Field number(Type type, int64_t n) {
    return {type, [=, this] { return constant(type, n); }};
  }
  Field address(const Twine &name) {
    return {pointer, [symbol = name.str(), this] {
              return LLVM::AddressOfOp::create(builder, pointer, symbol).getResult();
            }};
  }
  Field nullPointer() {
    return {pointer, [this] { return LLVM::ZeroOp::create(builder, pointer).getResult(); }};
  }

  void emitConstant(StringRef name, LLVM::Linkage linkage, ArrayRef<Field> fields) {
    OpBuilder::InsertionGuard guard(builder);
    SmallVector<Type> types;
    for (const Field &field : fields)
      types.push_back(field.type);
    auto type = LLVM::LLVMStructType::getLiteral(builder.getContext(), types);
    auto global = LLVM::GlobalOp::create(builder, type, true, linkage, name, Attribute());
    Block *block = builder.createBlock(&global.getInitializerRegion());
    builder.setInsertionPointToStart(block);
    Value value = LLVM::UndefOp::create(builder, type);
    for (auto [index, field] : llvm::enumerate(fields))
      value = LLVM::InsertValueOp::create(builder, value, field.value(), index);
    LLVM::ReturnOp::create(builder, value);
  }

  /// Not as functions of ingot.h are called: there is ingot_embed.
  std::string functionName(StringRef step) const { return ("ingot_step_" + step + suffix).str(); }

  ArrayRef<StepVariant> variants;
  bool gives_near_memory = false; ///< StepVariant::near_memory
  std::vector<Field> steps;       ///< of all variants
  // The variant at hand.
  ModuleOp planned;
  std::string suffix;
  SmallVector<func::FuncOp> batches;
  const ProgramConstants &constants;
  ImplicitLocOpBuilder builder;
  ModuleOp module;
  Type pointer, i32, i64;
  LLVM::LLVMFunctionType step_type;
  LLVM::LLVMStructType context_type;
  llvm::StringMap<LLVM::LLVMFuncOp> kernels, launchers, sequence_launchers;
};

} // namespace

llvm::Expected<OwningOpRef<ModuleOp>> lowerSteps(ArrayRef<StepVariant> variants,
                                                 const ProgramConstants &constants) {
  return StepLowering(variants, constants).run();
}

} // namespace ingot
