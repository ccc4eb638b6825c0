// Writes the manifest of the fake program as a list of bytes for #include: a vocabulary of the 256
// bytes and three special tokens, a chat table, no merges.
#include "fake.h"
#include "runtime/core/weights.h"
#include "runtime/manifest_generated.h"

#include <array>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

using namespace ingot::manifest;

/// What --selftest of the fake program replays; `wrong`: of a program with other logits.
flatbuffers::Offset<Selftest> record(flatbuffers::FlatBufferBuilder &builder, bool wrong) {
  const std::string text = "hello, world, and all who live in it";
  const std::vector<int32_t> tokens(text.begin(), text.begin() + 11);
  std::vector<Likely> likely;
  std::vector<float> log_sums;
  for (size_t i = 0; i < tokens.size(); ++i) {
    const uint64_t chain = fake::chain_of(tokens.data(), static_cast<int32_t>(i) + 1) + wrong;
    double sum = 0;
    for (int32_t j = 0; j < fake::vocab_size; ++j)
      sum += std::exp(fake::logit(chain, tokens[i], j));
    log_sums.push_back(static_cast<float>(std::log(sum)));
    for (int32_t token : {fake::successor(tokens[i]), 7, 8})
      likely.emplace_back(token, fake::logit(chain, tokens[i], token));
  }
  return CreateSelftestDirect(builder, wrong ? "Hello, world" : text.c_str(), &tokens, &likely,
                              &log_sums, 9, 1e-6, 0);
}

std::string hash_of_weights() {
  ingot::runtime::WeightsHasher hasher;
  hasher.add(fake::weights_in_file, sizeof fake::weights_in_file);
  char digits[33];
  const ingot::runtime::WeightsHash hash = hasher.finish();
  std::snprintf(digits, sizeof digits, "%016llx%016llx",
                static_cast<unsigned long long>(hash.words[0]),
                static_cast<unsigned long long>(hash.words[1]));
  return digits;
}

