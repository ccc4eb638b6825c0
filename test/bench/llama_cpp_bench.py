"""Times llama.cpp the way `PROGRAM --bench` times a compiled program, and prints the same JSON.

One run is: prefill of --prompt-tokens tokens from an empty context (in batches of 512), then
--gen-tokens single-token decodes after --depth tokens of context. No sampling is timed. The medians
over --reps runs are printed; `*_runs` has every run. --prompt-tokens 0 leaves the prefill out.

With --batch N only `batch_decode_tok_s` is measured: N sequences after --depth equal tokens, one
llama_batch with a token of each, tokens a second of all together. llama.cpp keeps the sequences in
one cache or in a cache each; neither is always the faster one, so both are run and the better is
printed (`cache` says which).
"""

import pathlib
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "oracle"))
from llama_peer import Peer  # noqa: E402
from peer import FIRST_PROMPT, WARM_UP, parse_options, print_result  # noqa: E402

BATCH = 512


def token_ids(peer, count):
    """Any ids do: the work does not depend on them. A fixed walk through the vocabulary."""
    return [(17 + 7919 * i) % peer.vocab_size for i in range(count)]


def prefill(peer, tokens):
    for begin in range(0, len(tokens), BATCH):
        peer.decode(tokens[begin:begin + BATCH], begin)


def time_alone(options):
    context = max(options.prompt_tokens, options.depth + options.gen_tokens, WARM_UP)
    start = time.perf_counter()
    peer = Peer(options.model, options.threads, context=context, batch=BATCH)
    ids = token_ids(peer, context)
    # From the start of loading, so without Python's own start.
    peer.decode(ids[:FIRST_PROMPT], 0)
    first_token_ms = (time.perf_counter() - start) * 1e3

    # One untimed run of each kind, so that pages are mapped and clocks are up.
    peer.clear()
    prefill(peer, ids[:WARM_UP])
    peer.clear()
    peer.decode(ids[:1], 0)

    prefill_runs, decode_runs = [], []
    for _ in range(options.reps):
        peer.clear()
        if options.prompt_tokens:
            start = time.perf_counter()
            prefill(peer, ids[:options.prompt_tokens])
            prefill_runs.append(options.prompt_tokens / (time.perf_counter() - start))
        if options.depth < options.prompt_tokens:
            peer.rewind(options.depth)
        elif options.depth > options.prompt_tokens:
            peer.clear()
            prefill(peer, ids[:options.depth])
        start = time.perf_counter()
        for i in range(options.depth, options.depth + options.gen_tokens):
            peer.decode(ids[i:i + 1], i)
        decode_runs.append(options.gen_tokens / (time.perf_counter() - start))

    result = {"ttft_ms": round(first_token_ms, 1)}
    for name, runs in (("prefill", prefill_runs), ("decode", decode_runs)):
        if runs:
            result[f"{name}_tok_s"] = round(statistics.median(runs), 2)
            result[f"{name}_runs"] = [round(x, 2) for x in runs]
    return result


def time_batch(options):
    length = options.depth + options.gen_tokens
    found = {}
    for name, unified in (("unified", True), ("separate", False)):
        peer = Peer(options.model, options.threads, context=length * options.batch, batch=BATCH,
                    sequences=options.batch, unified=unified)
        ids = token_ids(peer, length + options.batch)
        runs = []
        for _ in range(options.reps):
            peer.clear()
            peer.decode_each(ids[:options.batch], 0)  # warms up
            peer.clear()
            if options.depth:
                prefill(peer, ids[:options.depth])
                peer.fork(options.batch)
            start = time.perf_counter()
            for i in range(options.depth, length):
                peer.decode_each(ids[i:i + options.batch], i)
            runs.append(options.batch * options.gen_tokens / (time.perf_counter() - start))
        found[name] = statistics.median(runs)
        peer.close()
    best = max(found, key=found.get)
    return {"batch": options.batch, "batch_decode_tok_s": round(found[best], 2), "cache": best,
            "caches_tok_s": {name: round(value, 2) for name, value in found.items()}}


def main():
    options = parse_options(__doc__)
    result = time_batch(options) if options.batch else time_alone(options)
    print_result(result, options)


if __name__ == "__main__":
    main()
