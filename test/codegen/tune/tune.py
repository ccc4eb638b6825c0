"""`ingot compile --tune` on a tiny model: results are kept, used, and change no bit of a logit.

    tune.py INGOT FOLDER
"""

import json
import pathlib
import re
import shutil
import subprocess
import sys
import time

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "oracle"))

import tiny_models  # noqa: E402

ingot, folder = sys.argv[1], pathlib.Path(sys.argv[2])
shutil.rmtree(folder, ignore_errors=True)
folder.mkdir(parents=True)
model = folder / "tiny.gguf"
tiny_models.write_tiny_llama(model, layers=1)


def compile_model(output, *flags, code=0):
    done = subprocess.run([ingot, "compile", model, "-o", folder / output, "--cache",
                           folder / "cache", "--batch", "1,3", *flags],
                          capture_output=True, text=True)
    assert done.returncode == code, (flags, done.returncode, done.stderr)
    return done.stderr


def logits(program):
    out = folder / "logits.npy"
    tokens = ",".join(str(i % 260) for i in range(41))
    subprocess.run([folder / program, "--tokens", tokens, "--logits", out], check=True,
                   capture_output=True)
    return np.load(out)


def tiles(*flags):
    """The tile of every kernel, as the IR says it."""
    compile_model("tiles.mlir", "--emit", "mlir", *flags)
    text = (folder / "tiles.mlir").read_text()
    return dict(re.findall(r"kernel\.func @(\w+)\(.*tile = #kernel\.tile<(.*?)>", text))


# The results appear in a readable file, and what was measured in a report.
tuned, report = folder / "tiny.tune", folder / "report.json"
compile_model("plain")
compile_model("tuned", "--tune", "--tune-time", "300", "--tune-file", tuned, "--tune-report", report)
entries = re.findall(r"^tile [0-9a-f]{32} tokens=\d+ streams=\d+ keys=\d+ +code=[0-9a-f]{8} +# (\w+), ",
                     tuned.read_text(), re.M)
said = json.loads(report.read_text())
assert said["measured"] == len(entries) >= 5, (said["measured"], tuned.read_text())
for kernel in said["kernels"]:
    assert kernel["name"] in entries and len(kernel["candidates"]) > 1, kernel
    assert all(c["microseconds"] > 0 and c["estimate_microseconds"] > 0
               for c in kernel["candidates"]), kernel
assert (logits("plain") == logits("tuned")).all()

# A second run measures nothing and writes nothing.
before = tuned.read_text()
said = compile_model("tuned", "--tune=300", "--tune-file", tuned, "--tune-report", report, "-v")
assert "no kernel was measured" in said, said
assert json.loads(report.read_text())["measured"] == 0
assert tuned.read_text() == before

# Without a name the results are kept beside the compiled kernels.
assert "measured: " in compile_model("tuned", "--tune", "-v")
kept, = (folder / "cache").glob("tiles2-*.tune")
assert kept.read_text().startswith("ingot-tiles 2\n")
assert "no kernel was measured" in compile_model("tuned", "--tune", "-v")
# They are used where --tune asks for them: the same command gives the same program anywhere.
kept.write_text(re.sub(r"tokens=\d+", "tokens=1", kept.read_text()))
name = entries[0]
assert "tokens = 1," in tiles("--tune")[name], tiles("--tune")

# What follows changes how many tokens are computed at once, which kernels of one token never do.
many = [entry for entry in entries if not re.search(r"_t1(_\d+)?$", entry)]
written = "".join(line for line in before.splitlines(True)
                  if not re.search(r"# \w+_t1(_\d+)?, ", line))

# A file that is only used is honoured where it knows a kernel. Other results do not change.
for tokens in (1, 3):
    tuned.write_text(re.sub(r"tokens=\d+", f"tokens={tokens}", written))
    chosen = tiles("--tune-file", tuned)
    assert all(f"tokens = {tokens}," in chosen[entry] for entry in many), (tokens, chosen)
    assert f"{len(many)} of {len(entries)} kernels have their tiles from" in compile_model(
        "file", "--tune-file", tuned, "-v")
    assert (logits("plain") == logits("file")).all()
plain = tiles()
tuned.write_text(re.sub(r"tile [0-9a-f]{8}", "tile 00000000", written))
assert tiles("--tune-file", tuned) == plain

# What was measured on kernels made in another way is used, and measured anew.
old = re.sub(r"code=[0-9a-f]{8}", "code=00000000", re.sub(r"tokens=\d+", "tokens=3", written))
tuned.write_text(old)
assert all("tokens = 3," in tile for k, tile in tiles("--tune-file", tuned).items() if k in many)
tuned.write_text(old.replace("tokens=3", "tokens=7"))  # one that no kernel has any more
assert tiles("--tune-file", tuned) == plain
said = compile_model("tuned", "--tune=300", "--tune-file", tuned, "-v")
assert f"{len(entries)} kernels measured: " in said, said
assert "code=00000000" not in tuned.read_text()

# A run that is killed leaves a whole file, and the next one goes on from there.
resumed = folder / "resumed.tune"
command = [ingot, "compile", model, "-o", folder / "killed", "--no-cache", "--batch", "1,3",
           "--tune=300", "--tune-file", resumed]
with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
    while not resumed.exists() and process.poll() is None:
        time.sleep(0.01)
    process.kill()
first = re.findall(r"^tile (\w+)", resumed.read_text(), re.M)
assert 1 <= len(first) <= len(entries), first
said = compile_model("tuned", "--tune=300", "--tune-file", resumed, "-v")
assert f"{len(first)} of {len(entries)} kernels were measured before" in said, said
assert re.findall(r"^tile (\w+)", resumed.read_text(), re.M)[:len(first)] == first
assert len(re.findall(r"^tile ", resumed.read_text(), re.M)) == len(entries)

# The time is bounded, and what is left keeps the model's tiles.
said = compile_model("bounded", "--tune=0.000001", "--tune-file", folder / "bounded.tune")
assert f"{len(entries)} of {len(entries)} kernels keep the tiles of the machine model" in said, said
assert not (folder / "bounded.tune").exists()

# Mistakes.
tuned.write_text(before.replace("tokens=", "token=", 1))
number = before[:before.index("tokens=")].count("\n") + 1
assert f"error: {tuned}: line {number}: unexpected 'token=" in compile_model(
    "wrong", "--tune-file", tuned, code=1)
tuned.write_text(re.sub(r"tokens=\d+", "tokens=7", before, count=1))
assert f"error: {tuned}: line {number}: kernel {name} has no tile tokens=7" in compile_model(
    "wrong", "--tune-file", tuned, code=1)
assert "error: " in compile_model("wrong", "--tune-file", folder / "missing.tune", code=1)
assert "error: " in compile_model("wrong", "--tune", "--tune-file", folder / "no" / "folder", code=1)
assert "--tune" in compile_model("wrong", "--tune-report", report, code=2)
assert "--tune" in compile_model("wrong", "--tune=-3", code=2)
assert "--tune" in compile_model("wrong", "--tune=soon", code=2)
assert not (folder / "wrong").exists()
shutil.rmtree(folder)
