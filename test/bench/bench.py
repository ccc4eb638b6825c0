"""Times a compiled program beside its peers and prints the tables of docs/benchmarks.md.

Runs alternate (llama.cpp, OpenVINO, program, llama.cpp ...), each in a process of its own, so that
a slow minute of the machine meets all. Each number is the median over --rounds. Read bandwidth is
measured in every round too: `% of read` is (bytes that one token reads) * (tokens per second) /
(bytes per second that as many threads can read), where one token reads the packed weights once and
the keys and values of every position before it. A peer that fails leaves its cells empty and a line
below the tables; Ctrl-C ends with the tables of what was timed so far.

Peers: llama.cpp, on the same file; llama.cpp-q4_0, on a copy of it in Q4_0, which llama.cpp has
faster kernels for; openvino: OpenVINO GenAI, on the same file.

Every run goes into build/bench.json (--json), from which tables and plots can be made again: see
--from.
"""

import argparse
import datetime
import itertools
import os
import pathlib
import shlex
import sys
import time

import tables
from record import Record
from subjects import PEERS, Failure, HERE, Program, make_peer, run


def cpu_name():
    with open("/proc/cpuinfo") as cpuinfo:
        fields = dict(line.strip().split("\t:", 1) if "\t:" in line else (line.strip(), "")
                      for line in cpuinfo.read().split("\n\n")[0].splitlines())
    fields = {key.strip(): value.strip() for key, value in fields.items()}
    flags = fields.get("flags", "").split()
    isa = "AVX-512 VNNI" if "avx512_vnni" in flags else "AVX2" if "avx2" in flags else "SSE"
    return (f"{fields.get('model name', 'unknown CPU')} (family {fields.get('cpu family')}, model "
            f"{fields.get('model')}, {isa}), {os.cpu_count()} cores")


def progress(total):
    """A bar on a terminal, lines elsewhere."""
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm(total=total, unit="run", mininterval=1 if sys.stderr.isatty() else 30)


class Broken:
    """Stands for a subject that cannot be timed at all."""

    bytes = None

    def __init__(self, name, error):
        self.name, self.error = name, error

    def time(self, *_):
        raise Failure(self.error)


def prepared(name, make):
    try:
        return make()
    except (Failure, OSError, ImportError) as error:
        return Broken(name, str(error))


def points(options):
    """[(prompt, depth, batch)] of a round, so that every prompt is filled once: it takes long."""
    pairs = itertools.zip_longest(sorted(options.prompts, reverse=True),
                                  sorted(options.depths, reverse=True))
    alone = [(prompt or 0, options.depths[0] if depth is None else depth, None)
             for prompt, depth in pairs]
    return alone + [(0, options.depths[0], batch) for batch in options.batch if batch > 1]


def measure(subjects, options, record):
    """Fills the record; saves it after every run."""
    data = record.data
    todo = points(options)
    bar = progress(options.rounds * len(options.threads) * len(todo) * len(subjects))
    failed = set()
    for done in range(options.rounds):
        for threads in options.threads:
            for key, tool in (("read_gb_s", options.read_bandwidth),
                              ("peak_gmac_s", options.peak_macs)):
                if tool:
                    data[key].setdefault(str(threads), []).append(float(run(tool, threads)))
            for point, subject in itertools.product(todo, subjects):
                prompt, depth, batch = point
                where = {"subject": subject.name, "threads": threads, "prompt": prompt,
                         "depth": depth, "batch": batch}
                if bar:
                    bar.set_description(f"round {done + 1} of {options.rounds}, {subject.name}",
                                        refresh=False)
                if (subject.name, threads, point) not in failed:
                    try:
                        result = subject.time(threads, *point, options.gen_tokens)
                        data["runs"].append({**result, **where})
                    except Failure as error:
                        # It would fail in the other rounds too.
                        failed.add((subject.name, threads, point))
                        data["runs"].append({**where, "error": str(error)})
                record.save(options.json)
                if bar:
                    bar.update()
        data["rounds"] = done + 1
    if bar:
        bar.close()


def profile(program, options, record):
    """Where the program's time goes, once for each number of threads."""
    batch = max(options.batch)
    for threads in options.threads:
        try:
            record.data["profiles"].append(program.profile(
                threads, min(options.prompts), options.depths[-1], batch if batch > 1 else None,
                options.gen_tokens))
        except (Failure, ValueError) as error:
            record.data["notes"].append(f"no profile: {error}")
            break
    record.save(options.json)


