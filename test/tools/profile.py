"""Runs a program with --profile and checks that its figures and its trace are whole.

    profile.py PROGRAM FOLDER

Times are never compared with expectations, only with each other.
"""

import collections
import json
import pathlib
import subprocess
import sys

program, folder = sys.argv[1], pathlib.Path(sys.argv[2])
trace_file = folder / "trace.json"
threads, prompt, generated, layers = 2, 200, 5, 30
command = [program, "--profile", "--prompt-tokens", str(prompt), "--gen-tokens", str(generated), "--depth", "3",
           "--reps", "1", "--batch", "3", "--threads", str(threads)]
profile = json.loads(subprocess.check_output(command + ["--json", "--trace", trace_file]))
info = json.loads(subprocess.check_output([program, "--info", "--json"]))
steps = {"prefill": -(-prompt // info["prefill_tokens"]), "decode": generated, "batch": generated}

assert profile["threads"] == threads
for name, phase in list(profile.items())[1:]:
    assert phase["steps"] == steps[name], (name, phase["steps"])
    rest = sum(phase[f"{part}_ms"] for part in ("start", "end", "outside"))
    for rows in (phase["kernels"], phase["layers"]):
        whole = sum(row["ms"] + row["wait_ms"] for row in rows) + rest
        assert abs(whole / phase["ms"] - 1) < 1e-6, (name, whole, phase["ms"])
    assert abs(sum(row["wait_ms"] for row in phase["kernels"]) / phase["barriers_ms"] - 1) < 1e-6
    # Every layer launches as much as the others.
    assert [row["name"] for row in phase["layers"]] == ["embedding", *map(str, range(layers)), "output"]
    assert len({row["calls"] for row in phase["layers"][1:-1]}) == 1

# One token reads every weight once, the embedding's table one row of it and one time whole.
decode = profile["decode"]
read = sum(kernel["weight_bytes"] for kernel in decode["kernels"])
assert abs(read / info["weights_bytes"] - 1) < 0.01, (read, info["weights_bytes"])
macs = {kernel["name"]: kernel["macs"] for kernel in decode["kernels"]}
assert any(value == 49152 * 576 for value in macs.values()), macs
assert sum(k["macs"] for k in decode["kernels"] if k["weight_bytes"]) == info["model"]["parameters"] - 35136, macs

trace = json.loads(trace_file.read_text())
assert trace["otherData"] == {"steps_left_out": 0}
slices = [event for event in trace["traceEvents"] if event["ph"] == "X"]
named = {event["tid"]: event["args"]["name"] for event in trace["traceEvents"] if event["name"] == "thread_name"}
assert named == {thread: f"thread {thread}" for thread in range(threads)}, named


def nanoseconds(event):
    begin = round(event["ts"] * 1000)
    return begin, begin + round(event["dur"] * 1000)


def end_in_doubles(event):
    return event["ts"] + event["dur"]


for thread in range(threads):
    step, last, at, counts = None, None, 0, []
    for event in (event for event in slices if event["tid"] == thread):
        begin, end = nanoseconds(event)
        if event["cat"] == "step":
            assert step is None or nanoseconds(step)[1] - at in (0, 1), step  # its slices fill it
            assert begin >= at
            step, last, at = event, None, begin
            counts.append((event["name"], event["args"], collections.Counter()))
            continue
        assert begin - at in (0, 1) and end <= nanoseconds(step)[1], event
        # For readers who add in doubles, too.
        assert (last is None or end_in_doubles(last) <= event["ts"]) and end_in_doubles(event) <= end_in_doubles(step)
        last, at = event, end
        if event["cat"] == "kernel":
            assert {"layer", "bytes", "macs"} == set(event["args"]), event
            counts[-1][2][event["name"], event["args"]["layer"]] += 1
    decoded = [launches for name, _, launches in counts if name == "decode"]
    assert len(decoded) == generated
    # Each token launches the same, and as often as the table says.
    assert all(launches == decoded[0] for launches in decoded)
    by_kernel = collections.Counter()
    for (kernel, _), count in decoded[0].items():
        by_kernel[kernel] += count
    assert by_kernel == {kernel["name"]: kernel["calls"] for kernel in decode["kernels"]}
    assert [step["position"] for name, step, _ in counts if name == "decode"] == list(range(3, 3 + generated))
    assert sum(step["tokens"] for name, step, _ in counts if name == "prefill") == prompt
    assert sum(name == "decode4" for name, _, _ in counts) == generated

text = subprocess.check_output(command, text=True)
assert text.count("waiting at barriers") == 6 and "100.0%" in text

for bad in (folder / "no" / "trace.json", folder):
    done = subprocess.run(command + ["--trace", bad], capture_output=True, text=True)
    assert done.returncode == 1 and done.stdout == "" and done.stderr.startswith("error: "), done
assert sorted(p.name for p in folder.iterdir()) == ["chat", "trace.json"]
