"""Compiles a model of 250 MB and checks what memory that takes.

    compile_memory.py INGOT FOLDER

Peak resident memory counts everything: the compiler, mapped pages of the model, of the output.
"""

import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "bench"))

import make_big_model  # noqa: E402

ingot, folder = sys.argv[1], pathlib.Path(sys.argv[2])
model, program = folder / "model.gguf", folder / "model"
make_big_model.write_model(model, layers=6, embedding=2048, feed_forward=5632, heads=16,
                           context=128, quiet=True)
command = [ingot, "compile", model, "-o", program, "--cache", folder / "cache"]
subprocess.run(command, check=True)  # kernels are compiled and kept: their memory is their own
process = subprocess.Popen(command)
_, status, usage = os.wait4(process.pid, 0)
size, peak = model.stat().st_size, usage.ru_maxrss * 1024
print(f"model {size / 1e6:.0f} MB, program {program.stat().st_size / 1e6:.0f} MB, "
      f"compiled in {peak / 1e6:.0f} MB")
if status:
    sys.exit("compiling failed")
if peak > 0.8 * size:
    sys.exit("compiling needs memory for the model")
