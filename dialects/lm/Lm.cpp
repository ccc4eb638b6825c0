// Types and verifiers of the lm dialect. Constraint numbers are those of LmOps.td.
#include "dialects/lm/Lm.h"

#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace ingot::lm;

#include "dialects/lm/LmDialect.cpp.inc"
#include "dialects/lm/LmTypeInterfaces.cpp.inc"

#define GET_TYPEDEF_CLASSES
#include "dialects/lm/LmTypes.cpp.inc"

#define GET_OP_CLASSES
#include "dialects/lm/LmOps.cpp.inc"

void LmDialect::initialize() {
  addTypes<
#define GET_TYPEDEF_LIST
#include "dialects/lm/LmTypes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialects/lm/LmOps.cpp.inc"
      >();
}

namespace ingot::lm {

//===--- Types -----------------------------------------------------------------===//

std::optional<Encoding> encodingOf(Type elementType) {
  if (auto encoded = dyn_cast<EncodedTypeInterface>(elementType))
    return encoded.getEncoding();
  if (elementType.isF32())
    return Encoding{CodeKind::f32, 32, 1, {}, {}};
  if (elementType.isF16())
    return Encoding{CodeKind::f16, 16, 1, {}, {}};
  if (elementType.isBF16())
    return Encoding{CodeKind::bf16, 16, 1, {}, {}};
  return std::nullopt;
}

Type elementTypeFor(MLIRContext *context, const Encoding &encoding) {
  switch (encoding.code) {
  case CodeKind::f32:
    return Float32Type::get(context);
  case CodeKind::f16:
    return Float16Type::get(context);
  case CodeKind::bf16:
    return BFloat16Type::get(context);
  default:
    return QuantType::get(context, encoding);
  }
}

static RankedTensorType tensor2d(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor && tensor.getRank() == 2 && !tensor.isDynamicDim(1) ? tensor : RankedTensorType();
}

bool isRows(Type type) {
  auto tensor = tensor2d(type);
  return tensor && tensor.getElementType().isF32();
}

bool isQuantizedRows(Type type) {
  auto tensor = tensor2d(type);
  auto quant = tensor ? dyn_cast<QuantType>(tensor.getElementType()) : QuantType();
  if (!quant)
    return false;
  const Encoding format = quant.getFormat();
  const bool halves = format.code == CodeKind::f16 && format.scale.type != CodeKind::none;
  return (halves || (format.code == CodeKind::i && (format.bits == 8 || format.bits == 16))) &&
         format.group_size && format.scale == ScaleFormat{CodeKind::f32} && format.symmetric();
}

bool isMatrix(Type type) {
  auto tensor = tensor2d(type);
  const auto encoding = tensor ? encodingOf(tensor.getElementType()) : std::nullopt;
  return encoding && !tensor.isDynamicDim(0) && (encoding->isFloat() || encoding->bits <= 8);
}

bool isVector(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor && tensor.getRank() == 1 && tensor.hasStaticShape() &&
         tensor.getElementType().isF32();
}

bool isTokens(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor && tensor.getRank() == 1 && tensor.getElementType().isInteger(32);
}

Encoding QuantType::getEncoding() const { return getFormat(); }

void QuantType::print(AsmPrinter &printer) const { printer << "<" << getFormat().str() << ">"; }

// The words are put back together and parsed by Encoding::parse, so that IR, command line and
// inspect share one grammar.
Type QuantType::parse(AsmParser &parser) {
  std::string text;
  SMLoc location = parser.getCurrentLocation();
  if (parser.parseLess())
    return {};
  while (failed(parser.parseOptionalGreater())) {
    StringRef word;
    if (succeeded(parser.parseOptionalComma()))
      text += ", ";
    else if (succeeded(parser.parseOptionalPlus()))
      text += "+";
    else if (succeeded(parser.parseOptionalStar()))
      text += "*";
    else if (succeeded(parser.parseOptionalKeyword(&word)))
      text += word;
    else
      return parser.emitError(location, "expected a number format such as `u4, g32, f16+f16`"),
             Type();
  }
  if (auto format = Encoding::parse(text); format && !format->isFloat())
    return get(parser.getContext(), *format);
  parser.emitError(location) << "'" << text
                             << "' is not a number format; expected for example `u4, g32, f16+f16`";
  return {};
}

void CacheType::print(AsmPrinter &printer) const {
  printer << "<" << getPositions() << "x" << getKvHeads() << "x" << getHeadDim() << "x"
          << getElementType() << ">";
}

Type CacheType::parse(AsmParser &parser) {
  SmallVector<int64_t, 3> dims;
  Type element;
  SMLoc location = parser.getCurrentLocation();
  if (parser.parseLess() || parser.parseDimensionList(dims, /*allowDynamic=*/false) ||
      parser.parseType(element) || parser.parseGreater())
    return {};
  if (dims.size() != 3) {
    parser.emitError(location, "expected context x kv_heads x head_dim x element type");
    return {};
  }
  return getChecked([&] { return parser.emitError(location); }, parser.getContext(), dims[0],
                    dims[1], dims[2], element);
}

LogicalResult CacheType::verify(function_ref<InFlightDiagnostic()> emitError, int64_t context,
                                int64_t kvHeads, int64_t headDim, Type elementType) {
  if (context < 1 || kvHeads < 1 || headDim < 1)
    return emitError() << "cache dimensions must be positive, found " << context << "x" << kvHeads
                       << "x" << headDim;
  if (!elementType.isF16() && !elementType.isF32() && !elementType.isSignlessInteger(16))
    return emitError() << "cache elements must be i16, f16 or f32, found " << elementType;
  if (elementType.isSignlessInteger(16) && headDim % 2)
    return emitError() << "i16 cache elements come in pairs, found head_dim " << headDim;
  return success();
}

//===--- Verifiers ---------------------------------------------------------------===//

RankedTensorType WeightOp::getTensorType() { return cast<RankedTensorType>(getType()); }

Encoding WeightOp::getEncoding() { return *encodingOf(getTensorType().getElementType()); }

bool WeightOp::isPlain() {
  return !getScale() && llvm::all_of(getSources(), [&](Attribute source) {
    return cast<ElementsAttr>(source).getElementType() == getTensorType().getElementType();
  });
}

LogicalResult WeightOp::verify() {
  RankedTensorType type = getTensorType();
  if (!isMatrix(type) && !isVector(type))
    return emitOpError("type must be a matrix or an f32 vector, found ") << type;
  if (getSources().empty())
    return emitOpError("(c1) expected at least one source");
  const int64_t columns = type.getShape().back();
  int64_t rows = 0, first_rows = -1;
  for (auto [index, attribute] : llvm::enumerate(getSources())) {
    auto source = dyn_cast<ElementsAttr>(attribute);
    auto source_type = source ? dyn_cast<RankedTensorType>(source.getType()) : RankedTensorType();
    if (!source_type || source_type.getRank() != type.getRank() ||
        !encodingOf(source_type.getElementType()))
      return emitOpError("source ") << index << " must be a tensor like " << type;
    if (source_type.getShape().back() != columns)
      return emitOpError("(c1) source ") << index << " has " << source_type.getShape().back()
                                         << " columns, expected " << columns;
    const int64_t source_rows = type.getRank() == 1 ? 1 : source_type.getDimSize(0);
    rows += source_rows;
    if (first_rows < 0)
      first_rows = source_rows;
    if (auto blocks = getInterleave();
        blocks && (source_rows != first_rows || *blocks < 1 || source_rows % *blocks))
      return emitOpError("(c3) interleave ")
             << *blocks << " needs sources of equal rows, a multiple of " << *blocks << "; source "
             << index << " has " << source_rows;
  }
  const int64_t expected = type.getRank() == 1 ? 1 : type.getDimSize(0);
  if (rows != expected)
    return emitOpError("(c2) sources have ") << rows << " rows together, expected " << expected;
  if (auto scale = getScale()) {
    auto scale_type = dyn_cast<RankedTensorType>(scale->getType());
    if (!scale_type || !isVector(scale_type) || scale_type.getDimSize(0) != columns)
      return emitOpError("(c4) scale must be tensor<")
             << columns << "xf32>, found " << scale->getType();
  }
  if (getEncoding().twoLevel() && !isPlain())
    return emitOpError("(c5) ") << getEncoding().str()
                                << " is read from files, never rounded to: sources must have it, "
                                   "and no scale";
  return success();
}

LogicalResult RefOp::verifySymbolUses(SymbolTableCollection &tables) {
  Operation *target = tables.lookupNearestSymbolFrom(*this, getSymbolAttr());
  Type expected;
  if (auto weight = dyn_cast_or_null<WeightOp>(target))
    expected = weight.getType();
  else if (auto cache = dyn_cast_or_null<KvCacheOp>(target))
    expected = cache.getType();
  else
    return emitOpError("(c1) '") << getSymbol() << "' is not an lm.weight or lm.kv_cache";
  if (expected != getResult().getType())
    return emitOpError("(c2) '") << getSymbol() << "' is " << expected << ", the result is "
                                 << getResult().getType();
  return success();
}

static LogicalResult verifyRows(Operation *op, StringRef constraint, Value result, int64_t tokens,
                                int64_t columns) {
  if (tokensOf(result) != tokens || columnsOf(result) != columns) {
    auto show = [](int64_t n) {
      return ShapedType::isDynamic(n) ? std::string("?") : std::to_string(n);
    };
    return op->emitOpError() << constraint << " the result must be tensor<" << show(tokens) << "x"
                             << columns << "xf32>, found " << result.getType();
  }
  return success();
}

LogicalResult EmbeddingOp::verify() {
  return verifyRows(*this, "(c1)", getResult(),
                    cast<RankedTensorType>(getTokens().getType()).getDimSize(0),
                    columnsOf(getTable()));
}

LogicalResult RmsNormOp::verify() {
  const int64_t gain = cast<RankedTensorType>(getGain().getType()).getDimSize(0);
  if (gain != columnsOf(getX()))
    return emitOpError("(c1) gain has ")
           << gain << " elements, x has " << columnsOf(getX()) << " columns";
  if (!(getEps().convertToDouble() >= 0))
    return emitOpError("(c2) eps must not be negative");
  return success();
}

LogicalResult QuantizeOp::verify() {
  auto quant = cast<QuantType>(cast<RankedTensorType>(getResult().getType()).getElementType());
  if (tokensOf(getResult()) != tokensOf(getX()) || columnsOf(getResult()) != columnsOf(getX()))
    return emitOpError("(c1) the result must have the shape of x, found ") << getResult().getType();
  if (columnsOf(getX()) % quant.getFormat().group_size)
    return emitOpError("(c1) ") << columnsOf(getX()) << " columns are not whole groups of "
                                << quant.getFormat().group_size;
  return success();
}

template <typename Op> static LogicalResult verifyMatmul(Op op) {
  auto weight = cast<RankedTensorType>(op.getWeight().getType());
  if (weight.getDimSize(1) != columnsOf(op.getX()))
    return op.emitOpError("(c1) weight has ")
           << weight.getDimSize(1) << " columns, x has " << columnsOf(op.getX());
  return verifyRows(op, "(c2)", op.getResult(), tokensOf(op.getX()), weight.getDimSize(0));
}
LogicalResult LinearOp::verify() { return verifyMatmul(*this); }
LogicalResult LogitsOp::verify() { return verifyMatmul(*this); }

LogicalResult RopeAnglesOp::verify() {
  const int64_t head_dim = columnsOf(getResult());
  if (cast<RankedTensorType>(getTokens().getType()).getDimSize(0) != tokensOf(getResult()) ||
      head_dim % 2)
    return emitOpError("(c1) expected the tokens of ")
           << getTokens().getType() << " and an even number of columns, found "
           << getResult().getType();
  if (!(getTheta().convertToDouble() > 0))
    return emitOpError("(c2) theta must be positive");
  return success();
}

LogicalResult RopeOp::verify() {
  if (columnsOf(getX()) % columnsOf(getAngles()) || tokensOf(getX()) != tokensOf(getAngles()))
    return emitOpError("(c1) x ") << getX().getType() << " is not whole heads of angles "
                                  << getAngles().getType();
  return success();
}

LogicalResult AppendOp::verify() {
  auto cache = cast<CacheType>(getCache().getType());
  const int64_t columns = cache.getKvHeads() * cache.getHeadDim();
  for (Value value : {getKeys(), getValues()})
    if (columnsOf(value) != columns || tokensOf(value) != tokensOf(getKeys()))
      return emitOpError("(c1) keys and values need ")
             << columns << " columns for " << cache << ", found " << value.getType();
  return success();
}

LogicalResult AttentionOp::verify() {
  auto cache = cast<CacheType>(getCache().getType());
  const int64_t columns = columnsOf(getQ());
  if (columns % cache.getHeadDim() || (columns / cache.getHeadDim()) % cache.getKvHeads())
    return emitOpError("(c1) q has ")
           << columns << " columns, not a multiple of " << cache.getKvHeads() << " kv_heads of "
           << cache.getHeadDim();
  return success();
}

LogicalResult SliceOp::verify() {
  const int64_t offset = static_cast<int64_t>(getOffset());
  if (offset < 0 || offset + columnsOf(getResult()) > columnsOf(getX()) ||
      tokensOf(getX()) != tokensOf(getResult()))
    return emitOpError("(c1) columns ") << offset << " to " << offset + columnsOf(getResult())
                                        << " are outside " << getX().getType();
  return success();
}

LogicalResult SplitOp::verify() {
  const int64_t blocks = static_cast<int64_t>(getBlocks());
  for (Value part : {getFirst(), getSecond()})
    if (blocks < 1 || columnsOf(part) * 2 != columnsOf(getX()) || columnsOf(part) % blocks ||
        tokensOf(part) != tokensOf(getX()))
      return emitOpError("(c1) ") << part.getType() << " is not half of " << getX().getType()
                                  << " in blocks of " << blocks;
  return success();
}

LogicalResult LastTokenOp::verify() {
  return verifyRows(*this, "(c1)", getResult(), 1, columnsOf(getX()));
}

//===--- lm.fused -----------------------------------------------------------------===//

void FusedOp::print(OpAsmPrinter &printer) {
  printer << " " << getAnchor() << " (";
  llvm::interleaveComma(llvm::zip(getBody().getArguments(), getInputs()), printer, [&](auto pair) {
    printer << std::get<0>(pair) << " = " << std::get<1>(pair);
  });
  printer << ") : (" << getInputs().getTypes() << ") -> (" << getResultTypes() << ") ";
  printer.printRegion(getBody(), /*printEntryBlockArgs=*/false);
  printer.printOptionalAttrDict((*this)->getAttrs(), {"anchor"});
}

ParseResult FusedOp::parse(OpAsmParser &parser, OperationState &state) {
  StringRef anchor;
  SmallVector<OpAsmParser::Argument> arguments;
  SmallVector<OpAsmParser::UnresolvedOperand> operands;
  SmallVector<Type> inputs, results;
  SMLoc location = parser.getCurrentLocation();
  auto binding = [&] {
    return failure(parser.parseArgument(arguments.emplace_back()) || parser.parseEqual() ||
                   parser.parseOperand(operands.emplace_back()));
  };
  if (parser.parseKeyword(&anchor) ||
      parser.parseCommaSeparatedList(AsmParser::Delimiter::Paren, binding) || parser.parseColon() ||
      parser.parseLParen() || parser.parseTypeList(inputs) || parser.parseRParen() ||
      parser.parseArrow() || parser.parseLParen())
    return failure();
  if (failed(parser.parseOptionalRParen()))
    if (parser.parseTypeList(results) || parser.parseRParen())
      return failure();
  if (inputs.size() != arguments.size())
    return parser.emitError(location)
           << inputs.size() << " types for " << arguments.size() << " inputs";
  for (auto [argument, type] : llvm::zip(arguments, inputs))
    argument.type = type;
  state.addAttribute("anchor", parser.getBuilder().getStringAttr(anchor));
  state.addTypes(results);
  if (parser.resolveOperands(operands, inputs, location, state.operands) ||
      parser.parseRegion(*state.addRegion(), arguments) ||
      parser.parseOptionalAttrDict(state.attributes))
    return failure();
  ensureTerminator(*state.regions.front(), parser.getBuilder(), state.location);
  return success();
}

LogicalResult FusedOp::verify() {
  Block &block = getBody().front();
  if (block.getArgumentTypes() != getInputs().getTypes())
    return emitOpError("(c1) block arguments do not have the types of the inputs");
  if (block.getTerminator()->getOperandTypes() != getResultTypes())
    return emitOpError("(c1) yielded values do not have the types of the results");
  if (llvm::none_of(block,
                    [&](Operation &op) { return op.getName().stripDialect() == getAnchor(); }))
    return emitOpError("(c2) anchor '") << getAnchor() << "' is not in the body";
  return success();
}

} // namespace ingot::lm
