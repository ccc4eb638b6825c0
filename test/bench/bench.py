"""Times a compiled program beside llama.cpp and prints rows for docs/benchmarks.md.

Runs alternate (llama.cpp, program, llama.cpp, program ...), each in a process of its own, so that
a slow minute of the machine meets both. Each number is the median over --rounds. Read bandwidth is
measured in every round too: `% of read` is (bytes that one token reads) * (tokens per second) /
(bytes per second that as many threads can read), where one token reads the packed weights once and
the keys and values of every position before it.
"""

import argparse
import datetime
import json
import os
import pathlib
import shlex
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
KV_BYTES = {"f16": 2, "f32": 4}


def run(*command):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True,
                          text=True).stdout


def bytes_per_token(info, position):
    """Weights and cache that decoding one token after `position` others reads."""
    model, weights = info["model"], info["weights"]
    # An embedding that is not also the output matrix is a table: one row is read.
    tied = not any(w["name"] in ("output", "output.weight") for w in weights)
    read = sum(w["bytes"] for w in weights if tied or not w["name"].startswith("token_embd"))
    row = model["kv_heads"] * model["head_dim"] * KV_BYTES[info["build"]["kv_cache"]]
    return read + 2 * model["layers"] * row * position


def cpu_name():
    with open("/proc/cpuinfo") as cpuinfo:
        fields = dict(line.strip().split("\t:", 1) if "\t:" in line else (line.strip(), "")
                      for line in cpuinfo.read().split("\n\n")[0].splitlines())
    fields = {key.strip(): value.strip() for key, value in fields.items()}
    flags = fields.get("flags", "").split()
    isa = "AVX-512 VNNI" if "avx512_vnni" in flags else "AVX2" if "avx2" in flags else "SSE"
    return (f"{fields.get('model name', 'unknown CPU')} (family {fields.get('cpu family')}, model "
            f"{fields.get('model')}, {isa})")


class Subject:
    """What is timed: a command that takes --threads, --depth, ... and prints JSON."""

    def __init__(self, name, command):
        self.name, self.command = name, command
        self.results = {}  # (threads, depth) -> [JSON of a run]

    def time(self, threads, depth, options):
        out = run(*self.command, "--prompt-tokens", options.prompt_tokens, "--gen-tokens",
                  options.gen_tokens, "--depth", depth, "--reps", 1, "--threads", threads)
        self.results.setdefault((threads, depth), []).append(json.loads(out))

    def samples(self, threads, depth, key):
        """All runs' `key`; prefill does not depend on the depth, so it takes every depth's."""
        return [r[key] for (t, d), runs in self.results.items() for r in runs
                if t == threads and (d == depth or depth is None) and key in r]

    def median(self, threads, depth, key):
        values = self.samples(threads, depth, key)
        return statistics.median(values) if values else None


def measure(subjects, options):
    """{threads: [GB/s]}; fills the subjects' results."""
    bandwidth = {threads: [] for threads in options.threads}
    for done in range(options.rounds):
        print(f"round {done + 1} of {options.rounds}", file=sys.stderr, flush=True)
        for threads in options.threads:
            if options.read_bandwidth:
                bandwidth[threads].append(float(run(options.read_bandwidth, threads)))
            for depth in options.depths:
                for subject in subjects:
                    subject.time(threads, depth, options)
    return bandwidth


def cells(subject, threads, options, read, info):
    prefill = subject.median(threads, None, "prefill_tok_s")
    out = [subject.name, str(threads), f"{prefill:.0f}"]
    for depth in options.depths:
        decode = subject.median(threads, depth, "decode_tok_s")
        if info and read:
            middle = depth + options.gen_tokens / 2
            share = bytes_per_token(info, middle) * decode / (read * 1e9)
            out.append(f"{decode:.0f} ({share:.0%})")
        else:
            out.append(f"{decode:.0f}")
    first = subject.median(threads, None, "ttft_ms")
    out.append(f"{first:.0f}" if first is not None else "")
    out.append(f"{max(subject.samples(threads, None, 'peak_rss_mib')):.0f}")
    return out


