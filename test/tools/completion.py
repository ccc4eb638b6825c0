"""What zsh, on a terminal, and fish offer for words of `ingot`.

    completion.py INGOT FOLDER
"""

import json
import os
import pathlib
import pty
import select
import shutil
import signal
import subprocess
import sys
import time

ingot, folder = sys.argv[1], pathlib.Path(sys.argv[2])
shutil.rmtree(folder, ignore_errors=True)
folder.mkdir(parents=True)


def run(*command):
    return subprocess.run([str(word) for word in command], text=True, capture_output=True,
                          check=True).stdout


def fish(line):
    return [row.split("\t")[0] for row in run(
        "fish", "--no-config", "-c",
        f"source {folder / 'ingot.fish'}; complete -C '{line}'").splitlines()]


def zsh(line, *wanted):
    """Presses Tab behind the line; all that is wanted must show up."""
    child, terminal = pty.fork()
    if not child:
        os.execvpe("zsh", ["zsh", "-f", "-i"], {**os.environ, "TERM": "vt100"})
    until = time.monotonic() + 60

    def read(done):
        shown = ""
        while not done(shown):
            ready, _, _ = select.select([terminal], [], [], max(0, until - time.monotonic()))
            assert ready, (line, wanted, shown)
            shown += os.read(terminal, 4096).decode(errors="replace")

    os.write(terminal, f"fpath=({folder} $fpath); autoload -U compinit; compinit -u -D\n".encode())
    os.write(terminal, b"print rea''dy\n")
    read(lambda shown: "ready" in shown)
    os.write(terminal, f"{line}\t".encode())
    read(lambda shown: all(word in shown for word in wanted))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(terminal)


(folder / "_ingot").write_text(run(ingot, "completion", "zsh"))
(folder / "ingot.fish").write_text(run(ingot, "completion", "fish"))
emitted = ["exe", "shared", "object", "llvm", "mlir"]
targets = [row["name"] for row in json.loads(run(ingot, "targets", "--json"))]
assert sorted(fish("ingot compile --emit ")) == sorted(emitted)
assert sorted(fish("ingot compile m.gguf --target ")) == sorted(targets)
assert fish("ingot ins") == ["inspect"]
zsh("ingot ins", "ingot inspect")
zsh("ingot compile --emit ", *emitted)
zsh("ingot compile m.gguf --verify-t", "--verify-tokens")
shutil.rmtree(folder)
