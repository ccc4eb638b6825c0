"""Writes blocks.bin: random blocks of every GGUF format and the values that PyPI's gguf decodes.

    make_fixtures.py blocks.bin

For each format: ggml type, rows, columns, bytes (u32 each), the blocks, the values (f32). Scales
are any 16 bits, so some values are infinite or not numbers.
"""

import os
import struct
import sys

import numpy as np
from gguf import GGML_QUANT_SIZES
from gguf import GGMLQuantizationType as Type
from gguf.quants import dequantize

random = np.random.default_rng(5)
with open(sys.argv[1] + ".new", "wb") as out:
    for kind in (Type.F16, Type.BF16, Type.Q8_0, Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q5_1,
                 Type.Q2_K, Type.Q3_K, Type.Q4_K, Type.Q5_K, Type.Q6_K, Type.IQ4_NL,
                 Type.MXFP4):
        block, size = GGML_QUANT_SIZES[kind]
        columns = max(block, 64)
        rows = 768 // columns
        data = random.integers(0, 256, (rows, columns // block * size), dtype=np.uint8)
        with np.errstate(all="ignore"):
            values = dequantize(data, kind).astype(np.float32)
        assert values.shape == (rows, columns)
        out.write(struct.pack("<4I", int(kind), rows, columns, data.size))
        out.write(data.tobytes() + values.tobytes())
os.replace(sys.argv[1] + ".new", sys.argv[1])
