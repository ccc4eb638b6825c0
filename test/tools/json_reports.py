"""What json-reports.test wrote, beside the files themselves."""

import json
import pathlib

compiled = json.loads(pathlib.Path("compiled.json").read_text())
assert compiled["model"] == "tiny.gguf" and compiled["target"] == "host" and compiled["seconds"] > 0
files = {row["kind"]: row for row in compiled["files"]}
assert {kind: row["path"] for kind, row in files.items()} == {
    "output": "tiny.o", "weights": "tiny.weights", "header": "tiny.h", "depfile": "tiny.d"}, files
for row in files.values():
    assert row["bytes"] == pathlib.Path(row["path"]).stat().st_size > 0, row
reference = json.loads(pathlib.Path("reference.json").read_text())
assert reference == {"model": "tiny.gguf", "output": "out.npy", "tokens": 3,
                     "vocab_size": 268}, reference
