"""The device's memory is planned: --info and inspect say the same, sessions take no more, and where there is
less, a program says so before it takes any. Weights are divided among buffers as large as the device gives, and
what it cannot do is a sentence.

    memory.py INGOT MODEL.gguf LIBRARY FOLDER     (LIBRARY: pretend.c's)
"""

import json
import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "oracle"))

import tiny_models  # noqa: E402

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


# A matrix of 1024 x 256 codes has 128 KiB, that of two such 256, the table of embeddings a little more.
def limited(**limits):
    done = run(*answer, **{name: str(limit) for name, limit in limits.items()}, **pretended)
    if done.returncode == 0:
        assert done.stdout == expected.stdout, done
        return ""
    assert done.returncode == 1 and done.stderr.count("\n") == 1, (limits, done)
    return done.stderr.removeprefix("error: ").rstrip()


def fewest(name, least, most):
    """The least limit that suffices, by halves."""
    while least < most:
        middle = (least + most) // 2
        if limited(**{name: middle}):
            least = middle + 1
        else:
            most = middle
    return most


# What the weights are divided by is the most that anything else wants at once.
given = fewest("GIVES", 16, 4096)
assert 2 * 1024 * given < sizes["weights"], given
said = limited(GIVES=given - 1)
assert f" gives at most {given - 1:,} KiB at once, and the model needs {given:,} for " in said, said
assert said.startswith("too little memory: "), said
assert " refuses " in limited(REFUSES=given - 1), limited(REFUSES=given - 1)
assert limited(GIVES=given, RANGE=fewest("RANGE", 16, 4096)) == ""
said = limited(RANGE=128)
assert said.startswith("cannot start: ") and " KiB at once, and a matrix of the model has 256" in said, said
assert " KiB of shared memory, and " in limited(SHARED=0), limited(SHARED=0)
said = limited(BINDINGS=4)
assert " reads 4 buffers at once, and " in said, said
assert limited(NONE=1) == "cannot start: there is no Vulkan device that computes (version 1.1 or later)", \
    limited(NONE=1)

# Nothing divides a matrix: of gates and ups, 2048 x 256 floats.
floats = pathlib.Path(folder, "floats.gguf")
tiny_models.write_tiny_llama(floats, quant="f32", embedding=256, feed_forward=1024, layers=2)
assert run(ingot, "compile", floats, "-o", program, "--target", "vulkan").returncode == 0
expected = run(*answer)
assert fewest("GIVES", 16, 8192) == 2048
assert limited(GIVES=2047).endswith(" gives at most 2,047 KiB at once, and the model needs 2,048 for a matrix")

assert run(ingot, "compile", model, "-o", program, "--target", "x86-64-v3").returncode == 0
assert json.loads(run(program, "--info", "--json").stdout)["device_memory"] is None
