"""Compiles tiny models for this machine and for Hexagon: under emulation, logits are the same bits.

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
emulator = ("qemu-hexagon", "-cpu", "v67")


def check(*options, **shape):
    """Prefill, score and decode steps."""
    tiny_models.write_tiny_llama(model, **shape)
    here = compiled("here", *options)
    there = (*emulator, compiled("there", "--target", "hexagon-v68", *options))
    assert logits(*there) == logits(here), (shape, options)
    question = ("--raw", "-p", "one two three", "-n", "12", "--temp", "0")
    assert run(*there, *question) == run(here, *question), (shape, options)
    run(*there, "--selftest")
    # Weights lie alike in both.
    for key in ("weights_bytes", "cache_bytes", "weights", "caches"):
        assert json.loads(run(*there, "--info", "--json"))[key] == \
            json.loads(run(here, "--info", "--json"))[key], key


check(quant="q4_1")
check(quant="q8_0", tied=False)
check("--activations", "f32", quant="q5_0")

# Products of codes are dot products of bytes in vectors.
tiny_models.write_tiny_llama(model, quant="q4_1")
text = run(objdump, "--disassemble", "--no-show-raw-insn", "--mattr=+v68,+hvxv68",
           compiled("there.o", "--target", "hexagon-v68", "--emit", "object"))
functions = dict(re.findall(r"^[0-9a-f]+ <([^$>]+)>:\n(.*?)(?=\n\n|\Z)", text,
                            re.MULTILINE | re.DOTALL))
linears = {name: body for name, body in functions.items()
           if name.startswith("linear") or name.startswith("logits")}
assert linears
for name, body in linears.items():
    assert "vrmpy" in body, name
shutil.rmtree(folder)
