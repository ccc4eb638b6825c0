"""Whether a program for another machine says what the one for this processor says.

    agreement.py INGOT MODEL.gguf --target NAME [--runner "EMULATOR ..."] [--text FILE] [--json OUT]

20 prompts are continued greedily by both. Where texts differ, `ingot compare` says which tokens the
two prefer and by how much. Prompts with their continuations, and a window of the second half of
FILE, are evaluated by both and by the interpreter: mean KL(reference || program) a token, in nats,
and how far the margin between the interpreter's two best tokens is off (root mean square). A
difference is a near-tie where the interpreter's margin is no more than twice what margins are off
on this processor.
Exit code 1: fewer than --agree prompts agree, a difference is no near-tie, or the other program's
mean KL is larger by more than --worse.
"""

import argparse
import concurrent.futures
import json
import pathlib
import shlex
import subprocess
import sys
import tempfile

import numpy as np
from quality import Command, Distance

PROMPTS = (
    "The capital of France is", "Once upon a time, there was", "Water boils at a temperature of",
    "The largest planet in the solar system is", "In 1969, the first man walked on",
    "def add(a, b):\n    return", "To bake a cake, you need", "The opposite of hot is",
    "My favourite season is autumn because", "Photosynthesis is the process by which",
    "The quick brown fox", "Two plus two equals", "A compiler is a program that",
    "Dear Sir or Madam,", "The three primary colours are", "She opened the door and saw",
    "The human heart has", "In economics, inflation means", "Roses are red, violets are",
    "The best way to learn a language is",
)


def run(*command, code=(0,)):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True,
                          errors="surrogateescape")
    if done.returncode not in code:
        raise SystemExit(f"error: {command}: {done.returncode}: {done.stderr}")
    return done.stdout


def tokens_of(program, text):
    return [int(word) for word in run(*program, "--tokenize", text).replace(",", " ").split()]


class Pair:
    def __init__(self, options, folder):
        self.ingot, self.model, self.count = options.ingot, options.model, options.tokens
        self.folder = pathlib.Path(folder)
        self.programs = {name: self.folder / name for name in ("here", "there")}
        for name, target in (("here", []), ("there", ["--target", options.target, *options.there])):
            run(self.ingot, "compile", self.model, "-o", self.programs[name], *target,
                *options.option)
        self.here = [self.programs["here"]]
        self.there = [*shlex.split(options.runner), self.programs["there"]]

    def answer(self, program, prompt):
        return run(*program, "--raw", "--temp", "0", "-n", self.count, "-p", prompt)

    def reference(self, ids):
        return Command(self.ingot, "reference", self.model).window_logits(ids)

    def greedy(self, prompt, program, text):
        """The prompt's tokens and those that follow, of which `text` is made."""
        ids = tokens_of(self.here, prompt)
        evaluated, first = Command(*program), len(ids)
        # What the text gives is mostly what was said, and one evaluation tells.
        said = tokens_of(self.here, prompt + text.removesuffix("\n"))
        if said[:first] == ids and len(said) == first + self.count and \
                evaluated.window_logits(said)[first - 1:-1].argmax(axis=1).tolist() == said[first:]:
            return said, first
        while len(ids) < first + self.count:
            ids.append(int(evaluated.window_logits(ids)[-1].argmax()))
        return ids, first

    def first_difference(self, ids, first):
        """As `ingot compare` has it; the decode step of both runs, as when they answer."""
        with tempfile.NamedTemporaryFile(suffix=".json") as record:
            run(self.ingot, "compare", self.programs["there"], self.programs["here"], "--step",
                "decode", "--tokens", ",".join(map(str, ids)), "--json", record.name, code=(0, 1))
            recorded = pathlib.Path(record.name).read_text()
        if recorded:
            found = json.loads(recorded)["tokens"]
        else:  # what is rounded otherwise has other launches, which are not compared
            found = self.preferred(ids)
        found = next((token for token in found if token["token"] >= first - 1), None)
        if found:
            logits = self.reference(ids[:found["token"] + 1])[-1]
            found["margin_reference"] = float(logits[found["b"]] - logits[found["a"]])
        return found

    def preferred(self, ids):
        """The same from logits."""
        there, here = (Command(*program).window_logits(ids) for program in (self.there, self.here))
        for token, (a, b) in enumerate(zip(there.argmax(axis=1), here.argmax(axis=1))):
            if a != b:
                yield {"token": token, "a": int(a), "b": int(b),
                       "margin_a": float(there[token, a] - there[token, b]),
                       "margin_b": float(here[token, b] - here[token, a])}

    def prompt(self, prompt):
        texts = [self.answer(program, prompt) for program in (self.here, self.there)]
        ids, first = self.greedy(prompt, self.here, texts[0])
        row = {"prompt": prompt, "texts": texts, "ids": ids, "same": texts[0] == texts[1]}
        expected = self.reference(ids)[first - 1:-1].argmax(axis=1)
        row["interpreter"] = row["interpreter_there"] = expected.tolist() == ids[first:]
        if not row["same"]:
            row["difference"] = self.first_difference(ids, first)
            ids, first = self.greedy(prompt, self.there, texts[1])
            expected = self.reference(ids)[first - 1:-1].argmax(axis=1)
            row["interpreter_there"] = expected.tolist() == ids[first:]
        return row

    def evaluate(self, ids):
        """[here, there][tokens]: KL to the interpreter, and what the margin of its two best is off
        by."""
        expected = self.reference(ids)
        best = np.argsort(expected, axis=1)[:, -2:]
        margin = np.diff(np.take_along_axis(expected, best, 1), axis=1)
        divergences, off = [], []
        for program in (self.here, self.there):
            distance, logits = Distance(), Command(*program).window_logits(ids)
            distance.add(expected, logits)
            divergences.append(distance.divergences)
            off.append(np.diff(np.take_along_axis(logits, best, 1), axis=1) - margin)
        return np.array(divergences), np.array(off)[:, :, 0]


