"""Runs a command and checks its exit code and what it writes to standard error.

    expect.py CODE PATTERN -- COMMAND...

PATTERN is searched with newlines as spaces; exactly one line may start with `error:`.
"""

import re
import subprocess
import sys

code, pattern, command = int(sys.argv[1]), sys.argv[2], sys.argv[4:]
done = subprocess.run(command, capture_output=True, text=True, errors="replace")
errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
if done.returncode != code or len(errors) != (code != 0) or not re.search(
        pattern, done.stderr.replace("\n", " ")):
    sys.exit(f"exit {done.returncode}, expected {code}; standard error was:\n{done.stderr}")
