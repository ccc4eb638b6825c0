"""Runs a program with a prompt and decode and holds its memory against what it says it needs.

    memory.py INGOT PROGRAM

Bounds are those that docs/memory.md promises.
"""

import json
import pathlib
import re
import resource
import subprocess
import sys

ingot, program = sys.argv[1:]
MIB = 1 << 20
RESIDENT, ANONYMOUS = 10, 8  # MiB above weights and plan, above the plan
CODE = 400 << 10             # runtime, kernels and steps of one machine
failures = []


def bound(what, value, most, unit="MiB"):
    print(f"{what}: {value:,.6g} of at most {most:,.6g} {unit}")
    if value > most:
        failures.append(what)


def use(*options):
    return json.loads(subprocess.check_output([program, "--bench", "--json", "--reps", "1",
                                               *options]))


def bench(*options):
    """The bounds on what one workload keeps in memory."""
    name, figures = " ".join(options), use(*options)
    bound(f"{name}: peak RSS", figures["peak_rss_mib"],
          figures["weights_mib"] + figures["planned_mib"] + RESIDENT)
    bound(f"{name}: anonymous", figures["peak_anonymous_mib"], figures["planned_mib"] + ANONYMOUS)
    return figures


def mappings(process):
    """[{"name", "flags", "Rss", "Anonymous", ...}] of a process, in bytes."""
    found = []
    for line in pathlib.Path(f"/proc/{process}/smaps").read_text().splitlines():
        if head := re.match(r"[0-9a-f]+-[0-9a-f]+ (\S+) \S+ \S+ \d+ *(.*)", line):
            found.append({"flags": head[1], "name": head[2]})
        elif row := re.match(r"(\w+): +(\d+) kB", line):
            found[-1][row[1]] = int(row[2]) * 1024
    return found


inspected = json.loads(subprocess.check_output([ingot, "inspect", program, "--json"]))
sizes = inspected["bytes"]
by_machine = sizes["kernels"] + sizes["steps"]
bound("bytes without weights and tokenizer, for one machine",
      inspected["code_bytes"] - by_machine + by_machine / len(inspected["variants"]), CODE, "bytes")

for threads in ("1", "2"):
    alone = bench("--prompt-tokens", "512", "--depth", "512", "--gen-tokens", "32", "--threads",
                  threads)
    assert abs(alone["weights_mib"] * MIB / sizes["weights"] - 1) < 0.01, alone
bench("--prompt-tokens", "9", "--depth", "200", "--gen-tokens", "8", "--threads", "2", "--batch",
      "8")

# Weights stay pages of the file while the program talks. A page of a private mapping that is
# written becomes anonymous. Dirty ones are not counted: a new file's are, until it is on the disk.
with subprocess.Popen([program, "--temp", "0", "-n", "8"], stdin=subprocess.PIPE,
                      stdout=subprocess.PIPE) as chat:
    chat.stdin.write(b"Tell me the capital of France.\n")
    chat.stdin.flush()
    assert b"Paris" in chat.stdout.readline()  # now it waits for the next message
    rows = mappings(chat.pid)
    chat.stdin.close()
    assert chat.wait() == 0
path = str(pathlib.Path(program).resolve())
# Pieces of one mapping, because the system was told to use huge pages where they fit.
weights = [row for row in rows if row["name"] == path and row["flags"].startswith("r--") and
           row["Size"] >= 1 << 16]
assert sum(row["Rss"] for row in weights) > 0.9 * sizes["weights"], rows  # so it did read them
bound("chat: anonymous pages of the weights",
      sum(row["Anonymous"] + row["Swap"] for row in weights) / MIB, 0)
# It is shorter than the workload above, but samples and reads text.
plan = json.loads(subprocess.check_output([program, "--info", "--json"]))["planned_memory"]
scratch = sum(row["planned_bytes"] for row in plan["regions"] if "scratch" in row["name"])
bound("chat: anonymous", sum(row["Anonymous"] + row["Swap"] for row in rows) / MIB,
      alone["planned_mib"] + scratch / MIB + ANONYMOUS)

# Where the system refuses the memory, it is said.
done = subprocess.run([program, "-p", "Hello"], capture_output=True, text=True,
                      preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (128 * MIB,) * 2))
assert done.returncode == 1 and done.stdout == "", done
assert done.stderr.startswith("error: cannot start: too little memory: the system refuses"), done
sys.exit(", ".join(failures) or 0)
