"""Compares the functions that a header declares, a list has and an archive shows, and looks for a
test of each function and of each status.

    api.py HEADER LIST ARCHIVE TESTS_FOLDER
"""

import pathlib
import re
import subprocess
import sys

header, listed, archive, tests = sys.argv[1:]
text = re.sub(r"/\*.*?\*/", "", pathlib.Path(header).read_text(), flags=re.S)
declared = {name for name in re.findall(r"\b(ingot_\w+)\(", text)}
lines = [line for line in pathlib.Path(listed).read_text().splitlines() if not line.startswith("#")]
assert lines == sorted(set(lines)), "the list is not sorted"
assert set(lines) == declared, ("header and list differ", set(lines) ^ declared)
table = subprocess.run(["llvm-readelf", "--symbols", "--wide", archive], check=True,
                       capture_output=True, text=True).stdout
shown = {row[7] for row in map(str.split, table.splitlines())
         if len(row) == 8 and row[4:6] == ["GLOBAL", "DEFAULT"] and row[6] != "UND"}
assert shown - {"main"} == declared, ("archive and header differ", (shown - {"main"}) ^ declared)

tested = "".join(path.read_text() for path in pathlib.Path(tests).rglob("*Test.cpp"))
statuses = re.findall(r"^  (INGOT_\w+) = \d+", text, flags=re.M)
assert len(statuses) > 20, statuses
untested = [name for name in [*lines, *statuses] if not re.search(rf"\b{name}\b", tested)]
assert not untested, ("no test names", untested)
