#include "dialects/kernel/Spec.h"

#include "support/Error.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace ingot::kernel {

Tile tileFrom(TileAttr attribute) {
  return {attribute.getTokens(), attribute.getStreams(), attribute.getKeys()};
}

PackedLayout layoutFrom(LayoutAttr attribute) {
  CodeKind scale = CodeKind::none;
  if (isa<Float8E8M0FNUType>(attribute.getScale()))
    scale = CodeKind::e8m0;
  else if (auto encoding = lm::encodingOf(attribute.getScale()))
    scale = encoding->code;
  return {attribute.getRows(), attribute.getKInner(), attribute.getBits(), scale};
}

LayoutAttr layoutAttr(MLIRContext *context, const PackedLayout &layout) {
  Type scale = layout.scale_type == CodeKind::none ? Type(NoneType::get(context))
               : layout.scale_type == CodeKind::e8m0
                   ? Type(Float8E8M0FNUType::get(context))
                   : lm::elementTypeFor(context, {layout.scale_type, 0, 1, {}, {}});
  return LayoutAttr::get(context, layout.rows, layout.k_inner, layout.code_bits, scale);
}

FuncOp calleeOf(LaunchOp launch) {
  return SymbolTable::lookupNearestSymbolFrom<FuncOp>(launch, launch.getCalleeAttr());
}

int64_t tokensOf(func::FuncOp step) {
  auto tokens = step->getAttrOfType<IntegerAttr>("max_tokens");
  return tokens ? tokens.getInt() : 1;
}

SmallVector<func::FuncOp> stepsOf(ModuleOp planned) {
  SmallVector<func::FuncOp> steps;
  for (StringRef name : {"decode", "prefill", "score"})
    if (auto step = planned.lookupSymbol<func::FuncOp>(name))
      steps.push_back(step);
  for (auto step : planned.getOps<func::FuncOp>())
    if (step->hasAttr("batch"))
      steps.push_back(step);
  if (auto step = planned.lookupSymbol<func::FuncOp>("embed"))
    steps.push_back(step);
  return steps;
}

static bool isPosition(Value value) { return value.getType().isInteger(32); }

namespace {
class SpecBuilder {
public:
  explicit SpecBuilder(FuncOp function) : function(function) {}

  llvm::Expected<KernelSpec> build() {
    spec.name = function.getSymName();
    spec.max_tokens = static_cast<int32_t>(function.getMaxTokens());
    if (auto tile = function.getTile())
      spec.tile = tileFrom(*tile);
    for (BlockArgument argument : function.getBody().front().getArguments()) {
      if (isPosition(argument))
        continue;
      const int32_t index = add(argument);
      if (index < 0)
        return inputError("", "kernel '" + spec.name + "'", "unexpected argument type");
      if (auto layout =
              function.getArgAttrOfType<LayoutAttr>(argument.getArgNumber(), "kernel.layout"))
        spec.values[index].layout = layoutFrom(layout);
      if (!isWrittenCache(argument))
        spec.inputs.push_back(index);
    }
    Operation *terminator = function.getBody().front().getTerminator();
    for (Operation &op : function.getBody().front().without_terminator())
      if (llvm::Error error = addOp(op))
        return error;
    for (Value value : terminator->getOperands())
      spec.outputs.push_back(numbers.lookup(value));
    for (BlockArgument argument : function.getBody().front().getArguments())
      if (isWrittenCache(argument))
        spec.outputs.push_back(numbers.lookup(argument));
    return std::move(spec);
  }

private:
  static bool isWrittenCache(Value value) {
    return isa<lm::CacheType>(value.getType()) &&
           llvm::any_of(value.getUsers(), [](Operation *op) { return isa<lm::AppendOp>(op); });
  }

  int32_t add(Value value) {
    KernelValue data;
    Type type = value.getType();
    if (auto cache = dyn_cast<lm::CacheType>(type)) {
      data.kind = KernelValue::Kind::cache;
      data.width = cache.getKvHeads() * cache.getHeadDim();
      spec.context = static_cast<int32_t>(cache.getPositions());
      spec.kv = cache.getElementType().isInteger() ? CodeKind::i
                : cache.getElementType().isF16()   ? CodeKind::f16
                                                   : CodeKind::f32;
    } else if (lm::isTokens(type)) {
      data.kind = KernelValue::Kind::tokens;
    } else if (lm::isVector(type)) {
      data.kind = KernelValue::Kind::vector;
      data.width = cast<RankedTensorType>(type).getDimSize(0);
    } else if (isa<BlockArgument>(value) && isWeight(value)) {
      auto matrix = cast<RankedTensorType>(type);
      data.kind = KernelValue::Kind::matrix;
      data.height = matrix.getDimSize(0);
      data.width = matrix.getDimSize(1);
      data.encoding = *lm::encodingOf(matrix.getElementType());
    } else if (lm::isRows(type)) {
      data.kind = isAngles(value) ? KernelValue::Kind::angles : KernelValue::Kind::rows;
      data.width = lm::columnsOf(value);
    } else if (lm::isQuantizedRows(type)) {
      data.kind = KernelValue::Kind::quant;
      data.width = lm::columnsOf(value);
      data.encoding = *lm::encodingOf(cast<RankedTensorType>(type).getElementType());
    } else {
      return -1;
    }
    const int32_t index = static_cast<int32_t>(spec.values.size());
    spec.values.push_back(data);
    numbers[value] = index;
    return index;
  }

