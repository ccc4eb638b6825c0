"""Runs a guide as a reader would: files grow by the blocks that name them (```c tour.c), and the
commands of all others (```, lines that begin with `$ `) run in order, each of which must succeed.
What a block shows below a command must be what it prints; "..." stands for anything, and in a block
of ```figures every number for any number. A block that is none of these is an error.

    guide.py PAGE INGOT_BUILD SOURCE FOLDER [MODEL]

In FOLDER there are model.gguf (tiny, random), examples/ and test/ of the tree, and MODEL under its
name; $PREFIX is where Ingot is installed.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys

page, build, source, folder, *models = map(pathlib.Path, sys.argv[1:])
shutil.rmtree(folder, ignore_errors=True)
(folder / "bin").mkdir(parents=True)
prefix = folder / "prefix"
subprocess.run(["cmake", "--install", build, "--prefix", prefix], check=True, capture_output=True)
for name in ("examples", "test"):
    (folder / name).symlink_to(source / name)
for model in models:
    (folder / model.name).symlink_to(model)
(folder / "bin" / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
(folder / "bin" / "python").chmod(0o755)
subprocess.run([sys.executable, source / "test/oracle/tiny_models.py", folder / "model.gguf",
                "--context", "2048"], check=True)
path = os.pathsep.join([str(folder / "bin"), str(prefix / "bin"), os.environ["PATH"]])
environment = {**os.environ, "PATH": path, "CC": "clang-22", "PREFIX": str(prefix),
               "PKG_CONFIG_PATH": str(prefix / "lib/pkgconfig")}


NUMBER = r"-?[0-9](?:[0-9,]*[0-9])?(?:\.[0-9]+)?(?:e[-+]?[0-9]+)?"


def pattern(text, figures):
    """Of a text without "..."; columns are as wide as their numbers."""
    if not figures:
        return re.escape(text)
    return re.sub(r"(?:\\ )+", " +", NUMBER.join(map(re.escape, re.split(NUMBER, text))))


def matches(shown, printed, figures):
    parts = [pattern(part.strip("\n"), figures) for part in shown.split("...")]
    return re.fullmatch(".*?".join(parts), printed.strip("\n"), re.S)


# With the lines that a \\ joins to it; then what is shown.
COMMAND = r"^\$ (.*(?:(?<=\\)\n.*)*)\n((?:(?!\$ ).*\n)*)"
ran = 0
begun = set()
for words, block in re.findall(r"^```([^\n]*)\n(.*?)^```$", page.read_text(), re.M | re.S):
    if " " in words:
        name = words.split()[1]
        with open(folder / name, "a" if name in begun else "w", encoding="utf-8") as file:
            file.write(block)
        begun.add(name)
    else:
        assert words in ("", "figures") and block.startswith("$ "), (words, block)
        for command, shown in re.findall(COMMAND, block, re.M):
            done = subprocess.run(["bash", "-c", command], cwd=folder, text=True, errors="replace",
                                  env=environment, capture_output=True)
            assert done.returncode == 0, (command, done.stdout, done.stderr)
            printed = done.stdout + done.stderr
            assert not shown or matches(shown, printed, bool(words)), "\n".join(
                (command, shown, printed))
            ran += 1
assert ran, f"{page} has no commands"
shutil.rmtree(folder)
