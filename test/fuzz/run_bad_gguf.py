"""Gives every bad file to `ingot compile`: one clear error, exit 1 and no output, or success.

    run_bad_gguf.py INGOT FOLDER
"""

import os
import pathlib
import resource
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

ingot, folder = sys.argv[1], pathlib.Path(sys.argv[2])
sanitized = "ASAN_OPTIONS" in os.environ


def limits():
    resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
    if not sanitized:  # its shadow memory takes terabytes of address space
        resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))


def wrong(path):
    """Nothing, or (what is wrong, whether the file was accepted)."""
    output = path.with_suffix(".mlir")
    done = subprocess.run([ingot, "compile", path, "-o", output, "--emit", "mlir"],
                          capture_output=True, preexec_fn=limits)
    text = done.stderr.decode("utf-8", "replace")
    errors = [line for line in text.splitlines() if line.startswith("error:")]
    others = [line for line in text.splitlines() if not line.startswith(("error:", "help:"))]
    made = output.exists()
    output.unlink(missing_ok=True)
    refused = done.returncode == 1 and len(errors) == 1 and not others and not made
    accepted = done.returncode == 0 and made and not text
    names_it = not refused or path.name in errors[0] or "weight" in errors[0] or "MLP" in errors[0]
    if (refused and names_it) or accepted:
        return None, accepted
    return f"{path.name}: exit {done.returncode}, output {made}\n{text[:2000]}", accepted


paths = sorted(folder.glob("[0-9]*.gguf"))
with ThreadPoolExecutor(os.cpu_count()) as pool:
    results = list(pool.map(wrong, paths))
failures = [text for text, _ in results if text]
print("\n".join(failures[:10]))
print(f"{len(paths)} files, {sum(a for _, a in results)} harmless, {len(failures)} handled wrongly")
sys.exit(bool(failures) or len(paths) < 500)
