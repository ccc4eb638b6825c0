"""Builds the wheel by PEP 517 from a copy of what git knows of the sources, installs it, asks it.

    bare.py INGOT_BUILD INGOT_SOURCE FOLDER

Objects of the compiler are those of INGOT_BUILD, where the commands are the same (take_object.py).
"""

import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import venv

build, source, folder = (pathlib.Path(word).resolve() for word in sys.argv[1:])


def run(*command, **options):
    done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, **options)
    if done.returncode:
        sys.exit(f"exit {done.returncode} of {command}\n{done.stdout.decode(errors='replace')}")
    return done.stdout


shutil.rmtree(folder, ignore_errors=True)
copy, out = folder / "sources", folder / "out"
for name in run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard",
                cwd=source).decode().split("\0"):
    if (source / name).is_file():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source / name, copy / name)
launcher = ";".join(map(str, (sys.executable, "-S", source / "test/cmake/take_object.py", build,
                              source, out / "ingot-build", copy)))
run(sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "./python", "--no-deps",
    "--no-build-isolation", "--check-build-dependencies", "-w", folder, "-C", f"build-dir={out}",
    "-C", f"cmake.define.CMAKE_CXX_COMPILER_LAUNCHER={launcher}", cwd=copy)
shutil.rmtree(copy)
shutil.rmtree(out)
environment = folder / "environment"
venv.create(environment, symlinks=True)
wheel, = folder.glob("ingot-*.whl")
run(sys.executable, "-m", "pip", "--disable-pip-version-check", "--python",
    environment / "bin/python", "install", "--no-deps", wheel)
run(sys.executable, source / "test/oracle/tiny_models.py", folder / "tiny.gguf")
asked = """
import ingot
model = ingot.load(ingot.compile("tiny.gguf"))
print(len(list(model.generate("hello", max_tokens=4, temperature=0))), ingot.__file__)
"""
said = run(environment / "bin/python", "-c", asked, cwd=folder, env={
    **os.environ, "PYTHONPATH": sysconfig.get_path("purelib")}).decode()  # numpy
assert str(environment) in said, said
shutil.rmtree(folder)
