"""Gives every bad file to `ingot compile`: one clear error, exit 1 and no output, or success.

    run_bad_gguf.py INGOT FOLDER

Each goes as far as the planned IR; what gets there goes on to LLVM IR, which takes the tokenizer
and the chat template in as well. Under ASAN_OPTIONS only the time is limited, not the memory.
"""

import os
import pathlib
import resource
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

ingot, folder = sys.argv[1], pathlib.Path(sys.argv[2])
sanitized = "ASAN_OPTIONS" in os.environ  # shadow memory takes terabytes of address space
seconds, address_space = (60, 0) if sanitized else (10, 4 << 30)


def limits():
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if address_space:
        resource.setrlimit(resource.RLIMIT_AS, (address_space, address_space))


def judge(path, emit):
    """(whether the file was accepted, what went wrong)."""
    output = path.with_suffix("." + emit)
    try:
        done = subprocess.run([ingot, "compile", path, "-o", output, "--emit", emit],
                              capture_output=True, preexec_fn=limits, timeout=4 * seconds)
    except subprocess.TimeoutExpired:
        return False, f"{path.name} --emit {emit}: still running after {4 * seconds} s"
    text = done.stderr.decode("utf-8", "replace")
    errors = [line for line in text.splitlines() if line.startswith("error: ")]
    others = [line for line in text.splitlines() if not line.startswith(("error: ", "help: "))]
    made = output.exists()
    output.unlink(missing_ok=True)
    accepted = done.returncode == 0 and made and not text
    refused = (done.returncode == 1 and len(errors) == 1 and path.name in errors[0]
               and not others and not made and len(text) < 1000 and "\x1b" not in text)
    if accepted or refused:
        return accepted, None
    return False, (f"{path.name} --emit {emit}: exit {done.returncode}, output {made}\n"
                   f"{text if sanitized else text[:2000]}")


def wrong(path):
    accepted, failure = judge(path, "mlir")
    if accepted:
        accepted, failure = judge(path, "llvm")
    left = sorted(p.name for p in folder.glob(path.stem + "*") if p != path)
    if left and not failure:
        failure = f"{path.name}: left behind {', '.join(left)}"
    return accepted, failure


accepted, failure = judge(folder / "good.gguf", "llvm")
if not accepted:
    sys.exit(f"the good file is not accepted: {failure}")
paths = sorted(folder.glob("[0-9]*.gguf"))
with ThreadPoolExecutor(os.cpu_count()) as pool:
    results = list(pool.map(wrong, paths))
failures = [failure for _, failure in results if failure]
print("\n".join(failures if sanitized else failures[:20]))
print(f"{len(paths)} files, {sum(a for a, _ in results)} harmless, {len(failures)} handled wrongly")
sys.exit(bool(failures) or len(paths) < 500)
