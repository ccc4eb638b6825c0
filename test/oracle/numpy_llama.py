"""The Llama forward pass in numpy: an oracle for `ingot reference` that shares no code with Ingot.

Weights are dequantized by the `gguf` package and every product is float32. Used as a module by
quality.py, or alone:

    numpy_llama.py MODEL.gguf --tokens 1,2,3 --logits OUT.npy      (--tokens @FILE for many)
"""

import argparse
import pathlib
import sys

import gguf
import numpy as np


class NumpyLlama:
    """Reads a GGUF file of the `llama` architecture. `forward` evaluates one window."""

    def __init__(self, path):
        reader = gguf.GGUFReader(str(path))
        self._tensors = {tensor.name: tensor for tensor in reader.tensors}

        def field(key, default=None):
            found = reader.fields.get(key)
            return default if found is None else found.contents()

        architecture = field("general.architecture")
        if architecture != "llama":
            raise SystemExit(f"error: {path}: architecture '{architecture}' is not llama")
        self.layers = field("llama.block_count")
        self.width = field("llama.embedding_length")
        self.heads = field("llama.attention.head_count")
        self.kv_heads = field("llama.attention.head_count_kv", self.heads)
        self.head_dim = field("llama.attention.key_length", self.width // self.heads)
        self.eps = np.float32(field("llama.attention.layer_norm_rms_epsilon"))
        self.rope_theta = field("llama.rope.freq_base", 10000.0)
        self.embedding = self._weight("token_embd.weight")  # [vocab, width]
        self.output = (self._weight("output.weight") if "output.weight" in self._tensors
                       else self.embedding)  # [vocab, width]; tied when the file has none
        self.vocab_size = len(self.embedding)
        self._blocks = [self._block(i) for i in range(self.layers)]
        self._output_norm = self._weight("output_norm.weight")  # [width]

    def _weight(self, name):
        """float32 [rows, columns] (or [width] for a gain)."""
        tensor = self._tensors[name]
        return np.ascontiguousarray(
            gguf.quants.dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)

    def _block(self, index):
        names = ("attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate",
                 "ffn_up", "ffn_down")
        return {name: self._weight(f"blk.{index}.{name}.weight") for name in names}

    def _rms_norm(self, x, gain):
        """x [tokens, width] / sqrt(mean of squares + eps) * gain (Zhang & Sennrich 2019)."""
        mean = np.mean(x.astype(np.float64) ** 2, axis=-1, keepdims=True)
        return (x / np.sqrt(mean + self.eps)).astype(np.float32) * gain

    def _rope(self, x, cos, sin):
        """Rotates the pairs (2i, 2i+1) of x [tokens, heads, head_dim] by the angle
        position * theta^(-2i/head_dim) (Su et al. 2021). GGUF's llama files store q and k rows so
        that neighbours are pairs."""
        even, odd = x[..., 0::2], x[..., 1::2]  # [tokens, heads, head_dim / 2]
        out = np.empty_like(x)
        out[..., 0::2] = even * cos - odd * sin
        out[..., 1::2] = even * sin + odd * cos
        return out

    def _attention(self, q, k, v):
        """q [tokens, heads, head_dim], k and v [tokens, kv_heads, head_dim], causal
        -> [tokens, heads * head_dim]."""
        tokens, group = len(q), self.heads // self.kv_heads
        hidden = np.triu(np.ones((tokens, tokens), bool), 1)  # keys after the query
        out = np.empty_like(q)
        for head in range(self.heads):
            scores = q[:, head] @ k[:, head // group].T / np.float32(np.sqrt(self.head_dim))
            scores[hidden] = -np.inf  # [query, key]
            weights = np.exp(scores - scores.max(axis=1, keepdims=True))
            weights /= weights.sum(axis=1, keepdims=True)
            out[:, head] = weights @ v[:, head // group]
        return out.reshape(tokens, -1)

    def forward(self, ids):
        """float32 logits [tokens, vocab] of the window `ids`, which starts at position 0."""
        return self.hidden(ids) @ self.output.T

    def hidden(self, ids):
        """float32 [tokens, width], behind the final norm."""
        tokens = len(ids)
        frequencies = self.rope_theta ** (-np.arange(0, self.head_dim, 2) / self.head_dim)
        angles = np.arange(tokens)[:, None] * frequencies  # float64 [tokens, head_dim / 2]
        cos = np.cos(angles).astype(np.float32)[:, None]
        sin = np.sin(angles).astype(np.float32)[:, None]

        x = self.embedding[np.asarray(ids)]  # [tokens, width]
        for w in self._blocks:
            h = self._rms_norm(x, w["attn_norm"])
            q = (h @ w["attn_q"].T).reshape(tokens, self.heads, self.head_dim)
            k = (h @ w["attn_k"].T).reshape(tokens, self.kv_heads, self.head_dim)
            v = (h @ w["attn_v"].T).reshape(tokens, self.kv_heads, self.head_dim)
            attended = self._attention(self._rope(q, cos, sin), self._rope(k, cos, sin), v)
            x = x + attended @ w["attn_output"].T

            h = self._rms_norm(x, w["ffn_norm"])
            gate = h @ w["ffn_gate"].T  # [tokens, feed_forward]
            x = x + (gate / (1 + np.exp(-gate)) * (h @ w["ffn_up"].T)) @ w["ffn_down"].T
        return self._rms_norm(x, self._output_norm)


def parse_tokens(text):
    """`1,2,3`, or `@FILE` with ids divided by commas or white space."""
    if text.startswith("@"):
        text = pathlib.Path(text[1:]).read_text()
    return [int(part) for part in text.replace(",", " ").split()]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("--tokens", required=True, help="1,2,3 or @FILE")
    parser.add_argument("--logits", required=True, help="the .npy file to write")
    options = parser.parse_args()
    np.save(options.logits, NumpyLlama(options.model).forward(parse_tokens(options.tokens)))


if __name__ == "__main__":
    sys.exit(main())
