#!/usr/bin/env python3
"""Stands for a compiled program, and for a Python in which peers run and one of them fails."""
import json
import sys


def option(name, default=0):
    return int(sys.argv[sys.argv.index(name) + 1]) if name in sys.argv else default


if sys.argv[1].endswith("openvino_bench.py"):
    if option("--batch"):
        sys.exit("Traceback (most recent call last):\nRuntimeError: no room for so many")
    print(json.dumps({"prefill_tok_s": 10, "decode_tok_s": 5, "ttft_ms": 7, "peak_rss_mib": 9}))
elif "--info" in sys.argv:
    print(json.dumps({"model": {"context_length": 10},
                      "weights": [{"name": "token_embd.weight", "bytes": 1000},
                                  {"name": "output.weight", "bytes": 3000}],
                      "caches": [{"bytes": 100}, {"bytes": 100}]}))
elif "--profile" in sys.argv:
    sys.exit("error: unknown option '--profile'\n\nusage: PROGRAM")
else:
    # The arguments come back as figures.
    batch = option("--batch")
    print(json.dumps({"prefill_tok_s": option("--prompt-tokens"), "peak_rss_mib": 8,
                      "peak_anonymous_mib": 2, "planned_mib": 3,
                      "decode_tok_s": 1000 + option("--depth"), "ttft_ms": 4,
                      **({"batch_decode_tok_s": 100 * batch} if batch else {})}))
