"""Programs whose weights are in a file of their own, against the program that has them itself.

    split_weights.py INGOT FOLDER [EMULATOR TARGET]
"""

import pathlib
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "oracle"))

import tiny_models  # noqa: E402
from tiny_programs import TOKENS, Folder, run  # noqa: E402

ingot, path, *emulated = sys.argv[1:]
folder = Folder(ingot, path)
tiny_models.write_tiny_llama(folder.model, quant="q8_0")
options = ["--target", emulated[1]] if emulated else []
emulator = emulated[:1]


def refused(program, reason, *more):
    """It ends with 1 and one sentence, before it answers."""
    said = run(*emulator, program, "--raw", "-p", "hi", *more, code=1).splitlines()
    assert len(said) == 2 and said[0].startswith("error: ") and reason in said[0], said


single = folder.compiled("single", *options)
split = folder.compiled("split", "--split", *options)
weights = folder.path / "split.weights"
expected = folder.logits(*emulator, single)
assert folder.logits(*emulator, split) == expected, "the split program's logits differ"
assert split.stat().st_size + weights.stat().st_size < single.stat().st_size + (1 << 18)

# Each is all there is in its folder: the single one runs, the split one says what it misses.
for program in (single, split):
    alone = folder.path / f"alone-{program.name}"
    alone.mkdir()
    shutil.copy2(program, alone)
folder.logits(*emulator, folder.path / "alone-single/single")
refused(folder.path / "alone-split/split", "split.weights: the file of weights cannot be read")
assert folder.logits(*emulator, folder.path / "alone-split/split", "--weights",
                     weights) == expected
refused(single, "--weights: this program has its weights itself", "--weights", weights)

# A program with another context has the same weights, one of another model has not.
short = folder.compiled("short", "--split", "--context", "80", *options)
run(*emulator, short, "--tokens", TOKENS, "--logits", folder.path / "short.npy", "--weights",
    weights)
assert (folder.path / "short.npy").read_bytes() == expected
whole = weights.read_bytes()
tiny_models.write_tiny_llama(folder.model, quant="q8_0", seed=1)
folder.compiled("other", "--split", *options)
wrong = "the file does not hold this model's weights"
refused(split, wrong, "--weights", folder.path / "other.weights")
refused(split, wrong, "--weights", folder.model)
# 64 bytes are enough for that: the rest need not be there.
head = folder.path / "head"
head.write_bytes((folder.path / "other.weights").read_bytes()[:64])
refused(split, wrong, "--weights", head)
head.write_bytes(b"")
refused(split, wrong, "--weights", head)

# Damage: every field of the header, the first and last weights, a missing byte.
damaged = folder.path / "damaged"
offset = int.from_bytes(whole[16:24], "little")
for at in (17, 25, 33, 47, 48, 63, offset, (offset + len(whole)) // 2, len(whole) - 1):
    damaged.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1:])
    refused(split, "the file of weights is damaged", "--weights", damaged)
damaged.write_bytes(whole[:-1])
refused(split, "the file of weights is damaged", "--weights", damaged)

# What the tools say.
info = run(*emulator, split, "--info")
assert "split.weights" in info, info
shown = run(ingot, "inspect", split)
assert "split.weights" in shown, shown
run(ingot, "compile", folder.model, "-o", folder.path / "verified", "--split", "--verify",
    *options)
print("as one program")
shutil.rmtree(folder.path)
