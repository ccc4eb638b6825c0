"""Compiles a tiny model to a shared library and to a program, for one machine, and compares them.

    shared.py INGOT SOURCE FOLDER TARGET

The library shows the model and the functions of ingot.h, takes of its system what every C library
has, and says in a C program that is linked with it what the program says. With weights in a file, too.
"""

import ctypes
import pathlib
import re
import shutil
import subprocess
import sys

ingot, source, folder, target = sys.argv[1:]
source, folder = pathlib.Path(source), pathlib.Path(folder)
architecture = target.split("-")[0]
emulator, compiler = [], ["clang-22"]
if architecture != "x86":
    root = f"/usr/{architecture}-linux-gnu"
    emulator = [f"qemu-{architecture}", "-L", root]
    compiler += [f"--target={architecture}-linux-gnu", "-fuse-ld=lld"]
# POSIX, something of Linux, and what compilers call.
SYSTEM = set("""
    bcmp clock_gettime close fstat getauxval madvise memchr memcmp memcpy memmem memmove memset mmap
    mprotect munmap open posix_fadvise pread pthread_attr_destroy pthread_attr_init
    pthread_attr_setstack pthread_create pthread_join read readlink sched_getaffinity sched_yield
    strchr strcmp strlen strnlen syscall write __errno_location
    __stack_chk_fail __stack_chk_guard""".split())
ARITHMETIC = {"pow", "sin", "cos"}
TEXT = "hello"


def run(*command, code=0):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True,
                          errors="replace")  # tiny models say bytes that are no text
    assert done.returncode == code, (command, done)
    return done.stdout + (done.stderr if code else "")


def symbols(library, *options):
    return {line.split()[-1] for line in
            run("llvm-nm", "--dynamic", *options, library).splitlines()}


shutil.rmtree(folder, ignore_errors=True)
folder.mkdir(parents=True)
model, program, library = folder / "tiny.gguf", folder / "tiny", folder / "libtiny.so"
run(sys.executable, source / "test/oracle/tiny_models.py", model)
options = [ingot, "compile", model, "--target", target, "--context", 96]
run(*options, "-o", program)
expected = run(*emulator, program, "--raw", "-p", TEXT, "-n", 16, "--temp", 0)

run(*options, "-o", library, "--emit", "shared", "--symbol", "model_program", "--header",
    folder / "model.h")
listed = {line for line in (source / "runtime/include/ingot.symbols").read_text().splitlines()
          if not line.startswith("#")}
shown = symbols(library, "--defined-only")
assert shown == listed | {"model_program"}, shown ^ (listed | {"model_program"})
wanted = symbols(library, "--undefined-only")
if architecture == "riscv64":  # the system's
    assert wanted & ARITHMETIC == ARITHMETIC, wanted
    wanted -= ARITHMETIC
assert wanted <= SYSTEM, wanted - SYSTEM
dynamic = run("llvm-readelf", "--dynamic", library)
needed = re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic)
assert set(needed) - {"libm.so.6"} == {"libc.so.6"}, needed
assert "[libtiny.so]" in dynamic and "TEXTREL" not in dynamic, dynamic
segments = run("llvm-readelf", "--program-headers", library)
assert re.search(r"GNU_STACK .* RW ", segments), segments
assert int(re.search(r"LOAD .* (0x\w+)$", segments, re.M)[1], 16) >= 0x1000, segments


def complete(code=0):
    run(*compiler, "-I", source / "runtime/include", "-I", folder,
        source / "examples/cmake/complete.c", library, "-Wl,-rpath,$ORIGIN", "-o",
        folder / "complete")
    return run(*emulator, folder / "complete", TEXT, code=code)


assert complete() == expected, (complete(), expected)

if not emulator:
    # The same again in a process that has loaded another one: each has a runtime of its own.
    other = folder / "other.so"
    run(*options, "-o", other, "--emit", "shared", "--quantize", "int8")
    loaded = [ctypes.CDLL(str(path)) for path in (other, library)]
    assert [library.ingot_api_version() for library in loaded] == [1, 1]
    addresses = [ctypes.cast(library.ingot_session_create, ctypes.c_void_p).value
                 for library in loaded]
    assert addresses[0] != addresses[1]

# Weights in a file: the library is small, and refuses to run without.
run(*options, "-o", library, "--emit", "shared", "--symbol", "model_program", "--header",
    folder / "model.h", "--split")
assert (folder / "libtiny.weights").exists()
assert "weights" in complete(code=1)

said = run(ingot, "compile", model, "-o", folder / "no.so", "--emit", "shared", "--target",
           "hexagon-v68", code=1)
assert "no shared libraries" in said and "--emit object" in said, said
assert not (folder / "no.so").exists()
shutil.rmtree(folder)
