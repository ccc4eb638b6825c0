#include "codegen/link/Manifest.h"

#include "codegen/Verify.h"
#include "codegen/link/Launches.h"
#include "codegen/llvm/Steps.h"
#include "codegen/spirv/Program.h"
#include "dialects/kernel/Spec.h"
#include "frontend/chat/Chat.h"
#include "frontend/tokenizer/Tokenizer.h"
#include "runtime/manifest_generated.h"

#include "llvm/Support/Path.h"

using namespace mlir;

namespace ingot {
namespace {

constexpr size_t hash_digits = 32;

class ManifestBuilder {
public:
  explicit ManifestBuilder(const ManifestInputs &inputs) : inputs(inputs) {}

  llvm::Expected<std::string> build() {
    auto model = buildModel();
    auto build_info = buildInfo();
    auto tokenizer = buildTokenizer(buffer, inputs.model->tokenizer);
    if (!tokenizer)
      return tokenizer.takeError();
    auto [chat, note] = buildChat();
    auto weights = buildWeights();
    uint64_t scratch = 0;
    for (auto [variant, module] : llvm::zip(inputs.target->variants(), inputs.variants))
      if (variant->kernelForm() != KernelForm::objects) {
        auto bytes = spirv::scratchBytes(module);
        if (!bytes)
          return bytes.takeError();
        scratch = std::max(scratch, *bytes);
      }
    auto memory = buildMemory(scratch);
    auto caches = buildCaches();
    auto launches = buildLaunches(buffer, inputs.planned, inputs.variants);
    if (!launches)
      return launches.takeError();
    auto selftest = buildSelftest();
    auto note_text =
        note.empty() ? flatbuffers::Offset<flatbuffers::String>() : buffer.CreateString(note);

    manifest::ManifestBuilder root(buffer);
    root.add_model(model);
    root.add_build(build_info);
    root.add_chat(chat);
    root.add_chat_note(note_text);
    root.add_tokenizer(*tokenizer);
    root.add_weights(weights);
    root.add_memory(memory);
    root.add_caches(caches);
    root.add_kernels(launches->kernels);
    root.add_steps(launches->steps);
    root.add_selftest(selftest);
    manifest::FinishManifestBuffer(buffer, root.Finish());
    return std::string(reinterpret_cast<const char *>(buffer.GetBufferPointer()), buffer.GetSize());
  }

private:
  flatbuffers::Offset<manifest::Model> buildModel() {
    const ModelInfo &info = inputs.model->info;
    auto architecture = buffer.CreateString(info.architecture);
    auto name = buffer.CreateString(info.name);
    manifest::ModelBuilder model(buffer);
    model.add_architecture(architecture);
    model.add_name(name);
    model.add_parameters(info.parameters);
    model.add_layers(info.layers);
    model.add_embedding_length(info.embedding_length);
    model.add_feed_forward_length(info.feed_forward_length);
    model.add_heads(info.heads);
    model.add_kv_heads(info.kv_heads);
    model.add_head_dim(info.head_dim);
    model.add_vocab_size(info.vocab_size);
    model.add_context_length(info.context_length);
    model.add_model_context_length(info.model_context_length);
    model.add_rope_theta(info.rope_theta);
    model.add_rms_norm_eps(info.rms_norm_eps);
    return model.Finish();
  }