  static bool isWeight(Value value) {
    return llvm::any_of(value.getUses(), [](OpOperand &use) {
      return use.getOperandNumber() == 1 &&
             isa<lm::LinearOp, lm::LogitsOp, lm::EmbeddingOp>(use.getOwner());
    });
  }
  static bool isAngles(Value value) {
    return value.getDefiningOp<lm::RopeAnglesOp>() ||
           llvm::any_of(value.getUses(), [](OpOperand &use) {
             return use.getOperandNumber() == 1 && isa<lm::RopeOp>(use.getOwner());
           });
  }

  llvm::Error addOp(Operation &op) {
    // Gate and up stay interleaved: silu_mul reads what lm.split would take apart.
    if (isa<lm::SplitOp>(op))
      return llvm::Error::success();
    KernelOp out;
    auto operands = [&](ValueRange values) {
      for (Value value : values)
        out.operands.push_back(numbers.lookup(value));
    };
    using Kind = KernelOp::Kind;
    bool known = true;
    llvm::TypeSwitch<Operation *>(&op)
        .Case([&](lm::EmbeddingOp) { out.kind = Kind::embedding, operands(op.getOperands()); })
        .Case([&](lm::RmsNormOp norm) {
          out.kind = Kind::rms_norm, operands(op.getOperands());
          out.eps = norm.getEps().convertToDouble();
        })
        .Case([&](lm::QuantizeOp quantize) {
          out.kind = Kind::quantize, operands(op.getOperands());
          auto type = cast<RankedTensorType>(quantize.getResult().getType());
          out.act_group = lm::encodingOf(type.getElementType())->group_size;
        })
        .Case<lm::LinearOp, lm::LogitsOp>([&](auto) {
          out.kind = Kind::linear, operands(op.getOperands());
          const KernelValue &x = spec.values[out.operands[0]];
          if (x.kind == KernelValue::Kind::quant)
            out.act_group = x.encoding.group_size;
        })
        .Case([&](lm::AddOp) { out.kind = Kind::add, operands(op.getOperands()); })
        .Case([&](lm::SiluMulOp silu) {
          auto split = silu.getGate().getDefiningOp<lm::SplitOp>();
          known = split && split.getSecond() == silu.getUp();
          out.kind = Kind::silu_mul;
          if (known)
            operands(split.getX());
        })
        .Case([&](lm::LastTokenOp) { out.kind = Kind::last_token, operands(op.getOperands()); })
        .Case([&](lm::RopeAnglesOp angles) {
          out.kind = Kind::rope_angles;
          out.head_dim = static_cast<int32_t>(lm::columnsOf(angles.getResult()));
          out.rope_theta = angles.getTheta().convertToDouble();
        })
        .Case([&](lm::RopeOp rope) {
          out.kind = Kind::rope, operands(op.getOperands());
          out.head_dim = static_cast<int32_t>(lm::columnsOf(rope.getAngles()));
          out.heads = static_cast<int32_t>(lm::columnsOf(rope.getX())) / out.head_dim;
          out.interleaved = rope.getInterleaved();
        })
        .Case([&](lm::SliceOp slice) {
          out.kind = Kind::slice, operands(op.getOperands());
          out.offset = static_cast<int32_t>(slice.getOffset());
        })
        .Case([&](lm::AppendOp append) {
          out.kind = Kind::append;
          operands({append.getKeys(), append.getValues(), append.getCache()});
          auto cache = cast<lm::CacheType>(append.getCache().getType());
          out.kv_heads = static_cast<int32_t>(cache.getKvHeads());
          out.head_dim = static_cast<int32_t>(cache.getHeadDim());
        })
        .Case([&](lm::AttentionOp attention) {
          out.kind = Kind::attention;
          operands({attention.getQ(), attention.getCache()});
          auto cache = cast<lm::CacheType>(attention.getCache().getType());
          out.kv_heads = static_cast<int32_t>(cache.getKvHeads());
          out.head_dim = static_cast<int32_t>(cache.getHeadDim());
          out.heads = static_cast<int32_t>(lm::columnsOf(attention.getQ())) / out.head_dim;
          out.scale = attention.getScale().convertToDouble();
        })
        .Default([&](Operation *) { known = false; });
    if (!known && isa<lm::SiluMulOp>(op))
      return inputError("", "gated MLP",
                        "gate and up could not be merged into one matrix: their formats differ, or "
                        "feed_forward_length is not a multiple of 16",
                        "--quantize gives both the same format");
    if (!known)
      return inputError("", "kernel '" + spec.name + "'",
                        "operation '" + op.getName().getStringRef() +
                            "' cannot become a kernel here");
    if (op.getNumResults())
      out.result = add(op.getResult(0));
    spec.ops.push_back(std::move(out));
    return llvm::Error::success();
  }

