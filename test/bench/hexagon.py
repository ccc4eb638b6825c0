"""What a program for Hexagon executes, kernel by kernel, counted by QEMU, beside what its machine model
says it could do at best.

    hexagon.py --ingot build/bin/ingot --program PROGRAM [--prompt 144] [--tokens 2] [--json OUT]

PROGRAM is what `ingot compile MODEL.gguf --target hexagon-v68` makes. A packet is what the processor
issues at once, so packets are cycles in which nothing waits: memory is assumed to deliver as fast as
the model says, which the emulator cannot know. Bounds of a kernel's time: the products of its sums of
codes at 2 `vrmpy` a packet (256 products of bytes, a byte of an activation's code each), of attention at
one `vdmpy` (64 products of 16 bits), which takes both multipliers, and the bytes of weights and caches
that it reads at the model's bandwidth. The table says what part of the time that the larger
bound would take a kernel takes: max(packets, bytes' time) is its time.
"""

import argparse
import collections
import json
import pathlib
import re
import subprocess
import tempfile

GIGAHERTZ, GIGABYTES = 1.2, 8.0  # targets/hexagon/Machines.cpp
BYTES_A_PACKET = GIGABYTES / GIGAHERTZ
CHUNK = 72  # tokens of a prefill step (targets/hexagon/Machines.cpp)
EMULATOR = ["qemu-hexagon", "-cpu", "v67"]
VECTOR = re.compile(r"\bv\d+|\bq\d\b")


def sections(program):
    text = subprocess.run(["llvm-readelf-22", "-S", program], capture_output=True, text=True,
                          check=True).stdout
    found = {}
    for name, address, size in re.findall(r"\] (\.\S+) +\S+ +(\w+) \w+ (\w+)", text):
        found[name] = (int(address, 16), int(address, 16) + int(size, 16))
    return found


def packets_of(program):
    """Address of each packet: its instructions."""
    text = subprocess.run(["llvm-objdump-22", "-d", "--mcpu=hexagonv68",
                           "--mattr=+hvxv68,+hvx-length128b", "--no-show-raw-insn", program],
                          capture_output=True, text=True, check=True).stdout
    packets, at = {}, None
    for line in text.splitlines():
        parts = re.match(r"\s*([0-9a-f]+):\s*(.*)", line)
        if not parts:
            continue
        if at is None or "{" in parts[2]:
            at = int(parts[1], 16)
            packets[at] = []
        packets[at].append(parts[2].strip("{} \t"))
        if "}" in parts[2]:
            at = None
    return packets


def counts(program, options):
    """Kernel: counts of packets, instructions, vector instructions, products, calls."""
    places, packets = sections(program), packets_of(program)
    order = sorted(packets)
    index = {address: i for i, address in enumerate(order)}
    kernels, steps = places[".ingot.kernels"], places[".ingot.steps"]
    total = collections.defaultdict(collections.Counter)
    starts = {int(address, 16): name for address, name in re.findall(
        r"^(\w+) \w (\S+)$", subprocess.run(["llvm-nm-22", program], capture_output=True, text=True,
                                            check=True).stdout, re.MULTILINE)}
    with tempfile.TemporaryDirectory() as folder:
        plugin, log = pathlib.Path(folder, "count.so"), pathlib.Path(folder, "log")
        subprocess.run(["clang-22", "-O2", "-shared", "-fPIC",
                        pathlib.Path(__file__).with_name("count_blocks.c"), "-o", plugin], check=True)
        places = ",".join(f"{name}={place[0]:x}-{place[1]:x}"
                          for name, place in (("kernels", kernels), ("steps", steps)))
        subprocess.run([*EMULATOR, "-plugin", f"{plugin},{places}", "-d", "plugin", "-D", log,
                        program, *options], check=True, stdout=subprocess.DEVNULL)
        for line in log.read_text().splitlines():
            kernel, address, size, runs = line.split()
            address, size, runs = int(address, 16), int(size), int(runs)
            of = total[kernel]
            if starts.get(address) == kernel:
                of["calls"] += runs
            of["packets"] += size * runs
            first = index[address]
            for at in order[first:first + size]:
                for instruction in packets[at]:
                    of["instructions"] += runs
                    of["vector"] += runs * bool(VECTOR.search(instruction))
                    of["vrmpy"] += runs * ("vrmpy(" in instruction)
                    of["vdmpy"] += runs * ("vdmpy(" in instruction)
    return total


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ingot", required=True)
    parser.add_argument("--program", required=True)
    parser.add_argument("--prompt", type=int, default=144, help="tokens")
    parser.add_argument("--tokens", type=int, default=2, help="decoded")
    parser.add_argument("--json")
    options = parser.parse_args()
    text = "the" + " the" * (options.prompt - 1)
    ids = subprocess.run([*EMULATOR, options.program, "--tokenize", text], capture_output=True,
                         text=True, check=True).stdout
    prompt = len(ids.split(","))
    described = json.loads(subprocess.run([options.ingot, "inspect", options.program, "--json"],
                                          capture_output=True, text=True, check=True).stdout)
    info = json.loads(subprocess.run([*EMULATOR, options.program, "--info", "--json"],
                                     capture_output=True, text=True, check=True).stdout)
    planes = 2 if info["build"]["activations"] == "int16" else 1  # bytes of an activation's code
    costs = {kernel["name"]: kernel for kernel in described["kernels"]}
    counted = counts(options.program, ["--threads", "1", "--temp", "0", "--raw", "-n",
                                       str(options.tokens + 1), "-p", text])
    chunks = -(-prompt // CHUNK)
    rows = []
    for name, of in counted.items():
        kernel = costs.get(name)
        if not kernel or not of["calls"]:
            continue
        # A step of decode runs kernels of one token; a prompt ends with one, its logits (..._0).
        decode = kernel["one_token"] and not name.endswith("_0")
        tokens = options.tokens if decode else prompt
        of_calls = of["calls"] if kernel["one_token"] else of["calls"] / chunks * prompt
        macs, read = ((terms[0] * of["calls"] + terms[1] * of_calls)
                      for terms in (kernel["macs"], kernel["weight_bytes"]))
        linear = "linear" in name or "logits" in name
        rows.append({"kernel": name, "decode": decode, "tokens": tokens, **of,
                     "bound_products": macs * planes / 256 if linear else of["vdmpy"],
                     "bound_bytes": read / BYTES_A_PACKET})
    for step, decode in (("prefill", False), ("decode", True)):
        print(f"\n{step}: a token\n\n| kernel | calls | packets | vector instructions | products' bound "
              "| bytes' bound | of the bound |\n|---|---:|---:|---:|---:|---:|---:|")
        all_time = all_bound = all_packets = 0
        for row in sorted(rows, key=lambda row: -row["packets"]):
            if row["decode"] != decode:
                continue
            tokens, products, read = row["tokens"], row["bound_products"], row["bound_bytes"]
            row["bound"] = bound = max(products, read)
            row["time"] = time = max(row["packets"], read)
            all_time, all_bound = all_time + time / tokens, all_bound + bound / tokens
            all_packets += row["packets"] / tokens
            print(f"| {row['kernel']} | {row['calls'] / tokens:.2f} | {row['packets'] / tokens:,.0f} | "
                  f"{row['vector'] / tokens:,.0f} | {products / tokens:,.0f} | {read / tokens:,.0f} | "
                  f"{bound / time:.0%} |")
        print(f"| all | | {all_packets:,.0f} | | | | {all_bound / max(all_time, 1):.0%} |")
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
