"""A compiler launcher for a build of Ingot inside of another project: what INGOT_BUILD compiled by
the same command, but for the folders of the two, is taken from there. Another command is an error.
What is not Ingot's is compiled.

    take_object.py INGOT_BUILD INGOT_SOURCE FOLDER COPY COMPILER ARGUMENT...

FOLDER is where Ingot is built now, COPY where its sources are.
"""

import json
import os
import pathlib
import shlex
import shutil
import sys

build, source, folder, copy, *command = sys.argv[1:]


def there(word):
    return word.replace(folder, build).replace(copy, source)


def plain(words):
    """Without names of what is written, and in the other folders' words."""
    out, words = [], iter(words)
    for word in words:
        if word in ("-MT", "-MF", "-o"):
            next(words)
        elif word != "-MD":
            word = there(word)
            out.append(os.path.realpath(word) if word.startswith("/") else word)
    return out


def option(name):
    return command[command.index(name) + 1]


# Of one source in one library; where the object lies in its folder depends on the build's.
library = os.path.relpath(option("-o"), folder).split(".dir/")[0]
if library.startswith(".."):
    os.execvp(command[0], command)
rows = json.loads(pathlib.Path(build, "compile_commands.json").read_text())
for row in rows:
    if row["file"] == there(command[-1]) and row["output"].startswith(f"{build}/{library}.dir/"):
        break
else:
    sys.exit(f"{build} does not compile {command[-1]} for {library}")
if plain(shlex.split(row["command"])) != plain(command):
    sys.exit(f"{build} compiles it by another command:\n{row['command']}")
shutil.copyfile(row["output"], option("-o"))
pathlib.Path(option("-MF")).write_text(f"{option('-o')}: {command[-1]}\n")
