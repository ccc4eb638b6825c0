"""Compiles a tiny model of every weight format and shape and lets `--verify` judge it.

    tiny_programs.py INGOT FOLDER
"""

import pathlib
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "oracle"))

import tiny_models  # noqa: E402

ingot, folder = sys.argv[1], pathlib.Path(sys.argv[2])
shutil.rmtree(folder, ignore_errors=True)
folder.mkdir(parents=True)
wide = {"embedding": 256, "feed_forward": 512, "layers": 1}
cases = [({"quant": quant}, []) for quant in tiny_models.ENCODED]
cases += [({"quant": quant, **wide}, []) for quant in tiny_models.SCALES]
cases += [
    ({"quant": "q8_0", "tied": False}, []),
    ({"quant": "q4_0", "heads": 2, "kv_heads": 1}, []),                       # head_dim 32
    ({"quant": "q5_0", "embedding": 160, "heads": 2, "kv_heads": 2}, []),     # head_dim 80
    ({"quant": "f32", "feed_forward": 112}, ["--quantize", "int8"]),  # not whole groups of 32
    ({"quant": "f32", "feed_forward": 128}, ["--quantize", "int4:g32"]),
    ({"quant": "f16"}, ["--quantize", "uint4:g16"]),
    ({"quant": "f32", "embedding": 128, "feed_forward": 256}, ["--quantize", "int8:g64"]),
    ({"quant": "q4_1", "context": 40}, ["--context", "40"]),
]
roundings = ("f32", "f16", "int8")
programs = len(roundings) * len(cases)


def wrong(number):
    shape, flags = cases[number // len(roundings)]
    activations = roundings[number % len(roundings)]
    model, program = folder / f"{number}.gguf", folder / f"{number}"
    tiny_models.write_tiny_llama(model, **shape)
    done = subprocess.run([ingot, "compile", model, "-o", program, "--activations", activations,
                           "--verify", "--verify-tokens", "37", "--no-cache", *flags],
                          capture_output=True, text=True)
    if done.returncode or "verified on 37 tokens" not in done.stdout:
        return f"{shape} {flags} {activations}: exit {done.returncode}\n{done.stdout}{done.stderr}"
    return None


with ThreadPoolExecutor(2) as pool:
    failures = [text for text in pool.map(wrong, range(programs)) if text]
print("\n".join(failures))
print(f"{programs} programs, {len(failures)} wrong")
shutil.rmtree(folder)
sys.exit(bool(failures))
