"""Times llama.cpp the way `PROGRAM --bench` times a compiled program, and prints the same JSON.

One run is: prefill of --prompt-tokens tokens from an empty context (as one batch of 512s), then
--gen-tokens single-token decodes after --depth tokens of context. No sampling is timed. The medians
over --reps runs are printed; `*_runs` has every run.
"""

import argparse
import json
import pathlib
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "oracle"))
from llama_peer import Peer  # noqa: E402

BATCH = 512
FIRST_PROMPT = 32  # tokens of the prompt whose first answer token is waited for


def prefill(peer, tokens):
    for begin in range(0, len(tokens), BATCH):
        peer.decode(tokens[begin:begin + BATCH], begin)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--prompt-tokens", type=int, default=512)
    parser.add_argument("--gen-tokens", type=int, default=128)
    parser.add_argument("--depth", type=int, default=0)
    parser.add_argument("--reps", type=int, default=5)
    options = parser.parse_args()

    context = max(options.prompt_tokens, options.depth + options.gen_tokens, FIRST_PROMPT)
    start = time.perf_counter()
    peer = Peer(options.model, options.threads, context=context, batch=BATCH)
    # Any ids do: the work does not depend on them. A fixed walk through the vocabulary.
    ids = [(17 + 7919 * i) % peer.vocab_size for i in range(context)]
    # From the start of loading, so without Python's own start.
    peer.decode(ids[:FIRST_PROMPT], 0)
    first_token_ms = (time.perf_counter() - start) * 1e3

    # One untimed run of each kind, so that pages are mapped and clocks are up.
    peer.clear()
    prefill(peer, ids[:options.prompt_tokens])
    peer.clear()
    peer.decode(ids[:1], 0)

    prefill_runs, decode_runs = [], []
    for _ in range(options.reps):
        peer.clear()
        start = time.perf_counter()
        prefill(peer, ids[:options.prompt_tokens])
        prefill_runs.append(options.prompt_tokens / (time.perf_counter() - start))

        peer.clear()
        prefill(peer, ids[:options.depth])
        start = time.perf_counter()
        for i in range(options.depth, options.depth + options.gen_tokens):
            peer.decode(ids[i:i + 1], i)
        decode_runs.append(options.gen_tokens / (time.perf_counter() - start))

    with open("/proc/self/status") as status:
        peak_kib = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    print(json.dumps({
        "prefill_tok_s": round(statistics.median(prefill_runs), 2),
        "decode_tok_s": round(statistics.median(decode_runs), 2),
        "ttft_ms": round(first_token_ms, 1),
        "peak_rss_mib": round(peak_kib / 1024, 1),
        "threads": options.threads,
        "prefill_runs": [round(x, 2) for x in prefill_runs],
        "decode_runs": [round(x, 2) for x in decode_runs],
    }))


if __name__ == "__main__":
    main()
