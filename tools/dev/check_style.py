"""Checks of house style that clang-format and clang-tidy do not make; prints FILE:LINE: what.

Lines are at most 100 columns, without tabs or trailing space; source files are at most 600 lines
and open with a comment that says what they are; nothing is left marked as unfinished.
"""

import pathlib
import re
import subprocess
import sys

COLUMNS, LINES = 100, 600
CHECKED = {".cpp", ".c", ".h", ".td", ".fbs", ".py", ".rs", ".cmake", ".mlir"}
OPENINGS = ("//", "/*", "#", '"""')
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")


def problems(path):
    lines = path.read_text(encoding="utf-8").split("\n")
    if path.name != "check_style.py":  # which has to name the words
        yield from ((i, "is marked as unfinished") for i, line in enumerate(lines, 1)
                    if UNFINISHED.search(line))
    for i, line in enumerate(lines, 1):
        if len(line) > COLUMNS and path.suffix != ".mlir":
            yield i, f"{len(line)} columns, at most {COLUMNS}"
        if "\t" in line:
            yield i, "tab"
        if line != line.rstrip():
            yield i, "trailing space"
    if len(lines) > LINES + 1:
        yield 1, f"{len(lines) - 1} lines, at most {LINES}: look for a seam"
    if not lines[0].startswith(OPENINGS):
        yield 1, "does not open with a comment that says what the file is"


def main():
    names = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"],
                           check=True, capture_output=True, text=True).stdout.splitlines()
    found = 0
    for path in map(pathlib.Path, names):
        if path.suffix in CHECKED and path.is_file():
            for line, what in problems(path):
                print(f"{path}:{line}: {what}")
                found += 1
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
