"""A compiler launcher for a build of Ingot inside of another project: what INGOT_BUILD compiled by
the same command, but for the two builds' folders, is taken from there. Another command is an error.

    take_object.py INGOT_BUILD FOLDER COMPILER ARGUMENT...   (FOLDER: where Ingot is built now)
"""

import json
import os
import pathlib
import shlex
import shutil
import sys

build, folder, *command = sys.argv[1:]


def plain(words):
    """Without names of what is written, and in the other folder's words."""
    out, words = [], iter(words)
    for word in words:
        if word in ("-MT", "-MF", "-o"):
            next(words)
        elif word != "-MD":
            out.append(word.replace(folder, build))
    return out


def option(name):
    return command[command.index(name) + 1]


# Of one source in one library; where the object lies in its folder depends on the build's.
library = os.path.join(build, os.path.relpath(option("-o"), folder)).split(".dir/")[0]
source = command[-1].replace(folder, build)
rows = json.loads(pathlib.Path(build, "compile_commands.json").read_text())
for row in rows:
    if row["file"] == source and row["output"].startswith(f"{library}.dir/"):
        break
else:
    sys.exit(f"{build} does not compile {source} for {library}")
if plain(shlex.split(row["command"])) != plain(command):
    sys.exit(f"{build} compiles it by another command:\n{row['command']}")
shutil.copyfile(row["output"], option("-o"))
pathlib.Path(option("-MF")).write_text(f"{option('-o')}: {command[-1]}\n")
