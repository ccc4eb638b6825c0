"""Compiles the tiny model of a folder, and runs programs on the same tokens: for tests that compare
programs of several machines."""

import pathlib
import shutil
import subprocess

TOKENS = ",".join(str(i * 37 % 250) for i in range(70))


class Folder:
    """An empty folder with `model`, which tiny_models writes; remove it when the test has passed."""

    def __init__(self, ingot, path):
        self.ingot, self.path = ingot, pathlib.Path(path)
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.mkdir(parents=True)
        self.model = self.path / "model.gguf"

    def compiled(self, name, *options):
        run(self.ingot, "compile", self.model, "-o", self.path / name, *options)
        return self.path / name

    def logits(self, *command):
        run(*command, "--tokens", TOKENS, "--logits", self.path / "out.npy")
        return (self.path / "out.npy").read_bytes()


def run(*command, code=0):
    """Standard output of a command that ends with 0, or what it says when it ends with `code`."""
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    assert done.returncode == code, (command, done.returncode, done.stdout, done.stderr)
    return done.stdout if code == 0 else done.stderr
