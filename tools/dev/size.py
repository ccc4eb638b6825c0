"""Prints lines by folder, and bytes by section of a compiled program when there is one.

    size.py [PROGRAM]
"""

import collections
import pathlib
import subprocess
import sys

SOURCES = {".cpp", ".c", ".h", ".td", ".fbs", ".rs", ".py", ".txt", ".cmake", ".mlir", ".test"}


def lines_by_folder():
    """{top folder: (files, lines)} of the source files that git knows or would add."""
    names = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"],
                           check=True, capture_output=True, text=True).stdout.splitlines()
    total = collections.defaultdict(lambda: [0, 0])
    for path in map(pathlib.Path, names):
        if path.is_file() and (path.suffix in SOURCES or path.name == "dev"):
            folder = path.parts[0] + "/" if len(path.parts) > 1 else "(top)"
            total[folder][0] += 1
            total[folder][1] += path.read_bytes().count(b"\n")
    return total


def sections(program):
    """[(name, bytes)] of the sections that are loaded, and the file's size last."""
    out = subprocess.run(["llvm-readelf-22", "--sections", "--wide", program], check=True,
                         capture_output=True, text=True).stdout
    rows = []
    for line in out.splitlines():
        # [Nr] Name Type Address Off Size ES Flg ...
        fields = line.replace("[ ", "[").split()
        if len(fields) > 7 and fields[0].startswith("[") and "A" in fields[7]:
            rows.append((fields[1], int(fields[5], 16)))
    return rows + [("file", pathlib.Path(program).stat().st_size)]


def main():
    print("| folder | files | lines |\n|---|---:|---:|")
    table = lines_by_folder()
    for folder, (files, lines) in sorted(table.items()):
        print(f"| {folder} | {files} | {lines:,} |")
    print(f"| all | {sum(f for f, _ in table.values())} | {sum(n for _, n in table.values()):,} |")
    if len(sys.argv) > 1 and pathlib.Path(sys.argv[1]).exists():
        print(f"\n| section of {sys.argv[1]} | bytes |\n|---|---:|")
        for name, size in sections(sys.argv[1]):
            print(f"| {name} | {size:,} |")


if __name__ == "__main__":
    main()
