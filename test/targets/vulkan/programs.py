"""Tiny models compiled for Vulkan: as good as for this processor, in every kind of step.

    programs.py INGOT FOLDER
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "oracle"))

import gguf  # noqa: E402

import tiny_models  # noqa: E402
from tiny_programs import Folder, run  # noqa: E402

ingot = sys.argv[1]
tiny = Folder(ingot, sys.argv[2])


def check(*options, **shape):
    """--verify compares prefill's logits with the reference, --selftest all kinds of steps, one and
    several sequences. Where nothing is rounded, the text is what the processor generates."""
    tiny_models.write_tiny_llama(tiny.model, **shape)
    said = run(ingot, "compile", tiny.model, "-o", tiny.path / "there", "--target", "vulkan",
               "--verify", "--verify-tokens", "70", *options)
    assert "verified on 70 tokens" in said, said
    there = tiny.path / "there"
    assert run(there, "--selftest").splitlines()[-1] == "pass"
    if options[:2] == ("--activations", "f16"):  # beside which the processor has another cache
        assert math_of(there) == ("f16", "f16"), math_of(there)
        return
    here = tiny.compiled("here", *options)
    answer = ("--raw", "-p", "one two three", "-n", "16", "--temp", "0")
    if "f32" in options:  # of rounded activations, random models leave near ties to chance
        assert run(there, *answer) == run(here, *answer), (shape, options)
    for key in ("arena_bytes", "cache_bytes", "caches", "weights_bytes", "weights"):
        assert json.loads(run(there, "--info", "--json"))[key] == \
            json.loads(run(here, "--info", "--json"))[key], key


def math_of(program):
    build = json.loads(run(program, "--info", "--json"))["build"]
    return build["activations"], build["kv_cache"]


check("--activations", "int8", quant="q4_1")
check("--activations", "int8", "--batch", "2,5", quant="q8_0", tied=False)
check("--activations", "f32", "--kv-cache", "f16", "--batch", "2,5", quant="q4_1")
check("--activations", "int8", quant="mxfp4")
check("--activations", "f32", quant="iq4_nl", tied=False)
check("--activations", "f32", quant="q5_0", embedding=160, heads=2, kv_heads=2)
check("--activations", "f32", "--kv-cache", "f16", quant="q6_k", embedding=256, feed_forward=512, layers=1)
check("--activations", "int8", "--kv-cache", "f32", "--quantize", "int8:g64", quant="f32",
      embedding=128, feed_forward=256)
check("--activations", "f32", quant="bf16", heads=2, kv_heads=1)
check("--activations", "f16", "--batch", "2,16", quant="q4_1")
check("--activations", "f16", quant="q6_k", embedding=256, feed_forward=512, layers=1, tied=False)

# A token: 6 launches a layer, and no more bytes than its matrices have in the file and a tenth. Weights
# take as much as there, but for scales of Q4_K and Q5_K, whose 6 bits are a byte.
for quant in ("q4_1", "q5_0", "q4_k", "q5_k", "q6_k"):
    tiny_models.write_tiny_llama(tiny.model, quant=quant, layers=3, embedding=256, feed_forward=768,
                                 context=64)
    program = tiny.compiled("counted", "--target", "vulkan")
    assert math_of(program) == ("f32", "f16"), math_of(program)
    decode = json.loads(run(program, "--profile", "--prompt-tokens", "2", "--gen-tokens", "3",
                            "--reps", "1", "--json"))["decode"]
    assert sum(kernel["calls"] for kernel in decode["kernels"]) <= 6 * 3 + 4, decode
    stored = sum(int(tensor.n_bytes) for tensor in gguf.GGUFReader(tiny.model).tensors
                 if len(tensor.shape) > 1)
    packed = sum(weight["bytes"] for weight in json.loads(run(program, "--info", "--json"))["weights"]
                 if weight["rows"] > 1)
    assert packed <= 1.03 * stored, (quant, packed, stored)
    moved = sum(kernel[kind] for kernel in decode["kernels"]
                for kind in ("weight_bytes", "cache_bytes", "activation_bytes"))
    assert moved <= 1.1 * stored, (quant, moved, stored)
    print(f"{quant}: {stored} bytes of matrices, {packed} in the program, {moved} moved a token")

# What each launch leaves, seen from outside; the C library is the only one that it names.
assert "layer" in run(ingot, "compare", program, tiny.model)
needed = [line.split("[")[1][:-1] for line in run("readelf", "-d", program).splitlines()
          if "(NEEDED)" in line]
assert needed == ["libc.so.6"], needed

# Kernels for the processor in the same program: where there is no device, it says so and runs them.
both = tiny.compiled("both", "--target", "vulkan+x86-64-v3", "--verify", "--verify-tokens", "20")
assert math_of(both) == ("f32", "f16"), math_of(both)
nothing = {**os.environ, "VK_ICD_FILENAMES": "/nowhere.json", "VK_DRIVER_FILES": "/nowhere.json"}
answer = [both, "--raw", "-p", "one two", "-n", "4", "--temp", "0"]
without = subprocess.run(answer, env=nothing, capture_output=True)
assert without.returncode == 0, without
assert without.stderr == b"note: there is no Vulkan driver; running on x86-64-v3\n", without.stderr
with_device = subprocess.run(answer, capture_output=True)
assert with_device.stdout == without.stdout and not with_device.stderr, with_device
alone = subprocess.run([both, "--isa", "vulkan", "-p", "one"], env=nothing, capture_output=True)
assert alone.returncode == 1 and b"error: cannot start: there is no Vulkan driver\n" == \
    alone.stderr, alone
shutil.rmtree(tiny.path)
