"""A benchmark's record: every run of every subject, as kept in JSON, and its medians.

{"cpu", "date", "command", "rounds", "gen_tokens",
 "threads": [..], "prompts": [..], "depths": [..], "batches": [..],
 "subjects": [{"name", "bytes": {"weights", "position"} or null}, ..],
 "read_gb_s": {"1": [..]}, "peak_gmac_s": {"1": [..]},     by threads, one number a round
 "runs": [{"subject", "threads", "prompt", "depth", "batch", and what it measured or "error"}, ..],
 "profiles": [what PROGRAM --profile --json prints, ..], "notes": [text, ..]}

`bytes` is what decoding a token reads: the weights once, and `position` for every token before it.
A run with "batch" measured only batch_decode_tok_s; one with "prompt" 0 measured no prefill. What
is missing is None everywhere here, and an empty cell or no point in tables and plots.
"""

import json
import pathlib
import statistics

PROGRAM = "Ingot"


def median(values):
    values = list(values)
    return statistics.median(values) if values else None


def ratio(value, other):
    return value / other if value is not None and other else None


class Record:
    def __init__(self, data):
        self.data = data
        self.threads, self.prompts = data["threads"], data["prompts"]
        self.depths, self.batches = data["depths"], data["batches"]
        self.subjects = [subject["name"] for subject in data["subjects"]]
        self.bytes = {subject["name"]: subject.get("bytes") for subject in data["subjects"]}

    @staticmethod
    def load(path):
        return Record(json.loads(pathlib.Path(path).read_text()))

    def save(self, path):
        path = pathlib.Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.data, indent=1) + "\n")

    def peers(self):
        return [name for name in self.subjects if name != PROGRAM]

    def values(self, subject, key, threads, **where):
        """What the runs measured as `key`, of those that have the values of `where`."""
        return [run[key] for run in self.data["runs"]
                if run["subject"] == subject and run["threads"] == threads
                and run.get(key) is not None
                and all(run.get(name) == value for name, value in where.items())]

    def prefill(self, subject, threads, prompt):
        return median(self.values(subject, "prefill_tok_s", threads, prompt=prompt))

    def decode(self, subject, threads, depth):
        return median(self.values(subject, "decode_tok_s", threads, depth=depth, batch=None))

    def batch(self, subject, threads, batch):
        """Tokens a second of `batch` texts together, after the first of the depths."""
        depth = self.depths[0]
        if batch == 1:
            return self.decode(subject, threads, depth)
        return median(self.values(subject, "batch_decode_tok_s", threads, depth=depth, batch=batch))

    def first_token_ms(self, subject, threads):
        return median(self.values(subject, "ttft_ms", threads))

    def peak_rss_mib(self, subject, threads):
        """The most that a run of one text took."""
        return self._most(subject, threads, "peak_rss_mib")

    def peak_anonymous_mib(self, subject, threads):
        """The same without pages of files, such as mapped weights."""
        return self._most(subject, threads, "peak_anonymous_mib")

    def planned_mib(self, subject, threads):
        """What the program says beforehand that this is, at most."""
        return self._most(subject, threads, "planned_mib")

    def _most(self, subject, threads, key):
        return max(self.values(subject, key, threads, batch=None), default=None)

    def read_gb_s(self, threads):
        return median(self.data["read_gb_s"].get(str(threads), []))

    def peak_gmac_s(self, threads):
        return median(self.data.get("peak_gmac_s", {}).get(str(threads), []))

    def share_of_read(self, subject, threads, depth):
        """The part of the read bandwidth that decoding uses. The median position counts."""
        decode, read = self.decode(subject, threads, depth), self.read_gb_s(threads)
        read_bytes = self.bytes[subject]
        if decode is None or not read or not read_bytes:
            return None
        middle = depth + self.data["gen_tokens"] / 2
        a_token = read_bytes["weights"] + read_bytes["position"] * middle
        return a_token * decode / (read * 1e9)

    def failures(self):
        """[text]: each way in which a subject failed, with the runs that did."""
        found = {}
        for run in self.data["runs"]:
            if "error" in run:
                if run["batch"]:
                    what = f"batch {run['batch']}"
                else:
                    prefill = f"prefill {run['prompt']} and " if run["prompt"] else ""
                    what = f"{prefill}decode after {run['depth']}"
                whats = found.setdefault((run["subject"], run["threads"], run["error"]), [])
                if what not in whats:
                    whats.append(what)
        return [f"{subject} failed with threads {threads}: {', '.join(whats)}: {error}"
                for (subject, threads, error), whats in found.items()]

    def profile(self, threads):
        return next((profile for profile in self.data.get("profiles", [])
                     if profile["threads"] == threads), None)
