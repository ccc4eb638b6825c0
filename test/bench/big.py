"""Does cost grow as it should? Makes a Llama of 7B parameters (make_big_model.py) and runs it.

    big.py [--folder FOLDER] [--layers 32] [--threads 1,2] ...

Compiling it: time, peak resident memory (mapped files included), peak memory of its own (RssAnon),
and bytes read from disk after the file is dropped from the page cache, as a share of the file.
The first token (32-token prompt, from process start): with the program in the page cache, and after
it is dropped, with the bytes read from disk as a share of the program.
Decoding: tokens/s, and the share of the read bandwidth that it uses, where one token reads all
packed weights and the cache; bandwidth is measured before and after each run: it changes from
minute to minute where a machine is shared.
"""

import argparse
import datetime
import json
import os
import pathlib
import statistics
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import bench  # noqa: E402
import make_big_model  # noqa: E402

MIB = 1 << 20


def drop_from_cache(path):
    """Writes what is not written yet and takes the file's pages from the page cache."""
    with open(path, "rb+") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


class Child:
    """A finished command: seconds, peak memory in bytes, bytes read from disk."""

    def __init__(self, command, log=subprocess.DEVNULL):
        self.anonymous = 0
        start = time.monotonic()
        process = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log)
        watcher = threading.Thread(target=self._watch, args=(process.pid,), daemon=True)
        watcher.start()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        self.seconds = time.monotonic() - start
        watcher.join()
        self.resident, self.disk_read = usage.ru_maxrss * 1024, usage.ru_inblock * 512
        if process.returncode:
            sys.exit(f"error: {' '.join(map(str, command))}: exit {process.returncode}")

    def _watch(self, pid):
        status = pathlib.Path(f"/proc/{pid}/status")
        while True:
            try:
                fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
            except OSError:
                return
            if "RssAnon" not in fields:  # ended, not yet waited for
                return
            self.anonymous = max(self.anonymous, int(fields["RssAnon"].split()[0]) * 1024)
            time.sleep(0.02)


def bytes_per_token(info, position):
    """Weights and cache that decoding one token after `position` others reads."""
    model = info["model"]
    read = sum(w["bytes"] for w in info["weights"] if not w["name"].startswith("token_embd"))
    head = {"i16": 2 * model["head_dim"] + 4, "f16": 2 * model["head_dim"],
            "f32": 4 * model["head_dim"]}[info["build"]["kv_cache"]]
    return read + 2 * model["layers"] * model["kv_heads"] * head * position


def compile_cold(options, model, program):
    """Compiles with the file out of the page cache and no kernel compiled before."""
    drop_from_cache(model)
    child = Child([options.ingot, "compile", model, "-o", program, "--no-cache"])
    size = model.stat().st_size
    print(f"| compile | {child.seconds:.1f} s | peak RSS {child.resident / MIB:.0f} MiB, of which "
          f"own {child.anonymous / MIB:.0f} MiB; {child.disk_read / size:.2f} x the file read |",
          flush=True)


def first_token(program, threads):
    command = [program, "--bench-first-token", "--threads", threads]
    size = program.stat().st_size
    warm = statistics.median(Child(command).seconds for _ in range(3))
    drop_from_cache(program)
    cold = Child(command)
    print(f"| first token, {threads} threads | {warm:.2f} s | {cold.seconds:.2f} s from disk "
          f"({cold.disk_read / size:.2f} x the program read, {size / cold.seconds / 1e9:.2f} GB/s) "
          "|", flush=True)


def decode(options, program, threads):
    info = json.loads(bench.run(program, "--info", "--json"))
    token_gb = bytes_per_token(info, options.gen_tokens / 2) / 1e9
    rates, reads, shares = [], [float(bench.run(options.read_bandwidth, threads))], []
    for _ in range(options.rounds):
        rates.append(json.loads(bench.run(
            program, "--bench", "--json", "--prompt-tokens", 1, "--gen-tokens",
            options.gen_tokens, "--reps", 1, "--threads", threads))["decode_tok_s"])
        reads.append(float(bench.run(options.read_bandwidth, threads)))
        shares.append(token_gb * rates[-1] / ((reads[-2] + reads[-1]) / 2))
    print(f"| decode, {threads} threads | {statistics.median(rates):.2f} tokens/s | "
          f"{statistics.median(shares):.0%} of the bandwidth ({min(shares):.0%} to "
          f"{max(shares):.0%}); read {min(reads):.1f} to {max(reads):.1f} GB/s |", flush=True)


def main():
    def numbers(text):
        return [int(part) for part in text.split(",")]

    parser = argparse.ArgumentParser(prog="./dev bench-big", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ingot", default="build/bin/ingot")
    parser.add_argument("--read-bandwidth", default="build/bench/read_bandwidth",
                        help="the compiled read_bandwidth.cpp")
    parser.add_argument("--folder", type=pathlib.Path, default="build/big",
                        help="for the model and the program, 8 GB (default: build/big)")
    parser.add_argument("--layers", type=int, default=32, help="of the model (default: 32)")
    parser.add_argument("--threads", type=numbers, default=[1, 2], help="default: 1,2")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--gen-tokens", type=int, default=32)
    parser.add_argument("--keep", action="store_true", help="the program of an earlier run")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    model = options.folder / f"random-{options.layers}.gguf"
    program = options.folder / f"random-{options.layers}"
    if not model.exists():
        make_big_model.write_model(model, layers=options.layers)

    print(f"CPU: {bench.cpu_name()}. {datetime.date.today()}. Random Llama, {options.layers} "
          f"layers, Q4_0, {model.stat().st_size / 1e9:.2f} GB.\n\n| | | |\n|---|---:|---|")
    if not (options.keep and program.exists()):
        compile_cold(options, model, program)
    for threads in options.threads:
        first_token(program, threads)
    for threads in options.threads:
        decode(options, program, threads)


if __name__ == "__main__":
    main()
