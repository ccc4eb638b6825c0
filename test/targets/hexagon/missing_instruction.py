"""A processor that lacks an instruction of a program: a sentence and exit 1. The emulator lacks
none, so the signal comes from here.

    missing_instruction.py PROGRAM
"""

import signal
import subprocess
import sys

command = ["qemu-hexagon", "-cpu", "v67", sys.argv[1], "--raw", "-p", "one two three", "-n", "200"]
pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
with subprocess.Popen(command, text=True, errors="replace", **pipes) as process:
    process.stdout.read(1)  # it is at work
    process.send_signal(signal.SIGILL)
    said = process.communicate()[1]
assert process.returncode == 1, process.returncode
assert said == (
    "error: this processor has not all the instructions that kernels for hexagon-v68 need\n"
    "help: compile the model for another --target\n"), said
