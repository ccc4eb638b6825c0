// Builds decoder-only transformers from an Architecture table: norm, attention, residual, norm,
// gated MLP, residual, for each layer.
#include "frontend/architectures/Architecture.h"

#include "dialects/lm/Lm.h"
#include "support/Error.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/AsmState.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "llvm/ADT/StringSet.h"

#include <cmath>

using namespace mlir;

namespace ingot {
namespace {

// Far above every model there is; they keep sizes computed from metadata far from overflow.
constexpr int64_t max_layers = 1024, max_extent = 1 << 24, max_heads = 4096, max_context = 1 << 24;

class DecoderBuilder {
public:
  DecoderBuilder(MLIRContext &context, const GgufFile &file, const Architecture &architecture,
                 const ImportOptions &options, ModelInfo &info)
      : file(file), architecture(architecture), options(options), info(info), builder(&context) {}

  llvm::Expected<OwningOpRef<ModuleOp>> build() {
    if (llvm::Error error = readHyperparameters())
      return error;
    OwningOpRef<ModuleOp> owner = ModuleOp::create(builder, nameLocation(file.name()));
    module = *owner;
    builder.setInsertionPointToEnd(module.getBody());
    if (llvm::Error error = declareWeights())
      return error;
    if (llvm::Error error = rejectUnknownTensors())
      return error;
    declareCaches();
    buildForward();
    return owner;
  }

private:
  //===--- Metadata ---===//

  llvm::Error fieldError(const Twine &key, const Twine &message) {
    return inputError(file.name(), "field '" + key + "'", message);
  }

  llvm::Error readInteger(StringRef name, int64_t &out, int64_t limit,
                          std::optional<int64_t> fallback = std::nullopt) {
    const std::string key = info.architecture + "." + name.str();
    auto value = file.getInteger(key);
    if (!value)
      return value.takeError();
    if (!*value && !fallback)
      return fieldError(key, "is missing");
    if (!*value) {
      out = *fallback;
      return llvm::Error::success();
    }
    if (**value < 1 || **value > limit)
      return fieldError(key, "is " + Twine(**value) + ", expected 1 to " + grouped(limit));
    out = **value;
    return llvm::Error::success();
  }

  llvm::Error readNumber(StringRef name, double &out, std::optional<double> fallback) {
    const std::string key = info.architecture + "." + name.str();
    auto value = file.getFloat(key);
    if (!value)
      return value.takeError();
    if (!*value && !fallback)
      return fieldError(key, "is missing");
    out = *value ? **value : *fallback;
    if (!std::isfinite(out) || out <= 0)
      return fieldError(key, "must be a positive number");
    return llvm::Error::success();
  }

  llvm::Error readHyperparameters() {
    int64_t rope_dimensions = 0;
    if (llvm::Error e = readInteger("block_count", info.layers, max_layers))
      return e;
    if (llvm::Error e = readInteger("embedding_length", info.embedding_length, max_extent))
      return e;
    if (llvm::Error e = readInteger("feed_forward_length", info.feed_forward_length, max_extent))
      return e;
    if (llvm::Error e = readInteger("attention.head_count", info.heads, max_heads))
      return e;
    if (llvm::Error e =
            readInteger("attention.head_count_kv", info.kv_heads, max_heads, info.heads))
      return e;
    if (llvm::Error e = readInteger("context_length", info.model_context_length, max_context))
      return e;
    if (info.heads % info.kv_heads)
      return fieldError(info.architecture + ".attention.head_count",
                        Twine(info.heads) + " heads are not a multiple of " + Twine(info.kv_heads) +
                            " key heads");
    if (llvm::Error e = readInteger("attention.key_length", info.head_dim, max_extent,
                                    std::max<int64_t>(info.embedding_length / info.heads, 1)))
      return e;
    if (llvm::Error e =
            readInteger("rope.dimension_count", rope_dimensions, max_extent, info.head_dim))
      return e;
    if (rope_dimensions != info.head_dim || info.head_dim % 2)
      return fieldError(info.architecture + ".rope.dimension_count",
                        "is " + Twine(rope_dimensions) + "; only rotation of whole heads (" +
                            Twine(info.head_dim) + ", even) is supported");
    if (llvm::Error e = readNumber("rope.freq_base", info.rope_theta, 10000.0))
      return e;
    if (llvm::Error e = readNumber("attention.layer_norm_rms_epsilon", info.rms_norm_eps, {}))
      return e;
    const std::string scaling = info.architecture + ".rope.scaling.type";
    auto type = file.getString(scaling);
    if (!type)
      return type.takeError();
    if (*type && **type != "none")
      return fieldError(scaling, "rope scaling " + quoted(**type) + " is not supported");
    const std::string experts = info.architecture + ".expert_count";
    auto expert_count = file.getInteger(experts);
    if (!expert_count)
      return expert_count.takeError();
    if (*expert_count && **expert_count > 0)
      return fieldError(experts, "mixtures of experts are not supported");

    if (options.context > max_context)
      return inputError(file.name(), "",
                        "a context of " + grouped(options.context) + " is too large, at most " +
                            grouped(max_context));
    info.context_length = options.context
                              ? options.context
                              : std::min(info.model_context_length, options.default_context);
    return llvm::Error::success();
  }

