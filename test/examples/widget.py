"""Types into examples/widget on a terminal of its own.

    widget.py WIDGET PROGRAM: what PROGRAM, of the same model, goes on with is what WIDGET suggests
"""

import os
import pty
import re
import select
import subprocess
import sys
import time

widget, program = sys.argv[1:]


def start(**environment):
    child, terminal = pty.fork()
    if not child:
        os.environ.update(environment)
        os.execv(widget, [widget])
    return child, terminal


def read_until(terminal, matches):
    """What the terminal shows until `matches` finds something; the test fails where it does not."""
    shown, until = "", time.monotonic() + 60
    while not matches(shown):
        ready, _, _ = select.select([terminal], [], [], max(0, until - time.monotonic()))
        assert ready, ("it does not show up", shown)
        shown += os.read(terminal, 4096).decode(errors="replace")
    return shown


def expected(text):
    """The first line of what comes behind, at most 8 tokens of it."""
    said = subprocess.run([program, "--raw", "-p", text, "-n", "8", "--temp", "0"], check=True,
                          capture_output=True, text=True, errors="replace").stdout
    return said.split("\n")[0]


text = "The capital of France is"
suggested = expected(text)
assert suggested.strip(), "the model says nothing"
child, terminal = start(NO_COLOR="1")
read_until(terminal, lambda shown: "> " in shown)
os.write(terminal, text.encode())
read_until(terminal, lambda shown: f"{text}\x1b[s|{suggested}|" in shown)
os.write(terminal, b"\t")
read_until(terminal, lambda shown: f"> {text}{suggested}\x1b[s" in shown)
# Back to a text of before: a backspace for each character.
os.write(terminal, b"\x7f" * len(suggested))
read_until(terminal, lambda shown: re.search(
    r"> " + re.escape(text) + r"\x1b\[s\|" + re.escape(suggested) + r"\|", shown))
os.write(terminal, b"\n\x04")
read_until(terminal, lambda shown: f"> {text}\x1b[s||" in shown)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
os.close(terminal)

child, terminal = start(NO_COLOR="")
read_until(terminal, lambda shown: "> " in shown)
os.write(terminal, b"hello")
read_until(terminal, lambda shown: "hello\x1b[s\x1b[2m" in shown)
os.write(terminal, b"\x04")
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
os.close(terminal)

done = subprocess.run([widget], stdin=subprocess.DEVNULL, capture_output=True, text=True)
assert done.returncode == 1 and done.stderr == "error: this wants a terminal\n", done
