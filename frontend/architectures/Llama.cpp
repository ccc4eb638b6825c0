// Llama and the many models that kept its shape (SmolLM2, TinyLlama, Mistral 7B ...). GGUF
// converters permute the rows of q and k, so that rope turns neighbours.
#include "frontend/architectures/Architecture.h"

namespace ingot {

static const TensorRow llama_tensors[] = {
    {Role::token_embd, "token_embd.weight", Extent::vocab, Extent::embedding},
    {Role::attn_norm, "blk.{}.attn_norm.weight", Extent::one, Extent::embedding},
    {Role::attn_q, "blk.{}.attn_q.weight", Extent::q, Extent::embedding},
    {Role::attn_k, "blk.{}.attn_k.weight", Extent::kv, Extent::embedding},
    {Role::attn_v, "blk.{}.attn_v.weight", Extent::kv, Extent::embedding},
    {Role::attn_output, "blk.{}.attn_output.weight", Extent::embedding, Extent::q},
    {Role::ffn_norm, "blk.{}.ffn_norm.weight", Extent::one, Extent::embedding},
    {Role::ffn_gate, "blk.{}.ffn_gate.weight", Extent::feed_forward, Extent::embedding},
    {Role::ffn_up, "blk.{}.ffn_up.weight", Extent::feed_forward, Extent::embedding},
    {Role::ffn_down, "blk.{}.ffn_down.weight", Extent::embedding, Extent::feed_forward},
    {Role::output_norm, "output_norm.weight", Extent::one, Extent::embedding},
    {Role::output, "output.weight", Extent::vocab, Extent::embedding, /*optional=*/true},
};

const Architecture llama{"llama", "Llama, SmolLM2, TinyLlama", true, llama_tensors};

llvm::ArrayRef<const Architecture *> architectures() {
  static const Architecture *const all[] = {&llama};
  return all;
}

} // namespace ingot
