"""How far a compiled program's logits are from the reference, beside llama.cpp's distance.

    quality.py PROGRAM --model MODEL.gguf --text FILE [--reference ingot|numpy] [--windows N]

The text's second half is cut into windows of 512 tokens, each evaluated from position 0. Against
the reference (float32 activations, exact weights) every evaluator gets: mean and 99th percentile of
the KL divergence KL(reference || evaluator) per token in nats, top-1 agreement, and
max |difference| / max |logit|. Perplexity scores the second half of each window. One window's
logits are in memory at a time (512 x 49,152 floats are 96 MiB), so quality.py needs less than 2 GB.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np


def log_softmax(logits):
    """float64 [tokens, vocab]: log probabilities of float32 logits."""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


class Distance:
    """Accumulates the distance of one evaluator from the reference, window by window."""

    def __init__(self):
        self.divergences, self.agreed = [], 0
        self.max_difference = self.max_logit = 0.0

    def add(self, reference, logits, block=64):
        for i in range(0, len(reference), block):  # rows in blocks: float64 copies stay small
            p, q = log_softmax(reference[i:i + block]), log_softmax(logits[i:i + block])
            self.divergences.extend((np.exp(p) * (p - q)).sum(axis=1))
        self.agreed += int((reference.argmax(axis=1) == logits.argmax(axis=1)).sum())
        self.max_difference = max(self.max_difference, float(np.abs(reference - logits).max()))
        self.max_logit = max(self.max_logit, float(np.abs(reference).max()))

    def summary(self):
        kl = np.array(self.divergences)
        return {
            "tokens": len(kl),
            "mean_kl": float(kl.mean()),
            "p99_kl": float(np.percentile(kl, 99)),
            "top1": self.agreed / len(kl),
            "max_difference": self.max_difference / self.max_logit,
        }


class Perplexity:
    """exp of the mean negative log likelihood; each window's second half is scored."""

    def __init__(self):
        self.total, self.count = 0.0, 0

    def add(self, tokens, logits, block=64):
        for i in range(len(tokens) // 2 - 1, len(tokens) - 1, block):
            rows = range(i, min(i + block, len(tokens) - 1))  # row i predicts token i + 1
            log_p = log_softmax(logits[rows.start:rows.stop])
            self.total -= sum(log_p[row - i, tokens[row + 1]] for row in rows)
            self.count += len(rows)

    def value(self):
        return float(np.exp(self.total / self.count))


class Command:
    """An evaluator that is a command: `COMMAND --tokens @FILE --logits OUT.npy`."""

    def __init__(self, *command):
        self.command = [str(part) for part in command]

    def window_logits(self, tokens):
        with tempfile.TemporaryDirectory() as folder:
            ids, out = pathlib.Path(folder, "ids"), pathlib.Path(folder, "logits.npy")
            ids.write_text(",".join(map(str, tokens)))
            subprocess.run([*self.command, "--tokens", f"@{ids}", "--logits", str(out)],
                           check=True, stdout=subprocess.DEVNULL)
            logits = np.load(out)
        if logits.dtype != np.float32 or logits.ndim != 2 or len(logits) != len(tokens):
            raise SystemExit(f"error: {self.command[0]}: logits are {logits.dtype} "
                             f"{list(logits.shape)}, expected float32 [{len(tokens)}, vocab]")
        return logits


def windows_of(ids, length, limit):
    """The whole windows of the second half of `ids`, at most `limit` (0: all)."""
    half = ids[len(ids) // 2:]
    count = len(half) // length
    return [half[i * length:(i + 1) * length] for i in range(min(count, limit or count))]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program", nargs="?", help="a compiled program; none: llama.cpp alone")
    parser.add_argument("--model", required=True)
    parser.add_argument("--text", required=True)
    parser.add_argument("--reference", choices=("ingot", "numpy"), default="numpy")
    parser.add_argument("--ingot", default="build/bin/ingot")
    parser.add_argument("--windows", type=int, default=4, help="0: all; 4 are 2,048 tokens")
    parser.add_argument("--window", type=int, default=512)
    parser.add_argument("--perplexity-windows", type=int,
                        help="windows scored for perplexity (default: --windows; 0: all)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-peer", action="store_true", help="without llama.cpp's logits")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.perplexity_windows is None:
        options.perplexity_windows = options.windows

    from llama_peer import Peer  # its tokenizer cuts the text either way
    peer = Peer(options.model, options.threads, options.window, options.window, all_logits=True)
    ids = peer.tokenize(pathlib.Path(options.text).read_text(encoding="utf-8"))
    compared = windows_of(ids, options.window, options.windows)
    scored = windows_of(ids, options.window, options.perplexity_windows)
    if not compared:
        raise SystemExit(f"error: {options.text}: too short for one window")

    evaluators = {} if options.no_peer else {"llama.cpp": peer}
    if options.program:
        evaluators["program"] = Command(options.program, "--threads", options.threads)
    if options.reference == "ingot":
        reference = Command(options.ingot, "reference", options.model)
    else:
        from numpy_llama import NumpyLlama
        model = NumpyLlama(options.model)
        reference = type("Numpy", (), {"window_logits": staticmethod(model.forward)})

    distances = {name: Distance() for name in evaluators}
    perplexities = {name: Perplexity() for name in ("reference", *evaluators)}
    for i, tokens in enumerate(compared if len(compared) > len(scored) else scored):
        if sys.stderr.isatty():
            print(f"window {i + 1}", end="\r", file=sys.stderr, flush=True)
        expected = reference.window_logits(tokens) if i < len(compared) else None
        if expected is not None and i < len(scored):
            perplexities["reference"].add(tokens, expected)
        for name, evaluator in evaluators.items():
            logits = evaluator.window_logits(tokens)
            if expected is not None:
                distances[name].add(expected, logits)
            if i < len(scored):
                perplexities[name].add(tokens, logits)
            del logits
        del expected

    result = {name: distance.summary() for name, distance in distances.items()}
    for name, perplexity in perplexities.items():
        # The reference may have seen fewer windows: its perplexity then has no peer.
        if perplexity.count == perplexities[next(iter(evaluators), "reference")].count:
            result.setdefault(name, {})["perplexity"] = perplexity.value()
    if options.json:
        print(json.dumps(result))
        return
    print("| against the reference | tokens | mean KL | 99 % KL | top-1 | max d / max logit "
          "| perplexity |\n|---|---|---|---|---|---|---|")
    for name, row in result.items():
        cells = ([f"{row['tokens']:,}", f"{row['mean_kl']:.2e}", f"{row['p99_kl']:.2e}",
                  f"{row['top1']:.2%}", f"{row['max_difference']:.1e}"]
                 if "mean_kl" in row else ["", "", "", "", ""])
        perplexity = f"{row['perplexity']:.3f}" if "perplexity" in row else ""
        print(f"| {name} | " + " | ".join(cells) + f" | {perplexity} |")


if __name__ == "__main__":
    main()