def warn_if_busy():
    """Before the first run: load that ends in a few seconds is what ./dev built just now."""
    for _ in range(10):
        with open("/proc/loadavg") as loadavg:
            running = int(loadavg.read().split()[3].split("/")[0]) - 1 # without this process
        if running <= 0:
            return
        time.sleep(0.5)
    print(f"warning: the machine is busy ({running} other threads run): figures will be low",
          file=sys.stderr)


def new_record(options, subjects):
    return Record({
        "cpu": cpu_name(), "date": str(datetime.date.today()),
        "command": shlex.join(["./dev", "bench", *options.typed]), "rounds": 0,
        "gen_tokens": options.gen_tokens, "threads": options.threads, "prompts": options.prompts,
        "depths": options.depths, "batches": options.batch,
        "subjects": [{"name": subject.name, "bytes": subject.bytes} for subject in subjects],
        "read_gb_s": {}, "peak_gmac_s": {}, "runs": [], "profiles": [], "notes": []})


def compile_program(options):
    """The model as a program that runs the batches; kernels are in the cache mostly."""
    program = pathlib.Path(options.program)
    program.parent.mkdir(parents=True, exist_ok=True)
    run(options.ingot, "compile", options.model, "-o", program, "--batch",
        ",".join(str(batch) for batch in sorted({1, *options.batch})))
    return Program(program.resolve())


def time_all(options):
    subjects = [prepared(name, lambda name=name: make_peer(name, options.peer_python,
                                                           options.model))
                for name in options.peers]
    if not options.no_program:
        subjects.append(compile_program(options) if options.ingot
                        else Program(pathlib.Path(options.program).resolve()))
    record = new_record(options, subjects)
    warn_if_busy()
    try:
        measure(subjects, options, record)
        if not options.no_program:
            profile(subjects[-1], options, record)
    except KeyboardInterrupt:
        print("\ninterrupted: these are the rounds until now", file=sys.stderr)
    record.save(options.json)
    return record


def parse(arguments):
    def numbers(text):
        found = sorted({int(part) for part in text.split(",")})
        if not found or found[0] < 0:
            raise ValueError
        return found

    def positive(text):
        found = numbers(text)
        if found[0] < 1:
            raise ValueError
        return found

    def peers(text):
        found = [] if text == "none" else text.split(",")
        for name in found:
            if name not in PEERS:
                raise argparse.ArgumentTypeError(
                    f"no peer is called '{name}': {', '.join(PEERS)}, or none")
        return found

    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=peers, default=list(PEERS),
                        help=f"default: {','.join(PEERS)}; none: the program alone")
    parser.add_argument("--no-program", action="store_true", help="time the peers alone")
    parser.add_argument("--threads", type=positive, default=[1, 2], help="default: 1,2")
    parser.add_argument("--prompts", type=positive, default=[512, 1900],
                        help="tokens of prefill; default: 512,1900")
    parser.add_argument("--depths", type=numbers, default=[0, 512],
                        help="tokens before those that are decoded; default: 0,512")
    parser.add_argument("--batch", type=positive, default=[1, 4, 8],
                        help="texts side by side, after the first of the depths; default: 1,4,8")
    parser.add_argument("--gen-tokens", type=int, default=128, help="default: 128")
    parser.add_argument("--rounds", type=int, default=5, help="default: 5")
    parser.add_argument("--json", default="build/bench.json", metavar="FILE",
                        help="where every run is kept; default: build/bench.json")
    parser.add_argument("--from", dest="source", metavar="FILE",
                        help="measure nothing: tables and plots of the runs in FILE")
    parser.add_argument("--plots", metavar="DIR", help="also draw PNGs into DIR")
    # ./dev gives these.
    parser.add_argument("--program", default="build/bench/program", help=argparse.SUPPRESS)
    parser.add_argument("--ingot", help=argparse.SUPPRESS)
    parser.add_argument("--model", help=argparse.SUPPRESS)
    parser.add_argument("--peer-python", default=".peers/bin/python", help=argparse.SUPPRESS)
    parser.add_argument("--read-bandwidth", help=argparse.SUPPRESS)
    parser.add_argument("--peak-macs", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    # The part of the command line that a person typed: ./dev adds the paths before it.
    added = ("--program", "--ingot", "--model", "--peer-python", "--read-bandwidth", "--peak-macs")
    typed = list(arguments)
    while len(typed) >= 2 and typed[0] in added:
        typed = typed[2:]
    options.typed = typed
    return options


def main():
    options = parse(sys.argv[1:])
    try:
        if options.source:
            record = Record.load(options.source)
        else:
            record = time_all(options)
            options.source = options.json
        print(tables.report(record), flush=True)
        if options.plots:
            print(run(sys.executable, HERE / "plots.py", options.source, options.plots),
                  file=sys.stderr, end="")
    except (Failure, OSError, ValueError, KeyError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