  //===--- Weights ---===//

  static std::string tensorName(const TensorRow &row, int64_t layer) {
    StringRef name = row.name;
    const size_t at = name.find("{}");
    return at == StringRef::npos
               ? name.str()
               : (name.take_front(at) + Twine(layer) + name.drop_front(at + 2)).str();
  }

  static bool perLayer(const TensorRow &row) { return StringRef(row.name).contains("{}"); }

  int64_t extent(Extent e) const {
    switch (e) {
    case Extent::one:
      return 1;
    case Extent::embedding:
      return info.embedding_length;
    case Extent::feed_forward:
      return info.feed_forward_length;
    case Extent::q:
      return info.heads * info.head_dim;
    case Extent::kv:
      return info.kv_heads * info.head_dim;
    case Extent::vocab:
      return info.vocab_size;
    }
    llvm_unreachable("covered above");
  }

  Location nameLocation(StringRef name) {
    return NameLoc::get(builder.getStringAttr(name), builder.getUnknownLoc());
  }

  /// The tensor's bytes stay where the file is mapped.
  DenseResourceElementsAttr resource(const GgufTensor &tensor, RankedTensorType type) {
    AsmResourceBlob blob = UnmanagedAsmResourceBlob::allocateInferAlign(
        ArrayRef<char>(reinterpret_cast<const char *>(tensor.data.data()), tensor.data.size()));
    return DenseResourceElementsAttr::get(type, tensor.name, std::move(blob));
  }

  llvm::Error declareWeight(const TensorRow &row, int64_t layer) {
    const std::string name = tensorName(row, layer);
    const GgufTensor *tensor = file.findTensor(name);
    used.insert(name);
    if (!tensor) {
      if (row.optional)
        return llvm::Error::success();
      return inputError(file.name(), "tensor '" + name + "'", "is missing");
    }
    if (row.role == Role::token_embd) // the one shape that no field gives for sure
      info.vocab_size = tensor->rows;
    const int64_t rows = extent(row.rows), columns = extent(row.columns);
    if (tensor->rows != rows || tensor->columns != columns)
      return inputError(file.name(), "tensor '" + name + "'",
                        "is " + Twine(tensor->rows) + "x" + Twine(tensor->columns) +
                            ", the metadata asks for " + Twine(rows) + "x" + Twine(columns));
    const Encoding &encoding = tensor->encoding->encoding;
    const bool vector = row.rows == Extent::one;
    if (vector && encoding.code != CodeKind::f32)
      return inputError(file.name(), "tensor '" + name + "'",
                        "is " + Twine(tensor->encoding->name) + ", expected F32");
    Type element = lm::elementTypeFor(builder.getContext(), encoding);
    auto type = vector ? RankedTensorType::get({columns}, element)
                       : RankedTensorType::get({rows, columns}, element);
    info.parameters += rows * columns;
    Attribute payload = resource(*tensor, type);
    auto weight =
        lm::WeightOp::create(builder, nameLocation(name), name, type, builder.getArrayAttr(payload),
                             nullptr, nullptr, nullptr, nullptr);
    weights[{row.role, layer}] = weight;
    return llvm::Error::success();
  }

  llvm::Error declareWeights() {
    for (const TensorRow &row : architecture.tensors)
      if (!perLayer(row) && row.role != Role::output_norm && row.role != Role::output)
        if (llvm::Error error = declareWeight(row, 0))
          return error;
    for (int64_t layer = 0; layer < info.layers; ++layer)
      for (const TensorRow &row : architecture.tensors)
        if (perLayer(row))
          if (llvm::Error error = declareWeight(row, layer))
            return error;
    for (const TensorRow &row : architecture.tensors)
      if (row.role == Role::output_norm || row.role == Role::output)
        if (llvm::Error error = declareWeight(row, 0))
          return error;
    return llvm::Error::success();
  }

  /// A tensor that nothing reads would be a model computed wrongly.
  llvm::Error rejectUnknownTensors() {
    for (const GgufTensor &tensor : file.tensors())
      if (!used.contains(tensor.name))
        return inputError(file.name(), "tensor " + quoted(tensor.name),
                          "is not part of the architecture '" + info.architecture +
                              "' as Ingot knows it");
    return llvm::Error::success();
  }

