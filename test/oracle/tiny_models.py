"""Tiny Llama models with random weights, as GGUF: real in every part, small enough for any test.

    tiny_models.py OUT.gguf [--quant q4_1] [--seed 0] [--embedding 64] ...
"""

import argparse

import gguf
import numpy as np

Type = gguf.GGMLQuantizationType
# Formats that PyPI's gguf encodes; for others valid blocks are made at random instead.
ENCODED = ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "mxfp4")
# Where a block of those keeps its f16 scale, and its f16 minimum if it has one (bytes).
SCALES = {"q2_k": (80, 82), "q3_k": (108,), "q4_k": (0, 2), "q5_k": (0, 2), "q6_k": (208,),
          "iq4_nl": (0,)}
# What 2e-4, a scale of Q4_K, is multiplied by for values of the same size.
RELATIVE = {"q6_k": 0.05, "iq4_nl": 4}
CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CHAT = ("{% for message in messages %}"
        "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}"
        "{{ '<|im_start|>assistant\n' }}{% endif %}")


def byte_alphabet():
    """GPT-2's printable character for each byte."""
    extra = iter(range(256, 512))
    return [chr(b if 33 <= b <= 126 or (b >= 161 and b != 173) else next(extra))
            for b in range(256)]


def vocabulary():
    """(tokens, types, merges): 256 bytes, some merges, three control tokens."""
    alphabet = byte_alphabet()
    merges = [(alphabet[ord(a)] if len(a) == 1 else a, b)
              for a, b in (("h", "e"), ("t", "he"), (" ", "t"), (alphabet[32] + "t", "he"),
                           ("i", "n"), ("a", "n"), ("an", "d"), ("o", "u"), ("e", "r"))]
    tokens = alphabet + [a + b for a, b in merges]
    types = [gguf.TokenType.NORMAL] * len(tokens) + [gguf.TokenType.CONTROL] * len(CONTROL)
    return tokens + CONTROL, types, [f"{a} {b}" for a, b in merges]


def random_blocks(quant, rows, columns, random):
    """Random valid blocks of a format of SCALES whose values are around 0.05."""
    block, size = gguf.GGML_QUANT_SIZES[Type[quant.upper()]]
    data = random.integers(0, 256, (rows * columns // block, size), dtype=np.uint8)
    for at, scale in zip(SCALES[quant], (2e-4, 1e-3)):
        values = random.uniform(0.5, 1, len(data)) * scale * RELATIVE.get(quant, 1)
        data[:, at:at + 2] = values.astype(np.float16).view(np.uint8).reshape(-1, 2)
    return data.reshape(rows, -1)


def llama_writer(path, name, vocabulary, layers, embedding, feed_forward, heads, kv_heads, context,
                 add_bos=False):
    """A GGUFWriter of a Llama that has everything but the tensors. The last three tokens of the
    vocabulary (tokens, types, merges) are <|endoftext|>, <|im_start|> and <|im_end|>."""
    tokens, types, merges = vocabulary
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(name)
    writer.add_block_count(layers)
    writer.add_context_length(context)
    writer.add_embedding_length(embedding)
    writer.add_feed_forward_length(feed_forward)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(len(tokens) - 3)
    writer.add_eos_token_id(len(tokens) - 1)
    writer.add_add_bos_token(add_bos)
    writer.add_chat_template(CHAT)
    return writer


def write_tiny_llama(path, quant="q4_1", seed=0, layers=2, embedding=64, heads=4, kv_heads=2,
                     feed_forward=96, context=256, tied=True, add_bos=False):
    random = np.random.default_rng(seed)
    tokens, types, merges = vocabulary()
    writer = llama_writer(path, "tiny", (tokens, types, merges), layers, embedding, feed_forward,
                          heads, kv_heads, context, add_bos)

    def matrix(name, rows, columns):
        if quant in SCALES:
            writer.add_tensor(name, random_blocks(quant, rows, columns, random),
                              raw_dtype=Type[quant.upper()])
            return
        values = random.normal(0, 0.7 / np.sqrt(columns), (rows, columns)).astype(np.float32)
        kind = Type[quant.upper()]
        writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)

    def gain(name):
        writer.add_tensor(name, random.normal(1, 0.1, embedding).astype(np.float32))

    kv = embedding // heads * kv_heads
    matrix("token_embd.weight", len(tokens), embedding)
    for layer in range(layers):
        block = f"blk.{layer}."
        gain(block + "attn_norm.weight")
        matrix(block + "attn_q.weight", embedding, embedding)
        matrix(block + "attn_k.weight", kv, embedding)
        matrix(block + "attn_v.weight", kv, embedding)
        matrix(block + "attn_output.weight", embedding, embedding)
        gain(block + "ffn_norm.weight")
        matrix(block + "ffn_gate.weight", feed_forward, embedding)
        matrix(block + "ffn_up.weight", feed_forward, embedding)
        matrix(block + "ffn_down.weight", embedding, feed_forward)
    gain("output_norm.weight")
    if not tied:
        matrix("output.weight", len(tokens), embedding)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("path")
    parser.add_argument("--quant", choices=(*ENCODED, *SCALES), default="q4_1")
    for name, value in (("seed", 0), ("layers", 2), ("embedding", 64), ("heads", 4),
                        ("kv-heads", 2), ("feed-forward", 96), ("context", 256)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--untied", dest="tied", action="store_false")
    parser.add_argument("--add-bos", action="store_true")
    write_tiny_llama(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
