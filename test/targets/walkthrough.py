"""Runs the commands of a page (lines that begin with `$ ` between ```), each of which must succeed.

    walkthrough.py PAGE INGOT SOURCE FOLDER
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys

page, ingot, source, folder = map(pathlib.Path, sys.argv[1:])
shutil.rmtree(folder, ignore_errors=True)
folder.mkdir(parents=True)
(folder / "test").symlink_to(source / "test")
(folder / "bin").mkdir()
(folder / "bin" / "ingot").symlink_to(ingot)
(folder / "bin" / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
(folder / "bin" / "python").chmod(0o755)
path = os.pathsep.join([str(folder / "bin"), os.environ["PATH"]])

ran = 0
for block in re.findall(r"^```\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL):
    for line in block.splitlines():
        if line.startswith("$ "):
            done = subprocess.run(["bash", "-c", line[2:]], cwd=folder, text=True,
                                  env={**os.environ, "PATH": path}, capture_output=True)
            assert done.returncode == 0, (line, done.stdout, done.stderr)
            ran += 1
assert ran, f"{page} has no commands"
shutil.rmtree(folder)
