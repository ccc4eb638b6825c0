"""A Llama of any size with random Q4_0 weights, as GGUF: Llama-2-7B's shape unless told otherwise.

    make_big_model.py OUT.gguf [--layers 32] [--embedding 4096] [--seed 0] ...

Made tensor by tensor: needs the memory of one. The same options give the same bytes.
"""

import argparse
import itertools
import os
import pathlib
import string
import sys

import gguf
import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "oracle"))

import tiny_models  # noqa: E402
from tiny_models import CONTROL  # noqa: E402



def vocabulary(size):
    """(tokens, types, merges): bytes, as many words of 2 to 4 letters as there is room for, control
    tokens."""
    letters = string.ascii_lowercase
    pairs = ["".join(pair) for pair in itertools.product(letters, repeat=2)]
    words = itertools.chain(((a, b) for a, b in itertools.product(letters, letters)),
                            itertools.product(pairs, letters), itertools.product(pairs, pairs))
    alphabet = tiny_models.byte_alphabet()
    merges = list(itertools.islice(words, size - len(alphabet) - len(CONTROL)))
    tokens = alphabet + [a + b for a, b in merges] + CONTROL
    if len(tokens) != size:
        sys.exit(f"error: --vocab: {len(alphabet) + len(CONTROL)} to "
                 f"{len(alphabet) + len(CONTROL) + 26**2 + 26**3 + 26**4}, not {size}")
    types = [gguf.TokenType.NORMAL] * (size - len(CONTROL)) + [gguf.TokenType.CONTROL] * 3
    return tokens, types, [f"{a} {b}" for a, b in merges]


def random_q4_0(rows, columns, deviation, random):
    """Q4_0 blocks, [f16 scale][16 bytes of codes], whose values have this standard deviation."""
    blocks = rows * columns // 32
    data = np.empty((blocks, 18), np.uint8)
    data[:, 2:] = np.frombuffer(random.bytes(blocks * 16), np.uint8).reshape(blocks, 16)
    # Codes -8 to 7 have a mean square of 21.5, factors from 0.5 to 1 of 7/12. Their mean of -0.5
    # would add up over a row and then over the layers; a random sign takes it away.
    scale = random.uniform(0.5, 1, blocks) * deviation / np.sqrt(21.5 * 7 / 12)
    scale *= random.integers(0, 2, blocks) * 2 - 1
    data[:, :2] = scale.astype(np.float16).view(np.uint8).reshape(blocks, 2)
    return data.reshape(rows, -1)


def tensors(layers, embedding, feed_forward, heads, kv_heads, vocab):
    """(name, rows or None for a gain, columns, deviation of what the rows give for inputs of 1).

    Layers take normalized inputs, so nothing grows but the residual stream, by the square root of
    the number of layers. Logits with a deviation of 2.5 tell some tokens clearly from others.
    """
    kv = embedding // heads * kv_heads
    yield "token_embd.weight", vocab, embedding, np.sqrt(embedding)
    for layer in range(layers):
        block = f"blk.{layer}."
        yield block + "attn_norm.weight", None, embedding, 1
        yield block + "attn_q.weight", embedding, embedding, 1
        yield block + "attn_k.weight", kv, embedding, 1
        yield block + "attn_v.weight", kv, embedding, 1
        yield block + "attn_output.weight", embedding, embedding, 0.5
        yield block + "ffn_norm.weight", None, embedding, 1
        yield block + "ffn_gate.weight", feed_forward, embedding, 1
        yield block + "ffn_up.weight", feed_forward, embedding, 1
        yield block + "ffn_down.weight", embedding, feed_forward, 0.5
    yield "output_norm.weight", None, embedding, 1
    yield "output.weight", vocab, embedding, 2.5


def write_model(path, layers=32, embedding=4096, feed_forward=11008, heads=32, kv_heads=None,
                vocab=32000, context=4096, seed=0, quiet=False):
    kv_heads = kv_heads or heads
    part = f"{path}.part"
    writer = tiny_models.llama_writer(part, "random", vocabulary(vocab), layers, embedding,
                                      feed_forward, heads, kv_heads, context)

    rows_of = list(tensors(layers, embedding, feed_forward, heads, kv_heads, vocab))
    total = 0
    for name, rows, columns, _ in rows_of:
        size = 4 * columns if rows is None else rows * columns // 32 * 18
        total += size
        if rows is None:
            writer.add_tensor_info(name, (columns,), np.dtype(np.float32), size)
        else:
            writer.add_tensor_info(name, (rows, columns // 32 * 18), np.dtype(np.uint8), size,
                                   gguf.GGMLQuantizationType.Q4_0)
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        with tqdm(total=total, unit="B", unit_scale=True, desc=pathlib.Path(path).name,
                  disable=True if quiet else None) as bar:
            for index, (name, rows, columns, deviation) in enumerate(rows_of):
                random = np.random.default_rng([seed, index])
                if rows is None:
                    data = random.normal(1, 0.1, columns).astype(np.float32)
                else:
                    data = random_q4_0(rows, columns, deviation / np.sqrt(columns), random)
                writer.write_tensor_data(data)
                bar.update(data.nbytes)
        writer.close()
        os.replace(part, path)
    except BaseException:
        writer.close()
        pathlib.Path(part).unlink(missing_ok=True)
        raise


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("path")
    for name, value in (("layers", 32), ("embedding", 4096), ("feed-forward", 11008), ("heads", 32),
                        ("vocab", 32000), ("context", 4096), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--kv-heads", type=int, help="(default: as many as heads)")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    write_model(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