  flatbuffers::Offset<manifest::Build> buildInfo() {
    const Machine &machine = inputs.target->machine();
    const GgufFile &file = *inputs.model->file;
    auto version = buffer.CreateString(INGOT_VERSION);
    auto target = buffer.CreateString(machine.name);
    std::vector<flatbuffers::Offset<manifest::Variant>> variants;
    for (const Target *variant : inputs.target->variants()) {
      auto name = buffer.CreateString(variant->machine().name);
      auto isa = buffer.CreateString(variant->machine().isa);
      auto features = buffer.CreateVectorOfStrings(variant->machine().features);
      variants.push_back(manifest::CreateVariant(buffer, name, isa, features,
                                                 variant->kernelForm() != KernelForm::objects));
    }
    auto all = buffer.CreateVector(variants);
    auto activations = buffer.CreateString(toString(inputs.activations).str());
    auto cache = buffer.CreateString(inputs.kv_cache == CodeKind::i     ? "i16"
                                     : inputs.kv_cache == CodeKind::f16 ? "f16"
                                                                        : "f32");
    auto quantize = buffer.CreateString(inputs.quantize);
    auto source = buffer.CreateString(llvm::sys::path::filename(file.name()).str());
    auto hash = buffer.CreateString(std::string(hash_digits, '0'));
    flatbuffers::Offset<flatbuffers::String> weights_file, weights_hash;
    if (!inputs.weights_file.empty()) {
      weights_file = buffer.CreateString(inputs.weights_file);
      weights_hash = buffer.CreateString(std::string(hash_digits, '0'));
    }
    manifest::BuildBuilder build(buffer);
    build.add_ingot_version(version);
    build.add_target(target);
    build.add_variants(all);
    build.add_activations(activations);
    build.add_kv_cache(cache);
    build.add_quantize(quantize);
    build.add_source_file(source);
    build.add_source_hash(hash);
    if (!inputs.weights_file.empty()) {
      build.add_weights_file(weights_file);
      build.add_weights_hash(weights_hash);
    }
    return build.Finish();
  }

  /// The chat table, or nothing and the reason why.
  std::pair<flatbuffers::Offset<manifest::Chat>, std::string> buildChat() {
    const ImportedModel &model = *inputs.model;
    if (model.chat_template.empty())
      return {{}, "the model file has no chat template"};
    auto pieces = lowerChatTemplate(model.chat_template, model.bos_text, model.eos_text);
    if (!pieces)
      return {{}, llvm::toString(pieces.takeError())};
    auto optional = [](const std::optional<std::string> &text) {
      return text ? text->c_str() : nullptr;
    };
    return {manifest::CreateChatDirect(
                buffer, optional(pieces->begin_with_system), optional(pieces->end_system),
                pieces->begin_without_system.c_str(), pieces->begin_user.c_str(),
                pieces->end_user.c_str(), pieces->begin_assistant.c_str(),
                pieces->end_assistant.c_str(), pieces->generation_prompt.c_str(),
                pieces->trim_system, pieces->trim_user, pieces->trim_assistant),
            ""};
  }

  flatbuffers::Offset<flatbuffers::Vector<flatbuffers::Offset<manifest::Weight>>> buildWeights() {
    std::vector<lm::WeightOp> weights;
    for (auto weight : inputs.planned.getOps<lm::WeightOp>())
      if (weight.getOffset())
        weights.push_back(weight);
    llvm::sort(weights,
               [](lm::WeightOp a, lm::WeightOp b) { return *a.getOffset() < *b.getOffset(); });
    const uint64_t end = inputs.planned->getAttrOfType<IntegerAttr>("ingot.weight_bytes").getInt();
    std::vector<flatbuffers::Offset<manifest::Weight>> out;
    for (size_t i = 0; i < weights.size(); ++i) {
      lm::WeightOp weight = weights[i];
      RankedTensorType type = weight.getTensorType();
      auto source = cast<ElementsAttr>(weight.getSources()[0]);
      const uint64_t offset = *weight.getOffset();
      const uint64_t next = i + 1 < weights.size() ? *weights[i + 1].getOffset() : end;
      auto name = buffer.CreateString(weight.getSymName().str());
      // One text for all weights of a format.
      auto from = buffer.CreateSharedString(displayName(*lm::encodingOf(source.getElementType())));
      auto to = buffer.CreateSharedString(weight.getEncoding().str());
      out.push_back(manifest::CreateWeight(buffer, name, from, to,
                                           type.getRank() == 1 ? 1 : type.getDimSize(0),
                                           type.getShape().back(), offset, next - offset));
    }
    return buffer.CreateVector(out);
  }

