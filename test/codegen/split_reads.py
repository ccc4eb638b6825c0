"""What a program reads of another model's weights before it refuses them, as the emulator lists its
system calls.

    split_reads.py INGOT FOLDER
"""

import pathlib
import re
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "oracle"))

import tiny_models  # noqa: E402

MOST = 64 << 10
ingot, folder = sys.argv[1], pathlib.Path(sys.argv[2])
shutil.rmtree(folder, ignore_errors=True)
folder.mkdir(parents=True)


def compiled(name, seed):
    """A program of some MiB of weights in a file."""
    model = folder / "model.gguf"
    tiny_models.write_tiny_llama(model, quant="q8_0", seed=seed, embedding=512, feed_forward=2048)
    subprocess.run([ingot, "compile", model, "-o", folder / name, "--split", "--target",
                    "x86-64-v3", "--selftest-tokens", "0"], check=True)
    return folder / name, folder / f"{name}.weights"


def reads(program, weights, code):
    """(bytes that are read of the file, bytes that are mapped of it)"""
    done = subprocess.run(["qemu-x86_64", "-strace", program, "--weights", weights, "--tokenize",
                           "hi"], capture_output=True, text=True)
    assert done.returncode == code, done
    opened = re.search(rf'open(?:at)?\(.*"{re.escape(str(weights))}".*\) = (\d+)', done.stderr)
    assert opened, done.stderr
    file = opened[1]
    read = sum(int(bytes) for bytes in re.findall(
        rf"\bp?read(?:64)?\({file},.* = (\d+)", done.stderr[opened.end():]))
    mapped = sum(int(bytes) for bytes in re.findall(
        rf"\bmmap\([^,]*,(\d+),[^,]*,[^,]*,{file},", done.stderr[opened.end():]))
    return read, mapped


program, own = compiled("program", 0)
_, other = compiled("other", 1)
assert own.stat().st_size == other.stat().st_size > 16 * MOST
# Its own: what reading looks like, so that none of it is missed below.
read, mapped = reads(program, own, 0)
assert 0 < read <= MOST and mapped >= own.stat().st_size - MOST, (read, mapped)
read, mapped = reads(program, other, 1)
assert 0 < read <= MOST and mapped == 0, (read, mapped)
print(f"{read} bytes of {other.stat().st_size} are read of the other file")
shutil.rmtree(folder)
