"""The device's memory is planned: --info and inspect say the same, sessions take no more, and where there is
less, a program says so before it takes any.

    memory.py INGOT MODEL.gguf LIBRARY FOLDER     (LIBRARY: pretend.c's)
"""

import json
import os
import pathlib
import subprocess
import sys

ingot, model, library, folder = sys.argv[1:]
program = pathlib.Path(folder, "program")


def run(*command, **more):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True,
                          errors="replace", env={**os.environ, **more})


assert run(ingot, "compile", model, "-o", program, "--target", "vulkan").returncode == 0
info = json.loads(run(program, "--info", "--json").stdout)
plan = info["device_memory"]
assert plan == json.loads(run(ingot, "inspect", program, "--json").stdout)["device_memory"], plan
sizes = {row["name"]: row["bytes"] for row in plan["regions"]}
assert plan["bytes"] == sum(sizes.values()), plan
assert sizes["weights"] == info["weights_bytes"] and sizes["arena"] == info["arena_bytes"]
assert sizes["KV caches"] == info["cache_bytes"]
assert "device memory" in run(program, "--info").stdout

pretended = {"LD_LIBRARY_PATH": str(pathlib.Path(library).parent),
             "TRUE_VULKAN": "/usr/lib/x86_64-linux-gnu/libvulkan.so.1"}
answer = (program, "--raw", "-p", "one two", "-n", "2", "--temp", "0")
# What it takes of the device's own memory: what both see is elsewhere.
own = sizes["weights"] + sizes["arena"] + sizes["KV caches"]
enough = (own + (1 << 20) - 1) >> 20
expected = run(*answer)
assert expected.returncode == 0, expected
done = run(*answer, DISCRETE=str(enough), **pretended)
assert (done.returncode, done.stdout) == (0, expected.stdout), done
refused = run(*answer, DISCRETE=str(enough - 1), **pretended)
assert refused.returncode == 1, refused
assert refused.stderr.startswith("error: too little memory: "), refused
assert refused.stderr.count("\n") == 1, refused
assert f" has {enough - 1} MiB of memory, and the model needs {enough}: weights " in refused.stderr, \
    refused

assert run(ingot, "compile", model, "-o", program, "--target", "x86-64-v3").returncode == 0
assert json.loads(run(program, "--info", "--json").stdout)["device_memory"] is None