  /// The caches of one sequence, in the layout that kernels know (KernelValue): each part has head
  /// after head.
  flatbuffers::Offset<flatbuffers::Vector<flatbuffers::Offset<manifest::Cache>>> buildCaches() {
    std::vector<flatbuffers::Offset<manifest::Cache>> out;
    auto step = inputs.planned.lookupSymbol<func::FuncOp>("decode");
    for (auto ref : step.getOps<lm::RefOp>()) {
      auto cache = inputs.planned.lookupSymbol<lm::KvCacheOp>(ref.getSymbol());
      if (!cache)
        continue;
      const auto type = cast<lm::CacheType>(ref.getResult().getType());
      const SmallVector<int64_t> offsets = kernel::partOffsets(ref);
      std::vector<manifest::CachePart> parts;
      KernelSpec spec; // of a kernel that has the cache for its only value
      spec.context = static_cast<int32_t>(type.getPositions());
      spec.kv = inputs.kv_cache;
      spec.values.emplace_back().kind = KernelValue::Kind::cache;
      KernelOp attention{KernelOp::Kind::attention, {}};
      attention.kv_heads = static_cast<int32_t>(type.getKvHeads());
      attention.head_dim = static_cast<int32_t>(type.getHeadDim());
      spec.ops.push_back(attention);
      const int64_t positions = cachePositions(spec.context);
      for (int32_t part = 0; part < bufferCount(spec.values[0], spec.kv); ++part) {
        const int64_t head_bytes = bufferBytes(spec, 0, part) / type.getKvHeads();
        parts.emplace_back(offsets[part], head_bytes, type.getKvHeads(), head_bytes / positions,
                           kWeightCodeSpan);
      }
      out.push_back(manifest::CreateCacheDirect(buffer, cache.getSymName().str().c_str(),
                                                *cache.getOffset(), offsets.back(), &parts));
    }
    return buffer.CreateVector(out);
  }

  flatbuffers::Offset<manifest::Selftest> buildSelftest() {
    if (!inputs.selftest)
      return {};
    const SelftestRecord &record = *inputs.selftest;
    const bool exact = inputs.activations == Activations::f32;
    return manifest::CreateSelftestDirect(
        buffer, record.text.c_str(), &record.tokens, &record.likely, &record.log_sum_exp,
        record.largest_logit, exact ? kErrorBound : 0, exact ? 0 : meanKlBound(inputs.activations));
  }

  flatbuffers::Offset<manifest::Memory> buildMemory(uint64_t scratch_bytes) {
    auto number = [&](StringRef name) {
      return inputs.planned->getAttrOfType<IntegerAttr>(name).getInt();
    };
    auto tokens = [&](StringRef step) {
      return static_cast<int32_t>(inputs.planned.lookupSymbol<func::FuncOp>(step)
                                      ->getAttrOfType<IntegerAttr>("max_tokens")
                                      .getInt());
    };
    int32_t embedding_stride = 0;
    if (auto embed = inputs.planned.lookupSymbol<func::FuncOp>("embed"))
      embedding_stride = static_cast<int32_t>(
          llvm::alignTo(cast<RankedTensorType>(embed.getResultTypes()[0]).getDimSize(1), 16));
    return manifest::CreateMemory(buffer, number("ingot.arena_bytes"), number("ingot.cache_bytes"),
                                  tokens("prefill"), tokens("score"),
                                  logitsStride(inputs.model->info.vocab_size), embedding_stride,
                                  scratch_bytes);
  }

  const ManifestInputs &inputs;
  flatbuffers::FlatBufferBuilder buffer;
};

} // namespace

llvm::Expected<std::string> buildManifest(const ManifestInputs &inputs) {
  return ManifestBuilder(inputs).build();
}

static void setHash(std::string &manifest, const flatbuffers::String *field, StringRef hash) {
  assert(hash.size() == hash_digits && field->size() == hash_digits);
  memcpy(manifest.data() + (field->c_str() - manifest.data()), hash.data(), hash_digits);
}

void setSourceHash(std::string &manifest, StringRef hash) {
  setHash(manifest, manifest::GetManifest(manifest.data())->build()->source_hash(), hash);
}

void setWeightsHash(std::string &manifest, StringRef hash) {
  setHash(manifest, manifest::GetManifest(manifest.data())->build()->weights_hash(), hash);
}

} // namespace ingot
