"""Instructions that a program for AArch64 retires per token, beside llama.cpp's, counted by QEMU.

    instructions.py --program PROGRAM [--peer LLAMA_STEPS --model MODEL.gguf] [--cpu CPU]... [--json OUT]

PROGRAM is what `ingot compile MODEL.gguf --target aarch64-linux` makes. LLAMA_STEPS is
llama_steps.cpp with llama.cpp for AArch64, whose source is in the sdist of llama-cpp-python
(vendor/llama.cpp), one build for each CPU (give --peer as often as --cpu):

    cmake -G Ninja -S vendor/llama.cpp -B BUILD -DCMAKE_BUILD_TYPE=Release
      -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64
      -DCMAKE_C_COMPILER=clang-22 -DCMAKE_C_COMPILER_TARGET=aarch64-linux-gnu
      -DCMAKE_CXX_COMPILER=clang++-22 -DCMAKE_CXX_COMPILER_TARGET=aarch64-linux-gnu
      -DCMAKE_EXE_LINKER_FLAGS="-static -fuse-ld=lld" -DBUILD_SHARED_LIBS=OFF -DGGML_NATIVE=OFF
      -DGGML_CPU_ARM_ARCH=armv8.2-a+dotprod -DGGML_OPENMP=OFF -DLLAMA_BUILD_COMMON=OFF
      -DLLAMA_BUILD_TOOLS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_TESTS=OFF
      -DLLAMA_BUILD_SERVER=OFF -DLLAMA_BUILD_APP=OFF -DLLAMA_OPENSSL=OFF
    ninja -C BUILD llama
    clang++-22 --target=aarch64-linux-gnu -O2 -static -fuse-ld=lld -std=c++17
      -I vendor/llama.cpp/include -I vendor/llama.cpp/ggml/include test/bench/llama_steps.cpp
      -Wl,--start-group BUILD/src/libllama.a BUILD/ggml/src/*.a -Wl,--end-group -lpthread -o PEER

A count is exact, so each is taken once. What a token costs is the difference of two runs that differ in
tokens only: prompts of 48 and 144, 2 and 6 tokens decoded after a prompt of 48.
"""

import argparse
import itertools
import json
import pathlib
import re
import subprocess
import tempfile

PROMPTS, DECODED = (48, 144), (2, 6)


def counted(plugin, cpu, *command):
    done = subprocess.run(["qemu-aarch64", "-cpu", cpu, "-plugin", plugin, "-d", "plugin", *command],
                          capture_output=True, text=True, check=True)
    return int(re.search(r"(\d+) instructions", done.stderr + done.stdout).group(1))


def ours(plugin, cpu, program):
    """Of an answer to a text of as many tokens, greedy; sampling is part of it."""
    def answer(prompt, decoded):
        text = "the" + " the" * (prompt - 1)
        ids = subprocess.run(["qemu-aarch64", "-cpu", cpu, program, "--tokenize", text],
                             capture_output=True, text=True, check=True).stdout
        assert len(ids.split(",")) == prompt, ids
        return counted(plugin, cpu, program, "--threads", "1", "--temp", "0", "--raw",
                       "-n", str(decoded), "-p", text)
    return answer


def theirs(plugin, cpu, peer, model):
    return lambda prompt, decoded: counted(plugin, cpu, peer, model, str(prompt), str(decoded))


def per_token(run):
    base = run(PROMPTS[0], DECODED[0])
    return {"prefill": (run(PROMPTS[1], DECODED[0]) - base) / (PROMPTS[1] - PROMPTS[0]),
            "decode": (run(PROMPTS[0], DECODED[1]) - base) / (DECODED[1] - DECODED[0])}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    parser.add_argument("--peer", action="append", help="none: PROGRAM alone")
    parser.add_argument("--cpu", action="append", help="of QEMU; cortex-a76, then cortex-a53")
    parser.add_argument("--model")
    parser.add_argument("--json")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        plugin = str(pathlib.Path(folder, "count.so"))
        source = pathlib.Path(__file__).with_name("count_instructions.c")
        subprocess.run(["clang-22", "-O2", "-shared", "-fPIC", source, "-o", plugin], check=True)
        cpus = options.cpu or ("cortex-a76", "cortex-a53")
        for cpu, peer in itertools.zip_longest(cpus, options.peer or ()):
            row = {"cpu": cpu, "ingot": per_token(ours(plugin, cpu, options.program))}
            if peer:
                row["llama.cpp"] = per_token(theirs(plugin, cpu, peer, options.model))
            rows.append(row)
    print("| millions of instructions a token | prefill | decode |\n|---|---:|---:|")
    for row in rows:
        subjects = [subject for subject in ("llama.cpp", "ingot") if subject in row]
        for subject in subjects:
            print(f"| {subject}, {row['cpu']} | {row[subject]['prefill'] / 1e6:.1f} | "
                  f"{row[subject]['decode'] / 1e6:.1f} |")
        if len(subjects) < 2:
            continue
        print("| ratio | " + " | ".join(
            f"{row['ingot'][step] / row['llama.cpp'][step]:.2f}x" for step in ("prefill", "decode"))
            + " |")
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
