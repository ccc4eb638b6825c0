"""What is said behind a text: by `program` as its logits have it, by others as by `program`.

    begin.py   (in the folder of the three)
"""

import subprocess

import numpy as np

TEXT, BOS, TOKENS = "hello", "265", "16"  # of tiny_models.py; as many as the examples say


def run(*command):
    return subprocess.run(command, check=True, capture_output=True).stdout


def first_said(ids):
    run("./program", "--tokens", ids, "--logits", "logits.npy")
    return str(np.load("logits.npy")[-1].argmax())


ids = run("./program", "--tokenize", TEXT).decode().strip()
with_bos, without = first_said(f"{BOS},{ids}"), first_said(ids)
assert with_bos != without, "this model says the same either way"
said = run("./program", "--raw", "-p", TEXT, "-n", TOKENS, "--temp", "0")
one = run("./program", "--raw", "-p", TEXT, "-n", "1", "--temp", "0")
assert run("./program", "--tokenize", one.rstrip(b"\n")).decode().strip() == with_bos, one
assert run("./complete", TEXT) == said
assert run("./several", TEXT) == TEXT.encode() + said
