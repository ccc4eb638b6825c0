"""The compiler, as a process of its own: its LLVM meets no other one, and its memory goes back."""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from typing import NoReturn

FOLDER = pathlib.Path(__file__).parent
PROGRAM = FOLDER / "bin" / "ingot"

PathLike = str | os.PathLike[str]
#: Gets the name of a stage, and how much of it is done (0 to 1; None where that is not known).
Progress = Callable[[str, float | None], object]


class CompileError(RuntimeError):
    """What the compiler said: `message`, where (`file`, `where`), what to do (`help`); "": none."""

    def __init__(self, message: str, file: str = "", where: str = "", help: str = ""):
        place = ": ".join(part for part in (file, where, message) if part)
        super().__init__(place + (f"\nhelp: {help}" if help else ""))
        self.message, self.file, self.where, self.help = message, file, where, help


def _missing(text: str) -> OSError | None:
    """For the loader's complaint about a library."""
    found = re.search(r"error while loading shared libraries: ([^:]+):", text)
    if not found:
        return None
    library, owners = found[1], {}
    listed = FOLDER / "system_libraries.json"
    if listed.exists():
        owners = json.loads(listed.read_text())
    package = owners.get(library)
    if library.startswith(("libLLVM", "libHalide")):
        advice = "it should be part of ingot: install that again"
    elif package:
        advice = f"install it (Debian: apt-get install {package})"
    else:
        advice = "install the package that has it"
    return OSError(f"the compiler needs {library}, which cannot be loaded: {advice}")


def _start(arguments: list[str], **options) -> subprocess.Popen[str]:
    try:
        return subprocess.Popen([str(PROGRAM), *arguments], text=True, errors="replace", **options)
    except OSError as error:
        raise OSError(error.errno, f"cannot start the compiler: {error.strerror}; install ingot "
                      "again", str(PROGRAM)) from error


def _fail(code: int, lines: list[str]) -> NoReturn:
    text = "".join(lines)
    if problem := _missing(text):
        raise problem
    for line in lines:
        if line.startswith("{"):
            told = json.loads(line)
            raise CompileError(told["error"], told["file"], told["where"], told["help"])
    if code < 0:
        raise CompileError(f"the compiler was ended by signal {-code}", help=text.strip())
    usage = re.search(r"^error: (.*)", text, re.M)
    raise CompileError(usage[1] if usage else text.strip() or f"the compiler returned {code}")


def compile(model: PathLike, output: PathLike | None = None, *, target: str = "host",
            emit: str = "shared", quantize: str | None = None, quantize_output: str | None = None,
            context: int | None = None, activations: str | None = None,
            kv_cache: str | None = None, batch: Iterable[int] | None = None,
            embeddings: bool = False, split: bool = False,
            symbol: str | None = None, header: PathLike | None = None,
            tune_file: PathLike | None = None, cache: PathLike | bool = True,
            verify: bool = False, options: Iterable[str] = (),
            progress: Progress | None = None) -> pathlib.Path:
    """Compiles a GGUF file and returns the path of what it made.

    output: by default the model's path with ".so" behind its stem.
    emit: "shared", which `ingot.load` takes; "exe", a program that needs nothing else; "object".
    cache: where compiled kernels are kept; False: nowhere.
    options: further words of the command line, of which these arguments are a part (`ingot compile
        --help`).
    progress: called as the work goes on. What it raises ends the compiler, and is raised here.

    Raises CompileError with the compiler's message; then `output` is what it was before.
    """
    made = pathlib.Path(os.fspath(output) if output is not None
                        else pathlib.Path(model).with_suffix(".so"))
    arguments = ["compile", os.fspath(model), "-o", str(made), "--diagnostics", "json", "--target",
                 target, "--emit", emit]
    for name, value in (("quantize", quantize), ("quantize-output", quantize_output),
                        ("context", context), ("activations", activations), ("kv-cache", kv_cache),
                        ("symbol", symbol), ("header", header), ("tune-file", tune_file)):
        if value is not None:
            arguments += [f"--{name}", str(value)]
    if batch is not None:
        arguments += ["--batch", ",".join(map(str, batch))]
    if cache is False:
        arguments.append("--no-cache")
    elif cache is not True:
        arguments += ["--cache", os.fspath(cache)]
    arguments += [f"--{name}" for name, wanted in (("embeddings", embeddings), ("split", split),
                                                   ("verify", verify)) if wanted]
    arguments += options

    with tempfile.TemporaryFile() as said, _start(arguments, stdin=subprocess.DEVNULL, stdout=said,
                                                  stderr=subprocess.PIPE) as process:
        others = []
        try:
            for line in process.stderr:
                told = json.loads(line) if line.startswith("{") else {}
                if "stage" in told:
                    if progress and told["stage"]:
                        total = told["total"]
                        progress(told["stage"], told["done"] / total if total else None)
                elif "note" not in told:
                    others.append(line)
        except BaseException:
            process.terminate()  # it takes its files with it
            raise
        finally:
            code = process.wait()
        if code:
            _fail(code, others)
    return made


def targets() -> list[dict]:
    """The machines to compile for, as `ingot targets --json` lists them."""
    with _start(["targets", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        out, err = process.communicate()
        if process.returncode:
            _fail(process.returncode, [err])
    return json.loads(out)


def main() -> NoReturn:
    """The command `ingot`."""
    os.execv(PROGRAM, ["ingot", *sys.argv[1:]])
