"""Damages half of one weight in a copy of a compiled program.

    damage.py PROGRAM COPY WEIGHT
"""

import json
import pathlib
import subprocess
import sys

program, copy, name = sys.argv[1:]
inspected = json.loads(subprocess.check_output(["ingot", "inspect", program, "--json"]))
weights = inspected["weights"]
weight = next(row for row in weights if row["name"] == name)
table = subprocess.check_output(["llvm-readelf", "--sections", "--wide", program], text=True)
# Name, type, address, offset, size: weights are the end of it.
row = table[table.index(" .lrodata "):].split()
end = int(row[3], 16) + int(row[4], 16)
at = end - max(row["offset"] + row["bytes"] for row in weights) + weight["offset"]
data = bytearray(pathlib.Path(program).read_bytes())
half = slice(at, at + weight["bytes"] // 2)
data[half] = bytes(byte ^ 0x33 for byte in data[half])
pathlib.Path(copy).write_bytes(data)
pathlib.Path(copy).chmod(0o755)
