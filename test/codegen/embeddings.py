"""Compares what embeddings.c wrote with the numpy model.

    embeddings.py MODEL.gguf TOKENS FLOATS
"""

import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "oracle"))
from numpy_llama import NumpyLlama  # noqa: E402

path, count, floats = sys.argv[1], int(sys.argv[2]), np.fromfile(sys.argv[3], np.float32)
model = NumpyLlama(path)
expected = model.hidden([i % model.vocab_size for i in range(count)])
rows = floats.reshape(count + 2, -1)
assert rows.shape[1] == model.width, rows.shape


def distance(a, b):
    return float(np.abs(a - b).max() / np.abs(b).max())


worst = {"each": distance(rows[:count], expected),
         "mean": distance(rows[count], expected.mean(axis=0)),
         "last": distance(rows[count + 1], expected[-1])}
print(worst)
assert all(value < 1e-4 for value in worst.values()), worst
assert (rows[count - 1] == rows[count + 1]).all(), "the last one depends on the steps before"
