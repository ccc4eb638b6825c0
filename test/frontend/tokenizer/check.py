"""Checks a program's token ids against ids.jsonl, and that they turn back into the text.

    check.py PROGRAM IDS.jsonl
"""

import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

program = sys.argv[1]


def wrong(case):
    data = case["text"].encode()
    flags = ["--special"] if case["special"] else []
    run = lambda arguments, text: subprocess.run(  # noqa: E731
        [program, *arguments, "-"], input=text, check=True, capture_output=True).stdout
    ids = [int(n) for n in re.findall(rb"\d+", run([*flags, "--tokenize"], data))]
    back = run(["--detokenize"], ",".join(map(str, ids)).encode()) if ids else b""
    return None if ids == case["ids"] and back == data else f"{case}\n  gave {ids} {back!r}"


with open(sys.argv[2], encoding="utf-8") as lines:
    cases = [json.loads(line) for line in lines]
with ThreadPoolExecutor(2) as pool:
    failures = [failure for failure in pool.map(wrong, cases) if failure]
print("\n".join(failures[:5]))
print(f"{len(cases)} texts, {len(failures)} wrong")
sys.exit(1 if failures or len(cases) < 300 else 0)
