"""Makes the Q4_0 copy of a GGUF that llama.cpp runs on its repacked kernels: for timing only.

    llama_quantize.py MODEL.gguf OUT.gguf [TYPE]

llama.cpp interleaves Q4_0 rows in memory when it loads them and has its fastest kernels for that;
Q4_1, the format of the benchmarks' model, has none. The copy is rounded a second time (4-bit codes
with a minimum to 4-bit codes without), so it answers worse than MODEL: it says what llama.cpp's
best 4-bit format costs in time on this machine, nothing about quality. Matrices that MODEL keeps in
another format than Q4_1 (the embedding, which is also the output matrix) keep that format.

With a TYPE of llama.cpp's (q4_k_m, q6_k, ...) every matrix gets what that type gives it.
"""

import ctypes
import os
import pathlib
import sys

import gguf
import llama_cpp

WARNINGS = 3  # of ggml's log levels: debug 1, info 2, warning 3, error 4
_LOG = llama_cpp.llama_log_callback(
    lambda level, text, data: sys.stderr.write(text.decode(errors="replace"))
    if level > WARNINGS else None)


def tensor_type(reader, name):
    """The ggml type of tensor `name`, or None where the file has no such tensor."""
    return next((tensor.tensor_type for tensor in reader.tensors if tensor.name == name), None)


def main():
    source, target = map(pathlib.Path, sys.argv[1:3])
    named = sys.argv[3:]
    kind = named[0].upper() if named else "Q4_0"
    if target.exists():
        return 0
    print(f"Quantizing {source.name} to {kind} for llama.cpp: {target}", file=sys.stderr)
    target.parent.mkdir(parents=True, exist_ok=True)
    reader = gguf.GGUFReader(source)
    llama_cpp.llama_log_set(_LOG, ctypes.c_void_p(0))
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{kind}")
    params.allow_requantize = True
    for name, field in (("token_embd.weight", "token_embedding_type"),
                        ("output.weight", "output_tensor_type")):
        kept = tensor_type(reader, name)
        if not named and kept is not None and kept != gguf.GGMLQuantizationType.Q4_1:
            setattr(params, field, int(kept))
    # The file gets its name only when it is whole.
    unfinished = target.with_name(f"{target.name}.{os.getpid()}")
    try:
        status = llama_cpp.llama_model_quantize(str(source).encode(), str(unfinished).encode(),
                                                ctypes.byref(params))
        if status:
            print(f"error: llama.cpp cannot quantize {source} (status {status})", file=sys.stderr)
            return 1
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
