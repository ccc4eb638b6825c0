"""Compiles tiny models for this machine and for AArch64: under emulation, logits are the same bits.

    programs.py INGOT OBJDUMP FOLDER
"""

import json
import pathlib
import re
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "oracle"))

import tiny_models  # noqa: E402
from tiny_programs import Folder, run  # noqa: E402

ingot, objdump = sys.argv[1:3]
tiny = Folder(ingot, sys.argv[3])
folder, model, compiled, logits = tiny.path, tiny.model, tiny.compiled, tiny.logits
variants = {"cortex-a53": "aarch64-neon", "cortex-a76": "aarch64-dotprod", "max": "aarch64-dotprod"}


def check(*options, **shape):
    """Prefill, score and decode steps, on several processors and numbers of threads."""
    tiny_models.write_tiny_llama(model, **shape)
    here = compiled("here", *options)
    there = compiled("there", "--target", "aarch64-linux", *options)
    expected = logits(here)
    answer = run(here, "--raw", "-p", "one two three", "-n", "12", "--temp", "0")
    for cpu, variant in variants.items():
        emulated = ("qemu-aarch64", "-cpu", cpu, there)
        build = json.loads(run(*emulated, "--info", "--json"))["build"]
        assert [v["name"] for v in build["variants"] if v["in_use"]] == [variant], (cpu, build)
        for threads in ("1", "3") if cpu == "max" else ("2",):
            assert logits(*emulated, "--threads", threads) == expected, (shape, options, cpu)
    assert run(*emulated, "--raw", "-p", "one two three", "-n", "12", "--temp", "0") == answer
    # Weights lie alike in both.
    for key in ("weights_bytes", "arena_bytes", "cache_bytes", "weights", "caches"):
        assert json.loads(run(*emulated, "--info", "--json"))[key] == \
            json.loads(run(here, "--info", "--json"))[key], key


check(quant="q4_1")
check(quant="q8_0", tied=False)
check("--batch", "2,5", quant="q4_0", heads=2, kv_heads=1)
check("--activations", "f32", quant="q5_0")
check("--kv-cache", "f16", quant="q6_k", embedding=256, feed_forward=512, layers=1)

# Only kernels for machines with dot products use them, and those of 4-bit linear layers do.
tiny_models.write_tiny_llama(model)
text = run(objdump, "--disassemble", "--no-show-raw-insn", "--mattr=+all",
           compiled("both.o", "--target", "aarch64-linux", "--emit", "object"))
functions = dict(re.findall(r"^[0-9a-f]+ <([^$>]+)>:\n(.*?)(?=\n\n|\Z)", text,
                            re.MULTILINE | re.DOTALL))
with_dots = {name for name, body in functions.items() if re.search(r"\t[su]dot\t", body)}
assert with_dots and all(name.endswith("_aarch64_dotprod") for name in with_dots), with_dots
for name in functions:
    if name.startswith("linear") and name.endswith("_aarch64_dotprod"):
        assert name in with_dots, name
shutil.rmtree(folder)