  FuncOp function;
  KernelSpec spec;
  DenseMap<Value, int32_t> numbers;
};

/// The value of a spec that a launch's operand or result is, by the callee's numbering.
struct LaunchValues {
  SmallVector<Value> ir; // IR value of each KernelSpec value that has memory

  LaunchValues(LaunchOp launch, const KernelSpec &spec) : ir(spec.values.size()) {
    int32_t next = 0;
    for (Value operand : launch.getInputs())
      if (!isPosition(operand))
        ir[next++] = operand;
    for (auto [index, result] : llvm::enumerate(launch.getResults()))
      ir[spec.outputs[index]] = result;
  }
};
} // namespace

llvm::Expected<KernelSpec> specOf(FuncOp function) { return SpecBuilder(function).build(); }

/// The launched kernel with as many tokens as its buffers hold: a step's where a kernel of one
/// token runs once for each.
static llvm::Expected<KernelSpec> memorySpecOf(LaunchOp launch) {
  auto spec = specOf(calleeOf(launch));
  if (spec && launch.getPerSequence())
    spec->max_tokens = static_cast<int32_t>(
        launch->getParentOp()->getAttrOfType<IntegerAttr>("max_tokens").getInt());
  return spec;
}

SmallVector<int64_t> partOffsets(Value value) {
  SmallVector<int64_t> sizes;
  auto grow = [&](LaunchOp launch) {
    auto spec = memorySpecOf(launch);
    if (!spec)
      return llvm::consumeError(spec.takeError()); // reported where the kernel is compiled
    const LaunchValues values(launch, *spec);
    for (auto [index, ir] : llvm::enumerate(values.ir)) {
      if (ir != value)
        continue;
      const int32_t parts = bufferCount(spec->values[index], spec->kv);
      sizes.resize(std::max<size_t>(sizes.size(), parts));
      for (int32_t part = 0; part < parts; ++part)
        sizes[part] = std::max(sizes[part], bufferBytes(*spec, index, part));
    }
  };
  if (auto launch = value.getDefiningOp<LaunchOp>())
    grow(launch);
  for (Operation *user : value.getUsers())
    if (auto launch = dyn_cast<LaunchOp>(user))
      grow(launch);
  SmallVector<int64_t> offsets{0};
  for (int64_t size : sizes)
    offsets.push_back(offsets.back() + alignLine(size));
  return offsets;
}

llvm::Expected<std::vector<BufferUse>> bufferUses(LaunchOp launch) {
  auto spec = memorySpecOf(launch);
  if (!spec)
    return spec.takeError();
  KernelSpec row = *spec; // its buffers hold one token
  row.max_tokens = 1;
  const LaunchValues values(launch, *spec);
  const KernelInterface interface = kernelInterface(*spec);
  auto module = launch->getParentOfType<ModuleOp>();
  std::vector<BufferUse> uses;
  for (auto [position, argument] : llvm::enumerate(interface.arguments)) {
    Value value = values.ir[argument.value];
    BufferUse use{BufferUse::Space::arena,
                  0,
                  bufferBytes(*spec, argument.value, argument.part),
                  llvm::is_contained(spec->outputs, argument.value),
                  argument,
                  0};
    if (launch.getPerSequence() && hasTokens(spec->values[argument.value]))
      use.token_bytes = bufferBytes(row, argument.value, argument.part);
    if (auto block_argument = dyn_cast<BlockArgument>(value)) {
      (void)block_argument;
      use.space = BufferUse::Space::tokens;
    } else if (auto ref = value.getDefiningOp<lm::RefOp>()) {
      Operation *symbol = module.lookupSymbol(ref.getSymbol());
      int64_t part_offset = 0;
      for (int32_t part = 0; part < argument.part; ++part)
        part_offset += alignLine(bufferBytes(*spec, argument.value, part));
      auto offset = symbol->getAttrOfType<IntegerAttr>("offset");
      if (!offset)
        return inputError("", "'" + ref.getSymbol() + "'", "has no place yet");
      use.space = isa<lm::WeightOp>(symbol) ? BufferUse::Space::weights : BufferUse::Space::cache;
      use.offset = offset.getInt() + part_offset;
    } else {
      auto producer = value.getDefiningOp<LaunchOp>();
      auto result = cast<OpResult>(value);
      if (!producer || !producer.getOffsets())
        return inputError("", "launch of '" + launch.getCallee() + "'",
                          "memory is not planned yet");
      const int64_t base = (*producer.getOffsets())[result.getResultNumber()];
      if (base < 0)
        use.space = BufferUse::Space::logits;
      else
        use.offset = base + partOffsets(value)[argument.part];
    }
    uses.push_back(use);
  }
  return uses;
}

} // namespace ingot::kernel