/// fake_manifest [FEATURE]: with an argument, every variant needs that feature. "wrong": none does,
/// but --selftest fails. "split": none does; the weights are in a file, and there is no template.
int main(int argc, char **argv) {
  const bool wrong = argc > 1 && std::string(argv[1]) == "wrong";
  const bool split = argc > 1 && std::string(argv[1]) == "split";
  if (wrong || split)
    argc = 1;
  flatbuffers::FlatBufferBuilder builder;
  std::vector<uint32_t> offsets{0};
  std::vector<uint8_t> bytes, kinds;
  std::vector<int32_t> byte_tokens;
  for (int i = 0; i < 256; ++i) {
    bytes.push_back(static_cast<uint8_t>(i));
    offsets.push_back(static_cast<uint32_t>(bytes.size()));
    kinds.push_back(1);
    byte_tokens.push_back(i);
  }
  for (std::string special : {"<|im_start|>", "<|im_end|>", "<|endoftext|>"}) {
    bytes.insert(bytes.end(), special.begin(), special.end());
    offsets.push_back(static_cast<uint32_t>(bytes.size()));
    kinds.push_back(3);
  }
  // A free slot has the key ~0; lengths are powers of two.
  std::vector<uint64_t> merge_keys(2, ~uint64_t{0});
  std::vector<uint32_t> merge_ranks(2);
  std::vector<int32_t> merge_results(2), special{fake::endoftext, fake::im_start, fake::im_end};
  std::vector<int32_t> stop{fake::im_end, fake::endoftext};
  std::vector<uint16_t> class_index(0x1100, 0);
  std::vector<uint8_t> class_blocks(256, 0);
  auto tokenizer =
      CreateTokenizerDirect(builder, "bpe", "gpt2", false, false, fake::im_start, fake::im_end,
                            &stop, -1, &offsets, &bytes, &kinds, &byte_tokens, &merge_keys,
                            &merge_ranks, &merge_results, &special, &class_index, &class_blocks);
  auto model = CreateModelDirect(builder, "llama", "Fake \"model\"", 1234567, 2, 64, 128, 4, 2, 16,
                                 fake::vocab_size, 96, 2048, 100000.0, 1e-5);
  const char *floor = argc > 1 ? argv[1] : "sse2", *best = argc > 1 ? argv[1] : "flux2";
  std::vector<flatbuffers::Offset<Variant>> variants;
  for (auto [name, isa, feature] :
       {std::array{"future", "flux", best}, std::array{"common", "plain", floor},
        std::array{"base", "plain", floor}}) {
    std::vector<flatbuffers::Offset<flatbuffers::String>> features{builder.CreateString(feature)};
    variants.push_back(CreateVariantDirect(builder, name, isa, &features));
  }
  auto build = CreateBuildDirect(
      builder, "0.0.0-test", "future+common+base", &variants, "f32", "f32", "", "fake.gguf", "00ff",
      split ? fake::weights_file : nullptr, split ? hash_of_weights().c_str() : nullptr);
  auto chat = CreateChatDirect(builder, "<|im_start|>system\n", "<|im_end|>\n", "",
                               "<|im_start|>user\n", "<|im_end|>\n", "<|im_start|>assistant\n",
                               "<|im_end|>\n", "<|im_start|>assistant\n", true, true);
  std::vector<flatbuffers::Offset<Weight>> weights{
      CreateWeightDirect(builder, "blk.0.w", "Q4_1", "u4, g32, f16+f16", 64, 64, 0, 2560)};
  const std::vector<CachePart> parts{{0, 0, 1, 8, fake::cache_block}};
  std::vector<flatbuffers::Offset<Cache>> caches{CreateCacheDirect(builder, "kv.0", 0, 0, &parts)};
  const Terms zero{0, 0, 0, 0}, macs{0, 3, 0, 5}, fixed{2560, 0, 0, 0}, cache{0, 8, 2, 0},
      rows{0, 7, 0, 0};
  const std::vector<uint32_t> columns{fake::arena_columns};
  std::vector<flatbuffers::Offset<Kernel>> kernels{
      CreateKernelDirect(builder, "chain", nullptr, false, &columns, &macs, &fixed, &cache, &rows),
      CreateKernelDirect(builder, "logits", nullptr, true, nullptr, &rows, &zero, &zero, &rows),
      CreateKernelDirect(builder, "both", nullptr, true, nullptr, &macs, &zero, &cache, &rows)};
  auto memory =
      CreateMemory(builder, fake::arena_bytes, fake::cache_bytes(96), fake::prefill_tokens,
                   fake::score_tokens, fake::logits_stride, split ? 0 : fake::embedding_stride);
  const std::vector<Launch> launches{{0, 0, false}, {-1, 0, false}, {1, -2, false}},
      batch_launches{{2, 1, true}};
  const std::vector<Buffer> buffers{{0, fake::arena_bytes, 0, 2}};
  std::vector<flatbuffers::Offset<Step>> steps{
      CreateStepDirect(builder, "decode", 1, &launches, &buffers),
      CreateStepDirect(builder, "prefill", fake::prefill_tokens, &launches, &buffers),
      CreateStepDirect(builder, "score", fake::score_tokens, &launches, &buffers),
      CreateStepDirect(builder, "decode2", 2, &batch_launches),
      CreateStepDirect(builder, "decode4", 4, &batch_launches),
      CreateStepDirect(builder, "embed", fake::prefill_tokens, &launches, &buffers)};
  auto manifest = CreateManifestDirect(
      builder, model, build, split ? flatbuffers::Offset<Chat>() : chat, nullptr, tokenizer,
      &weights, memory, &caches, &kernels, &steps, record(builder, wrong));
  FinishManifestBuffer(builder, manifest);
  for (size_t i = 0; i < builder.GetSize(); ++i)
    std::printf("%u,%s", builder.GetBufferPointer()[i], i % 20 == 19 ? "\n" : "");
}
