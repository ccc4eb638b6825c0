"""What the scripts that time a peer (llama_cpp_bench.py, openvino_bench.py) have in common: the options
that `PROGRAM --bench` has, too, and the JSON that it prints."""

import argparse
import json

FIRST_PROMPT = 32  # tokens of the prompt whose first answer token is waited for
WARM_UP = 128      # tokens of the untimed prompt


def parse_options(description):
    parser = argparse.ArgumentParser(description=description.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--prompt-tokens", type=int, default=512)
    parser.add_argument("--gen-tokens", type=int, default=128)
    parser.add_argument("--depth", type=int, default=0)
    parser.add_argument("--batch", type=int, help="sequences side by side")
    parser.add_argument("--reps", type=int, default=5)
    return parser.parse_args()


def print_result(result, options):
    """Adds the memory of this process, the most that it had and what of it no file backs now, and
    the threads."""
    with open("/proc/self/status") as status:
        mib = {name: int(size.split()[0]) / 1024 for name, size in
               (line.split(":", 1) for line in status) if name in ("VmHWM", "RssAnon")}
    print(json.dumps({**result, "peak_rss_mib": round(mib["VmHWM"], 1),
                      "peak_anonymous_mib": round(mib["RssAnon"], 1),
                      "threads": options.threads}))
