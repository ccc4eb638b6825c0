"""Compiles a tiny model for x86-64-v3 and for several machines, and compares the programs.

    variants.py INGOT OBJDUMP FOLDER
"""

import json
import pathlib
import re
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "oracle"))

import tiny_models  # noqa: E402
from tiny_programs import Folder, run  # noqa: E402

ingot, objdump = sys.argv[1:3]
tiny = Folder(ingot, sys.argv[3])
folder, model, logits = tiny.path, tiny.model, tiny.logits


def compiled(name, target, *options):
    return tiny.compiled(name, "--target", target, *options)


def kernels(program):
    """What a program with symbols disassembles to, function by function."""
    text = run(objdump, "--disassemble", "--no-show-raw-insn", program)
    return {m[1]: m[2] for m in re.finditer(r"^[0-9a-f]+ <([^>]+)>:\n(.*?)(?=\n\n|\Z)", text,
                                            re.MULTILINE | re.DOTALL)}


def check(quant, *options):
    tiny_models.write_tiny_llama(model, quant=quant)
    alone = compiled("alone", "x86-64-v3", *options)
    both = compiled("both", "x86-64-v3+v4", *options)
    expected = logits(alone)
    assert logits(both, "--isa", "avx2") == expected
    assert logits(both, "--isa", "x86-64-v3") == expected
    info = json.loads(run(both, "--info", "--json"))["build"]
    names = [variant["name"] for variant in info["variants"]]
    assert names == ["x86-64-v4-vnni", "x86-64-v3"], names
    in_use = [variant["name"] for variant in info["variants"] if variant["in_use"]]
    vnni = not info["variants"][0]["missing_feature"]
    assert in_use == names[:1] if vnni else names[1:], info
    # Sums of floats have one order on every machine, so the better kernels change no bit.
    assert logits(both) == expected
    if not vnni:
        error = run(both, "-p", "x", "--isa", "avx512-vnni", code=1)
        assert re.match("error: --isa: this processor has no avx512[a-z]+, which kernels for "
                        "x86-64-v4-vnni need\n", error), error
    # Weights exist once: the second set of kernels costs less than weights of a real model.
    for key in ("weights_bytes", "arena_bytes", "cache_bytes", "weights", "caches"):
        assert json.loads(run(both, "--info", "--json"))[key] == \
            json.loads(run(alone, "--info", "--json"))[key], key

    functions = kernels(compiled("both.o", "x86-64-v3+v4", "--emit", "object", *options))
    ours = {variant: {name: body for name, body in functions.items() if name.endswith(variant)}
            for variant in ("_x86_64_v3", "_x86_64_v4_vnni")}
    assert {name.removesuffix("_x86_64_v3") for name in ours["_x86_64_v3"]} == \
        {name.removesuffix("_x86_64_v4_vnni") for name in ours["_x86_64_v4_vnni"]}
    for name, body in functions.items():
        wide = bool(re.search("vpdpbusd|zmm|%k[0-7]", body))
        assert not wide or name.endswith("_x86_64_v4_vnni"), f"{name} uses AVX-512"
    assert any("vpdpbusd" in body for body in ours["_x86_64_v4_vnni"].values()) == \
        ("f32" not in options)
    return both


both = check("q4_1")
check("q8_0")
check("q4_0", "--activations", "f32", "--batch", "2,5")

# Every way to compile, and what a program says of itself.
text = run(ingot, "inspect", both)
assert "kernels for x86-64-v4-vnni (avx512-vnni), x86-64-v3 (avx2)\n" in text, text
names = [v["name"] for v in json.loads(run(ingot, "inspect", "--json", both))["variants"]]
assert names == ["x86-64-v4-vnni", "x86-64-v3"], names
assert "x86-64-v3: verified on 20 tokens" in run(
    ingot, "compile", model, "-o", folder / "verified", "--target", "x86-64-v3+v4", "--verify",
    "--verify-tokens", "20")
ll = compiled("both.ll", "x86-64-v3+v4", "--emit", "llvm").read_text()
for name in ("decode", "prefill", "score", "decode4", "decode8"):
    for variant in ("x86_64_v3", "x86_64_v4_vnni"):
        assert ll.count(f"define void @ingot_step_{name}_{variant}(") == 1, (name, variant)
assert compiled("both.mlir", "x86-64-v3+v4", "--emit", "mlir").read_text().count("// -----") == 1
cache = folder / "cache"
first = compiled("first", "x86-64-v3+v4", "--cache", cache).read_bytes()
stored = {path.name for path in cache.rglob("*") if path.is_file()}
assert compiled("first", "x86-64-v3+v4", "--cache", cache).read_bytes() == first
assert {path.name for path in cache.rglob("*") if path.is_file()} == stored
error = run(ingot, "compile", model, "-o", folder / "x", "--target", "x86-64-v3+v9", code=1)
assert "unknown part 'v9'" in error and "x86-64-v4-vnni" in error, error
shutil.rmtree(folder)
