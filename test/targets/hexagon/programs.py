"""Tiny models compiled for Hexagon: under emulation as good as on this processor, in every kind of step.

    programs.py INGOT FOLDER
"""

import json
import pathlib
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "oracle"))

import tiny_models  # noqa: E402
from tiny_programs import Folder, run  # noqa: E402

ingot = sys.argv[1]
tiny = Folder(ingot, sys.argv[2])
emulator = ("qemu-hexagon", "-cpu", "v67")


def check(*options, **shape):
    """--verify compares prefill's logits with the reference, --selftest all kinds of steps, one and
    several sequences. Where nothing is rounded, the text is what this processor generates."""
    tiny_models.write_tiny_llama(tiny.model, **shape)
    said = run(ingot, "compile", tiny.model, "-o", tiny.path / "there", "--target", "hexagon-v68",
               "--verify", "--verify-tokens", "70", *options)
    assert "verified on 70 tokens" in said, said
    if "--activations" not in options:
        options += ("--activations", "int16")
    there, here = (*emulator, tiny.path / "there"), tiny.compiled("here", *options)
    said = run(*there, "--selftest").splitlines()
    assert said[-1] == "pass", said
    # Threads are there when they are asked for, and change no bit.
    logits = tiny.logits(*there)
    for threads in ("2", "5"):
        shared = run(*there, "--selftest", "--threads", threads).splitlines()
        assert f"threads {threads}," in shared[0] and shared[1:] == said[1:], (said, shared)
        assert tiny.logits(*there, "--threads", threads) == logits, threads
    answer = ("--raw", "-p", "one two three", "-n", "12", "--temp", "0")
    if "int8" not in options:  # of codes of 8 bits, random models leave near ties to chance
        assert run(*there, *answer) == run(here, *answer), (shape, options)
    for key in ("cache_bytes", "caches", "weights_bytes", "weights"):
        assert json.loads(run(*there, "--info", "--json"))[key] == \
            json.loads(run(here, "--info", "--json"))[key], key


check(quant="q4_1")
check("--batch", "2,5", quant="q8_0", tied=False)
check("--activations", "int8", quant="q4_0")
check(quant="q6_k", embedding=256, feed_forward=512, layers=1)
check(quant="q4_k", embedding=256, feed_forward=512, layers=1)
check(quant="iq4_nl")
check("--activations", "int8", "--batch", "2,5", quant="mxfp4")
check("--activations", "f32", quant="q5_0")
shutil.rmtree(tiny.path)
