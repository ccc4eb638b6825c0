"""Compiles under a file size limit and under kill -9; the older output must survive both.

    output.py INGOT MODEL FOLDER
"""

import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import time

ingot, model, folder = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
shutil.rmtree(folder, ignore_errors=True)
folder.mkdir(parents=True)
output = folder / "chat"
output.write_text("older")
command = [ingot, "compile", model, "-o", output, "--cache", folder / "cache"]


def small_files():
    # As a full disk does: writes beyond the limit fail, the program goes on.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20 << 20, 20 << 20))


done = subprocess.run(command, capture_output=True, text=True, preexec_fn=small_files)
assert done.returncode == 1, (done.returncode, done.stderr)
assert done.stderr.startswith("error: "), done.stderr
assert output.read_text() == "older"
assert sorted(p.name for p in folder.iterdir() if p.name != "cache") == ["chat"], list(folder.iterdir())

for delay in (0.1, 0.5, 1.0, 1.5):
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        time.sleep(delay)
        process.kill()
    assert output.read_text(errors="replace").startswith("older") or os.access(output, os.X_OK)

with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
    time.sleep(0.6)
    process.terminate()
    code = process.wait()
if code:  # unless it was faster than the signal
    assert output.read_text(errors="replace") == "older" or os.access(output, os.X_OK)

subprocess.run(command, check=True)
assert output.stat().st_size > 90_000_000 and os.access(output, os.X_OK)
shutil.rmtree(folder)