def root_mean_square(values):
    return float(np.sqrt(np.mean(values ** 2)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("ingot")
    parser.add_argument("model")
    parser.add_argument("--target", required=True)
    parser.add_argument("--runner", default="", help="the words before a program of the target")
    parser.add_argument("--option", action="append", default=[], help="of ingot compile, for both")
    parser.add_argument("--there", action="append", default=[], help="of ingot compile, for the target's alone")
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--text")
    parser.add_argument("--text-tokens", type=int, default=64)
    parser.add_argument("--agree", type=int, default=18)
    parser.add_argument("--worse", type=float, default=1e-3)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--json")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder, \
            concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        pair = Pair(options, folder)
        rows = list(pool.map(pair.prompt, PROMPTS))
        texts = [row["ids"] for row in rows]
        if options.text:
            text = pathlib.Path(options.text).read_text(encoding="utf-8")
            half = text[len(text) // 2:][:16 * options.text_tokens]
            texts.append(tokens_of(pair.here, half)[:options.text_tokens])
        divergences, off = zip(*pool.map(pair.evaluate, texts))

    off = np.concatenate(off, axis=1)
    near = 2 * root_mean_square(off[0])
    same = sum(row["same"] for row in rows)
    far = 0
    for row in rows:
        if row["same"]:
            continue
        found = row["difference"]
        if not found:  # what a decode step alone does not show
            far += 1
            print(f"{row['prompt']!r}: texts differ, decode steps do not: {row['texts']}")
            continue
        tie = abs(found["margin_reference"]) <= near
        far += not tie
        print(f"{row['prompt']!r}: behind token {found['token']}, {options.target} prefers "
              f"{found['a']} to {found['b']} by {found['margin_a']:.3g}, this processor "
              f"{found['b']} by {found['margin_b']:.3g} (the interpreter by "
              f"{found['margin_reference']:.3g}){'' if tie else ': no near-tie'}")
    print(f"{same} of {len(rows)} prompts have the same {options.tokens} tokens; "
          f"{sum(row['interpreter'] for row in rows)} of this processor are the interpreter's, "
          f"{sum(row['interpreter_there'] for row in rows)} of {options.target}")
    parts = {"prompts": np.concatenate(divergences[:len(rows)], axis=1)}
    if options.text:
        parts["text"] = divergences[-1]
    parts["all"] = np.concatenate(divergences, axis=1)
    for name, part in parts.items():
        more = part[1] - part[0]
        print(f"{name}: {part.shape[1]} tokens, mean KL to the interpreter here "
              f"{part[0].mean():.2e}, {options.target} {part[1].mean():.2e}; difference "
              f"{more.mean():+.1e} (standard error {more.std() / len(more) ** 0.5:.1e})")
    here_off, there_off = map(root_mean_square, off)
    print(f"margins of the interpreter's two best tokens are off by {here_off:.3g} here, "
          f"{options.target} {there_off:.3g}; from each other by "
          f"{root_mean_square(off[1] - off[0]):.3g}")
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps({
            "rows": rows, "divergences": [part.tolist() for part in divergences]}, indent=1))
    worse = (parts["all"][1] - parts["all"][0]).mean() > options.worse
    return 1 if same < options.agree or far or worse else 0


if __name__ == "__main__":
    sys.exit(main())
