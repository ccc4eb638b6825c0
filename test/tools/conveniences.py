"""Completion by bash, manual pages, ingot doctor.

    conveniences.py INGOT FOLDER
"""

import json
import os
import pathlib
import pty
import shutil
import subprocess
import sys

ingot, folder = sys.argv[1], pathlib.Path(sys.argv[2])
folder.mkdir(parents=True, exist_ok=True)


def run(*command, **options):
    return subprocess.run([str(word) for word in command], text=True, capture_output=True, check=True, **options).stdout


def script(shell):
    file = folder / f"completion.{shell}"
    file.write_text(run(ingot, "completion", shell))
    return file


help_text = run(ingot, "compile", "--help")
options = {word for word in help_text.replace(",", " ").split() if word.startswith("--") and word[2:].replace("-", "").isalpha()}
targets = {row["name"] for row in json.loads(run(ingot, "targets", "--json"))}


def bash(*words):
    """What bash offers for the last word."""
    line = " ".join(f"'{word}'" for word in words)
    return set(run("bash", "-c", f"source {script('bash')}; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; "
                   "_ingot; printf '%s\\n' \"${COMPREPLY[@]}\"").split())


assert bash("ingot", "ins") == {"inspect"}
assert bash("ingot", "") >= {"compile", "inspect", "reference", "compare", "targets", "doctor"}
options.remove("--selftest")  # an option of programs, in the words about another
offered = bash("ingot", "compile", "--")
assert offered >= options >= {"--output", "--target", "--verify"}, options - offered
assert bash("ingot", "compile", "--emit", "") == {"exe", "shared", "object", "llvm", "mlir"}
assert bash("ingot", "compile", "m.gguf", "--target", "") == targets
assert bash("ingot", "compile", "-o", "") == set()  # names of files, which bash completes itself
assert bash("ingot", "completion", "z") == {"zsh"}

assert subprocess.run([ingot, "completion", "tcsh"], capture_output=True).returncode == 2


def on_terminal(**environment):
    """What an error looks like on a terminal."""
    ours, theirs = pty.openpty()
    subprocess.run([ingot, "inspect", "/no/such.gguf"], stderr=theirs,
                   env={**os.environ, **environment})
    os.close(theirs)
    said = os.read(ours, 4096).decode()
    os.close(ours)
    assert "/no/such.gguf" in said, said
    return said


assert "\x1b[" in on_terminal(TERM="xterm-256color", NO_COLOR="")
assert "\x1b" not in on_terminal(TERM="xterm-256color", NO_COLOR="1")
assert "\x1b" not in on_terminal(TERM="dumb", NO_COLOR="")
piped = subprocess.run([ingot, "inspect", "/no/such.gguf"], capture_output=True, text=True,
                       env={**os.environ, "TERM": "xterm-256color"})
assert piped.returncode == 1 and "\x1b" not in piped.stderr, piped.stderr

# Manual pages.
pages = pathlib.Path(ingot).resolve().parent.parent / "share" / "man" / "man1"
for name in ("ingot", "ingot-compile", "ingot-inspect", "ingot-doctor"):
    assert ".TH INGOT" in (pages / f"{name}.1").read_text(), name
compile_page = (pages / "ingot-compile.1").read_text()
assert all(option.replace("-", "\\-") in compile_page for option in options)

# All is well here; each target has its line.
said = json.loads(run(ingot, "doctor", "--json"))
assert said["sound"] and all(row["state"] in ("ok", "note") for row in said["findings"]), said
assert targets <= {row["what"] for row in said["findings"]}
assert "runs here" in run(ingot, "doctor")


def runs(target, **environment):
    rows = json.loads(subprocess.check_output([ingot, "doctor", "--json"],
                                              env={**os.environ, **environment}))["findings"]
    return next(row for row in rows if row["what"] == target)


emulator = shutil.which("qemu-aarch64")
assert not emulator or runs("aarch64-linux")["is"] == f"runs in {emulator}", runs("aarch64-linux")
assert runs("aarch64-linux", PATH="/nowhere")["advice"].startswith("install qemu-aarch64 (Debian: ")


def ill(**environment):
    done = subprocess.run([moved, "doctor"], text=True, capture_output=True, env={**os.environ, **environment})
    assert done.returncode == 1 and "error" in done.stdout and "help:" in done.stdout, done
    return done.stdout


# Without the files that it links programs with, and with a cache that nothing can be written to.
(folder / "bin").mkdir(exist_ok=True)
moved = folder / "bin" / "ingot"
shutil.copy2(ingot, moved)
assert "libingot_runtime.a" in ill()
# Whichever file of those it is.
shutil.copytree(pathlib.Path(ingot).resolve().parents[1] / "lib", folder / "lib", symlinks=True)
run(moved, "doctor")
for file in [path for path in (folder / "lib").rglob("*") if path.is_file()]:
    held = file.rename(folder / "held")
    assert f"{file} is missing" in ill(), file
    held.rename(file)
(folder / "file").write_text("")
assert "cannot be written" in ill(XDG_CACHE_HOME=str(folder / "file"))
shutil.rmtree(folder)
