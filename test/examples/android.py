"""Builds examples/android for Android and for this machine's JVM.

    android.py INGOT_BUILD INGOT_SOURCE FOLDER
"""

import json
import pathlib
import re
import shutil
import subprocess
import sys
import zipfile

build, source, folder = map(pathlib.Path, sys.argv[1:])
shutil.rmtree(folder, ignore_errors=True)
folder.mkdir(parents=True)
prefix, model = folder / "prefix", folder / "model.gguf"

# Of Android's C library, all since its API 21 (and so in 24): what a model may ask for.
BIONIC = set("""__errno __stack_chk_fail __stack_chk_guard clock_gettime close fstat getauxval
getpid madvise memchr memcmp memcpy memmem memmove memset mmap mprotect munmap open posix_fadvise
pread pthread_attr_destroy pthread_attr_init pthread_attr_setstack pthread_create pthread_join read
readlink sched_getaffinity sched_yield strchr strcmp strlen strncpy strnlen syscall""".split())


def run(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True,
                          errors="replace")
    if done.returncode:
        sys.exit(f"exit {done.returncode} of {command}\n{done.stdout}{done.stderr}")
    return done.stdout


def project(name, *options):
    out = folder / name
    run("cmake", "-G", "Ninja", "-S", source / "examples/android", "-B", out, f"-DMODEL={model}",
        f"-DCMAKE_PREFIX_PATH={prefix}", "-DCMAKE_C_COMPILER=clang-22", *options)
    run("cmake", "--build", out)
    return out


def elf(path):
    """What a shared library is, needs, asks for and shows."""
    table = run("llvm-readelf", "--file-header", "--program-headers", "--dynamic-table",
                "--dyn-symbols", "--wide", path)
    loads = [int(line.split()[-1], 16) for line in table.splitlines()
             if line.split()[:1] == ["LOAD"]]
    symbols = [row for row in map(str.split, table.splitlines())
               if len(row) >= 8 and row[0].endswith(":") and row[4] in ("GLOBAL", "WEAK")]
    return {
        "machine": re.search(r"Machine: +(.*)", table)[1],
        "type": re.search(r"Type: +(\w+)", table)[1],
        "loads": loads, "needed": set(re.findall(r"\(NEEDED\).*\[(.*)\]", table)),
        "asks": {row[7].split("@")[0] for row in symbols if row[6] == "UND"},
        "shows": {row[7].split("@")[0] for row in symbols if row[6] != "UND"},
        "text": table}


def check(condition, *what):
    if not condition:
        sys.exit(" ".join(map(str, what)))


run("cmake", "--install", build, "--prefix", prefix)
run(sys.executable, source / "test/oracle/tiny_models.py", model, "--context", "512")
functions = {line for line in (source / "runtime/include/ingot.symbols").read_text().splitlines()
             if not line.startswith("#")}
natives = {f"Java_ingot_Chat_{name}" for name in
           ("modelName", "create", "destroy", "interrupt", "answer")}

# Android.
out = project("android", "--toolchain", source / "examples/toolchains/aarch64-android.cmake")
archive = zipfile.ZipFile(out / "model.aar")
check(set(name for name in archive.namelist() if not name.endswith("/")) == {
    "AndroidManifest.xml", "R.txt", "classes.jar", "jni/arm64-v8a/libmodel.so",
    "jni/arm64-v8a/libingot_jni.so", "prefab/prefab.json", "prefab/modules/model/module.json",
    "prefab/modules/model/include/model.h", "prefab/modules/model/include/ingot.h",
    "prefab/modules/model/include/ingot.hpp",
    "prefab/modules/model/libs/android.arm64-v8a/abi.json",
    "prefab/modules/model/libs/android.arm64-v8a/libmodel.so"}, "the AAR has", archive.namelist())
archive.extractall(folder / "aar")
aar = folder / "aar"
check(json.loads((aar / "prefab/prefab.json").read_text())["name"] == "model", "no prefab package")
module = aar / "prefab/modules/model"
check(json.loads((module / "module.json").read_text())["library_name"] == "libmodel", "no module")
abi = json.loads((module / "libs/android.arm64-v8a/abi.json").read_text())
check(abi["abi"] == "arm64-v8a" and abi["api"] >= 21, abi)
with zipfile.ZipFile(aar / "classes.jar") as classes:
    check({"ingot/Chat.class", "ingot/Chat$Listener.class"} <= set(classes.namelist()),
          classes.namelist())
check((module / "libs/android.arm64-v8a/libmodel.so").read_bytes()
      == (aar / "jni/arm64-v8a/libmodel.so").read_bytes(), "two models")

for name, needed, shows, asks in (
        ("libmodel.so", {"libc.so"}, functions | {"model_program"}, BIONIC),
        ("libingot_jni.so", {"libmodel.so"}, natives, functions | {"model_program"})):
    library = elf(aar / "jni/arm64-v8a" / name)
    check(library["machine"] == "AArch64" and library["type"] == "DYN", name, library["text"])
    check(library["loads"] and all(unit % 16384 == 0 for unit in library["loads"]), name,
          "has segments for smaller pages:", library["loads"])
    check(library["needed"] == needed, name, "needs", library["needed"])
    check(library["shows"] == shows, name, "differs in", library["shows"] ^ shows)
    check(library["asks"] <= asks, name, "asks for", library["asks"] - asks)
    check("TEXTREL" not in library["text"] and "GNU_RELRO" in library["text"], library["text"])
    check(f"[{name}]" in library["text"], name, "has another name:", library["text"])

# This machine.
out = project("here")
library_path = f"{out}{':'}{out}/ingot/model"
said = run("java", "-Xcheck:jni", "-cp", out / "classes", f"-Djava.library.path={library_path}",
           "ingot.Ask", "hello", "and then?").splitlines()
run(prefix / "bin/ingot", "compile", model, "-o", folder / "answer")
answer = run(folder / "answer", "-p", "hello", "-n", 24, "--temp", 0).rstrip("\n")


def ascii_of(text):
    """A random model's bytes are no UTF-8: what decoders make of the others differs."""
    return "".join(c for c in text if " " <= c <= "~" and c != "?")


check(len(said) == 4 and said[0] == "tiny", said)
check(ascii_of(said[1]) == ascii_of(answer.replace("\n", "\\n") + " (24 pieces)"), said[1],
      "is not", answer)
check(said[2].endswith(" pieces)"), said)
check(said[3] == "refused: an argument is out of range", said[3])
shutil.rmtree(folder)