  void declareCaches() {
    Type element = builder.getF32Type();
    if (options.kv_cache == CodeKind::f16)
      element = builder.getF16Type();
    else if (options.kv_cache == CodeKind::i && info.head_dim % 2 == 0)
      element = builder.getIntegerType(16);
    auto type = lm::CacheType::get(builder.getContext(), info.context_length, info.kv_heads,
                                   info.head_dim, element);
    for (int64_t layer = 0; layer < info.layers; ++layer) {
      const std::string name = "kv." + std::to_string(layer);
      lm::KvCacheOp::create(builder, nameLocation(name), name, type, nullptr);
    }
  }

  //===--- The model ---===//

  RankedTensorType rowsType(int64_t columns) {
    return RankedTensorType::get({ShapedType::kDynamic, columns}, builder.getF32Type());
  }

  Value weight(Role role, int64_t layer = 0) {
    lm::WeightOp op = weights.at({role, layer});
    location = op.getLoc();
    return lm::RefOp::create(builder, location, op.getType(), op.getSymName());
  }

  Value norm(Value x, Role role, int64_t layer = 0) {
    Value gain = weight(role, layer);
    return lm::RmsNormOp::create(builder, location, x, gain,
                                 builder.getF64FloatAttr(info.rms_norm_eps));
  }

  Value linear(Value x, Role role, int64_t layer) {
    Value matrix = weight(role, layer);
    const int64_t rows = cast<RankedTensorType>(matrix.getType()).getDimSize(0);
    return lm::LinearOp::create(builder, location, rowsType(rows), x, matrix);
  }

  Value rope(Value x) {
    return lm::RopeOp::create(builder, location, x.getType(), x, angles,
                              architecture.rope_interleaved);
  }

  Value attention(Value x, int64_t layer) {
    const std::string name = "kv." + std::to_string(layer);
    Value q = rope(linear(x, Role::attn_q, layer));
    Value k = rope(linear(x, Role::attn_k, layer));
    Value v = linear(x, Role::attn_v, layer);
    location = nameLocation(name);
    Value cache = lm::RefOp::create(builder, location,
                                    module.lookupSymbol<lm::KvCacheOp>(name).getType(), name);
    lm::AppendOp::create(builder, location, k, v, cache, position);
    Value heads = lm::AttentionOp::create(
        builder, location, q.getType(), q, cache, position,
        builder.getF64FloatAttr(1.0 / std::sqrt(static_cast<double>(info.head_dim))));
    return linear(heads, Role::attn_output, layer);
  }

  Value mlp(Value x, int64_t layer) {
    Value gate = linear(x, Role::ffn_gate, layer);
    Value up = linear(x, Role::ffn_up, layer);
    Value hidden = lm::SiluMulOp::create(builder, location, gate, up);
    return linear(hidden, Role::ffn_down, layer);
  }

  void buildForward() {
    auto tokens_type = RankedTensorType::get({ShapedType::kDynamic}, builder.getI32Type());
    auto type =
        builder.getFunctionType({tokens_type, builder.getI32Type()}, {rowsType(info.vocab_size)});
    auto forward = func::FuncOp::create(builder, nameLocation("forward"), "forward", type);
    Block *entry = forward.addEntryBlock();
    builder.setInsertionPointToStart(entry);
    Value tokens = entry->getArgument(0);
    position = entry->getArgument(1);

    Value table = weight(Role::token_embd);
    Value x =
        lm::EmbeddingOp::create(builder, location, rowsType(info.embedding_length), tokens, table);
    angles = lm::RopeAnglesOp::create(builder, nameLocation("rope"), rowsType(info.head_dim),
                                      tokens, position, builder.getF64FloatAttr(info.rope_theta));
    for (int64_t layer = 0; layer < info.layers; ++layer) {
      Value a = attention(norm(x, Role::attn_norm, layer), layer);
      x = lm::AddOp::create(builder, location, a, x);
      Value m = mlp(norm(x, Role::ffn_norm, layer), layer);
      x = lm::AddOp::create(builder, location, m, x);
    }
    x = norm(x, Role::output_norm);
    // Without an output layer of its own the model reads the embedding table again.
    Value output = weight(weights.count({Role::output, 0}) ? Role::output : Role::token_embd);
    Value logits = lm::LogitsOp::create(builder, location, rowsType(info.vocab_size), x, output);
    func::ReturnOp::create(builder, location, logits);
  }

  const GgufFile &file;
  const Architecture &architecture;
  const ImportOptions &options;
  ModelInfo &info;
  OpBuilder builder;
  ModuleOp module;
  Location location = builder.getUnknownLoc();
  std::map<std::pair<Role, int64_t>, lm::WeightOp> weights;
  llvm::StringSet<> used;
  Value position, angles;
};

} // namespace

llvm::Expected<OwningOpRef<ModuleOp>> buildDecoder(MLIRContext &context, const GgufFile &file,
                                                   const Architecture &architecture,
                                                   const ImportOptions &options, ModelInfo &info) {
  return DecoderBuilder(context, file, architecture, options, info).build();
}

} // namespace ingot
