"""The smallest model that still shows a difference: small, readable, and showing it.

    reduce.py INGOT INGOT_OPT FOLDER
"""

import json
import pathlib
import re
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "oracle"))

import tiny_models  # noqa: E402

ingot, ingot_opt, folder = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
shutil.rmtree(folder, ignore_errors=True)
folder.mkdir(parents=True)
model, tokens = folder / "tiny.gguf", "5,17,250,33,9,101,2,64"
tiny_models.write_tiny_llama(model, layers=4)


def run(*command, code=0):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    assert done.returncode == code, (command, done)
    return done.stdout, done.stderr


def errors(a, b, *options, code):
    record = folder / "errors.json"
    run(ingot, "compare", a, b, "--json", record, *options, code=code)
    return json.loads(record.read_text())


# Attention rounds its weights to codes, the reference does not: nothing else differs by so much.
program = folder / "program"
run(ingot, "compile", model, "-o", program, "--batch", "1,4")
values = errors(program, model, "--tokens", tokens, code=0)["values"]
attention = max(v["relative_error"] for v in values if v["kernel"].startswith("attention"))
others = max(v["relative_error"] for v in values if not v["kernel"].startswith("attention"))
assert attention > 2 * others, (attention, others)
bound = (attention * others) ** 0.5
for step in ("score", "decode", "prefill", "decode4"):
    reduced = folder / f"{step}.mlir"
    text, _ = run(ingot, "compare", program, model, "--tokens", tokens, "--step", step,
                  "--bound", f"{bound:.3g}", "--reduce", reduced, code=1)
    before, after, told = re.search(r"reduced from (\d+) operations to (\d+).*--tokens (\S+)", text,
                                    re.DOTALL).groups()
    module = reduced.read_text()
    # One attention and what it cannot do without; one layer's cache; its weights are in the file.
    operations = re.findall(r"= lm\.(\w+)|^ +lm\.(append)", module, re.MULTILINE)
    assert sum(a == "attention" for a, _ in operations) == 1, module
    assert module.count("lm.kv_cache @") == 1 and "silu_mul" not in module, module
    assert int(after) <= 14 < int(before), (before, after, module)
    assert len(told.split(",")) < 8 and len(module) < 20_000
    # Passes read it, `compile` and `compare` do, and what was left still differs.
    run(ingot_opt, reduced, "--ingot-lower")
    again = folder / "again"
    run(ingot, "compile", reduced, "-o", again, "--batch", "1,4")
    found = errors(again, reduced, "--tokens", told, "--step", step, "--bound", f"{bound:.3g}",
                   code=1)
    assert found["values"][found["first"]]["kernel"].startswith("attention"), found

# Without a difference there is nothing to reduce.
_, said = run(ingot, "compare", program, model, "--tokens", tokens, "--reduce", folder / "x.mlir",
              code=1)
assert "there is no difference to reduce" in said and not (folder / "x.mlir").exists(), said

# What is wrong with a module file is said.
good = (folder / "score.mlir").read_text()
for text, expected in (
        ("module {", "bad.mlir: line 1: "),
        ("module {}", "does not name the GGUF file"),
        (good.replace("tiny.gguf", "none.gguf"), "none.gguf"),
        (good.replace("@token_embd.weight", "@token_embd.other"), "is no tensor of"),
        (re.sub(r"@forward", "@backward", good), "@forward: is missing"),
        (re.sub(r"(lm.cache<)\d+", r"\g<1>128", good), "and the options ask for")):
    bad = folder / "bad.mlir"
    bad.write_text(text)
    _, said = run(ingot, "compile", bad, "-o", folder / "none", code=1)
    assert said.startswith("error: ") and expected in said, (expected, said)
    assert not (folder / "none").exists()
shutil.rmtree(folder)
