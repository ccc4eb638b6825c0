"""Compiles a model in several ways and replays what was recorded; then breaks programs in places.

    selftest.py INGOT MODEL FOLDER
"""

import json
import pathlib
import shutil
import subprocess
import sys

ingot, model, folder = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
shutil.rmtree(folder, ignore_errors=True)
folder.mkdir(parents=True)


def compile_model(name, *options):
    subprocess.run([ingot, "compile", model, "-o", folder / name, *options], check=True)
    return folder / name


def inspect(program):
    return json.loads(subprocess.check_output([ingot, "inspect", program, "--json"]))


def selftest(program, *options):
    done = subprocess.run([program, "--selftest", "--json", *options], text=True,
                          capture_output=True)
    assert (done.returncode, done.stderr == "") in ((0, True), (1, False)), done
    return json.loads(done.stdout)


chat = compile_model("chat")
found = selftest(chat, "--threads", "2")
assert found["passed"] and found["tokens"] == 16, found
names = [step["name"] for step in found["steps"]]
assert names == ["score", "decode", "prefill", "decode4", "decode8"], names
# The text is far from any near-tie, so that all of its tokens agree.
assert all(step["agreed"] == step["rows"] for step in found["steps"]), found
assert selftest(chat, "--threads", "1", "--digest", found["digest"])["passed"]
assert not selftest(chat, "--digest", "0" * 16)["passed"]

# Programs for another machine have the same record, made without running them.
other = compile_model("other", "--target", "sapphirerapids")
assert inspect(other)["selftest_tokens"] == inspect(chat)["selftest_tokens"] != []

exact = compile_model("exact", "--activations", "f32", "--selftest-tokens", "7")
found = selftest(exact)
assert found["passed"] and found["tokens"] == 7 and "error_bound" in found, found
assert max(step["max_error"] for step in found["steps"]) < found["error_bound"], found

assert selftest(compile_model("rounded", "--quantize", "int4:g32", "--context", "5"))["tokens"] == 5

nothing = compile_model("nothing", "--selftest-tokens", "0")
done = subprocess.run([nothing, "--selftest"], text=True, capture_output=True)
assert done.returncode == 1 and "nothing was recorded" in done.stderr and not done.stdout, done
assert inspect(nothing)["selftest_tokens"] == []


def overwrite(offset, count):
    """A copy of the program, with other bytes somewhere."""
    broken = folder / "broken"
    data = bytearray(chat.read_bytes())
    data[offset:offset + count] = bytes(byte ^ 0x55 for byte in data[offset:offset + count])
    broken.write_bytes(data)
    broken.chmod(0o755)
    return broken


# One layer's matrix is damaged, as a bad download does it.
weight = next(w for w in inspect(chat)["weights"] if w["name"] == "blk.3.ffn_down.weight")
start = int(next(line.split()[4] for line in subprocess.check_output(
    ["llvm-readelf", "-SW", chat], text=True).replace("[ ", "[").splitlines()
    if ".lrodata" in line), 16)
found = selftest(overwrite(start + weight["offset"], weight["bytes"]))
assert not found["passed"] and found["tokenizer"], found
assert not any(step["passed"] for step in found["steps"]), found
shutil.rmtree(folder)
