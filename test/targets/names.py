"""Only targets/NAME/ and the registry know the target NAME.

    names.py SOURCE
"""

import pathlib
import re
import sys

source = pathlib.Path(sys.argv[1])
names = [path.name for path in (source / "targets").iterdir()
         if path.is_dir() and path.name != "cpu"]
assert {"x86", "aarch64"} <= set(names), names
words = re.compile("|".join(names) + r"|x86_64|\bavx|\bneon\b|\bsve\b|\barm_", re.IGNORECASE)
spirv = re.compile(r"spv::\w+::\w+")  # what SPIR-V itself calls something
found = []
for room in ("support", "frontend", "dialects", "passes", "codegen", "tools", "targets"):
    for path in sorted((source / room).rglob("*")):
        name = path.relative_to(source)
        if path.suffix not in (".cpp", ".h", ".td") or str(name) == "targets/Targets.cpp" or \
                room == "targets" and name.parts[1] in names:
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if words.search(spirv.sub("", line.split("//")[0])):
                found.append(f"{name}:{number}: {line}")
print("\n".join(found))
sys.exit(bool(found))