def print_table(subjects, bandwidth, options, info):
    print(f"CPU: {cpu_name()}. {datetime.date.today()}. Medians of {options.rounds} interleaved "
          "rounds, tokens/s.")
    print("Made by `" + shlex.join(["./dev", "bench", *options.typed]) + "`.\n")
    head = ["", "threads", f"prefill {options.prompt_tokens}"]
    head += [f"decode after {depth} (% of read)" for depth in options.depths]
    head += ["first token, ms", "peak RSS, MiB", "read, GB/s"]
    print("| " + " | ".join(head) + " |\n|---" + "|---:" * (len(head) - 1) + "|")
    for threads in options.threads:
        read = statistics.median(bandwidth[threads]) if bandwidth[threads] else None
        for subject in subjects:
            own = info if subject.name == "Ingot" else None
            row = cells(subject, threads, options, read, own)
            print("| " + " | ".join(row + [f"{read:.1f}" if read else ""]) + " |")
    if len(subjects) < 2:
        return
    peer, program = subjects
    print("\n| Ingot / llama.cpp | prefill | "
          + " | ".join(f"decode after {depth}" for depth in options.depths) + " |\n|---|"
          + "---:|" * (1 + len(options.depths)))
    for threads in options.threads:
        ratios = [program.median(threads, None, "prefill_tok_s")
                  / peer.median(threads, None, "prefill_tok_s")]
        ratios += [program.median(threads, depth, "decode_tok_s")
                   / peer.median(threads, depth, "decode_tok_s") for depth in options.depths]
        print(f"| threads: {threads} | " + " | ".join(f"{ratio:.2f}x" for ratio in ratios) + " |")


def main():
    def numbers(text):
        return [int(part) for part in text.split(",")]

    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", help="compiled program (default: build/smollm2)")
    parser.add_argument("--model", help="the GGUF that it was compiled from")
    parser.add_argument("--peer-python", help="Python that has llama_cpp (default: .peers')")
    parser.add_argument("--read-bandwidth", help="the compiled read_bandwidth.cpp")
    parser.add_argument("--no-peer", action="store_true", help="time the program alone")
    parser.add_argument("--no-program", action="store_true", help="time llama.cpp alone")
    parser.add_argument("--threads", type=numbers, default=[1, 2], help="default: 1,2")
    parser.add_argument("--depths", type=numbers, default=[0, 512], help="default: 0,512")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--prompt-tokens", type=int, default=512)
    parser.add_argument("--gen-tokens", type=int, default=128)
    parser.add_argument("--json", help="also write every run to this file")
    options = parser.parse_args()
    # The part of the command line that a person typed: ./dev adds the paths before it.
    added = ("--program", "--model", "--peer-python", "--read-bandwidth")
    typed = sys.argv[1:]
    while len(typed) >= 2 and typed[0] in added:
        typed = typed[2:]
    options.typed = typed

    subjects, info = [], None
    if not options.no_peer:
        subjects.append(Subject("llama.cpp", [options.peer_python, HERE / "llama_cpp_bench.py",
                                              options.model]))
    if not options.no_program:
        info = json.loads(run(options.program, "--info", "--json"))
        subjects.append(Subject("Ingot", [options.program, "--bench", "--json"]))
    if os.getloadavg()[0] > 0.5:
        print(f"warning: the machine is busy (load {os.getloadavg()[0]:.1f}): figures will be low",
              file=sys.stderr)
    bandwidth = measure(subjects, options)
    print_table(subjects, bandwidth, options, info)
    if options.json:
        runs = {s.name: [{"threads": t, "depth": d, **r} for (t, d), rs in s.results.items()
                         for r in rs] for s in subjects}
        pathlib.Path(options.json).write_text(json.dumps(
            {"cpu": cpu_name(), "read_gb_s": bandwidth, "runs": runs}, indent=1))


if __name__ == "__main__":
    main()
