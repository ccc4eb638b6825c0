"""How fast are other formats of weights? A Llama of random weights, which llama.cpp quantizes to each
format, compiled and timed beside llama.cpp on the same file, by turns: medians, as a table.

    formats.py --ingot build/bin/ingot --peer-python .peers/bin/python [--folder build/formats] ...
"""

import argparse
import datetime
import pathlib
import statistics
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import bench  # noqa: E402
import make_big_model  # noqa: E402
import subjects  # noqa: E402

MIB = 1 << 20
FORMATS = "q4_0,q4_1,q5_0,q8_0,q2_k,q3_k_m,q4_k_m,q5_k_m,q6_k"


def make_model(path):
    """220M parameters, rows of whole super-blocks."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        make_big_model.write_model(str(path), layers=6, embedding=2048, feed_forward=5632, heads=16,
                                   kv_heads=4, vocab=32000, context=2048, seed=0, quiet=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ingot", required=True)
    parser.add_argument("--peer-python", required=True)
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("build/formats"))
    parser.add_argument("--formats", default=FORMATS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--prompt", type=int, default=256)
    options = parser.parse_args()

    source = options.folder / "random.gguf"
    make_model(source)
    print(f"CPU: {bench.cpu_name()}. {datetime.date.today()}. {options.threads} thread(s), medians of "
          f"{options.rounds} rounds.\n")
    print("| format | file MiB | program's weights MiB | decode, tokens/s | llama.cpp | x | "
          "prefill, tokens/s | llama.cpp | x |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    for name in options.formats.split(","):
        model, program = source.with_suffix(f".{name}.gguf"), options.folder / name
        subjects.run(options.peer_python, HERE / "llama_quantize.py", source, model, name)
        subjects.run(options.ingot, "compile", model, "-o", program)
        ours = subjects.Program(program)
        pair = [ours, subjects.make_peer("llama.cpp", options.peer_python, model)]
        times = {subject.name: [] for subject in pair}
        for _ in range(options.rounds):
            for subject in pair:
                times[subject.name].append(
                    subject.time(options.threads, options.prompt, 0, 0, 24))
        row = [f"{model.stat().st_size / MIB:.0f}", f"{ours.bytes['weights'] / MIB:.0f}"]
        for key in ("decode_tok_s", "prefill_tok_s"):
            us, peer = (statistics.median(run[key] for run in times[subject.name]) for subject in pair)
            row += [f"{us:.1f}", f"{peer:.1f}", f"{us / peer:.2f}"]
        print(f"| {name} | " + " | ".join(row) + " |", flush=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subjects.Failure as failure:
        sys.exit(f"error: {failure}")
