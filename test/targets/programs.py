"""Compiles tiny models for this machine and for another one: under emulation, logits are the same bits.

    programs.py INGOT FOLDER TARGET EMULATOR CPU=VARIANT... [--no-f16-cache]

The program for TARGET, run as EMULATOR -cpu CPU, picks its kernels for VARIANT.
"""

import json
import pathlib
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "oracle"))

import tiny_models  # noqa: E402
from tiny_programs import Folder, run  # noqa: E402

ingot, folder, target, emulator = sys.argv[1:5]
f16_cache = "--no-f16-cache" not in sys.argv  # the emulator may lack what it takes
variants = [tuple(pair.rsplit("=", 1)) for pair in sys.argv[5:] if not pair.startswith("--")]
tiny = Folder(ingot, folder)
model, compiled, logits = tiny.model, tiny.compiled, tiny.logits


def check(*options, **shape):
    """Prefill, score and decode steps, on several processors and numbers of threads."""
    tiny_models.write_tiny_llama(model, **shape)
    here = compiled("here", *options)
    there = compiled("there", "--target", target, *options)
    expected = logits(here)
    answer = run(here, "--raw", "-p", "one two three", "-n", "12", "--temp", "0")
    for cpu, variant in variants:
        emulated = (emulator, "-cpu", cpu, there)
        build = json.loads(run(*emulated, "--info", "--json"))["build"]
        assert [v["name"] for v in build["variants"] if v["in_use"]] == [variant], (cpu, build)
        for threads in ("1", "3") if cpu == variants[-1][0] else ("2",):
            assert logits(*emulated, "--threads", threads) == expected, (shape, options, cpu)
    assert run(*emulated, "--raw", "-p", "one two three", "-n", "12", "--temp", "0") == answer
    # Weights lie alike in both.
    for key in ("weights_bytes", "arena_bytes", "cache_bytes", "weights", "caches"):
        assert json.loads(run(*emulated, "--info", "--json"))[key] == \
            json.loads(run(here, "--info", "--json"))[key], key


check(quant="q4_1")
check(quant="q8_0", tied=False)
check(quant="iq4_nl", tied=False)
check(quant="mxfp4")
check("--batch", "2,5", quant="q4_0", heads=2, kv_heads=1)
check("--activations", "f32", quant="q5_0")
check("--activations", "f16", quant="f16")
check("--activations", "f16", "--batch", "2", quant="q4_1", heads=2, kv_heads=1)
if f16_cache:
    check("--kv-cache", "f16", quant="q6_k", embedding=256, feed_forward=512, layers=1)
shutil.rmtree(tiny.path)
