"""Builds the wheel from an Ingot that is built, installs it in a new environment, tests it there.

    wheel.py INGOT_BUILD INGOT_SOURCE FOLDER MODEL

What tests need besides (pytest, nbclient, gguf ...) is this Python's; numpy, which the wheel asks
for, comes from where pip gets it. The commands are those of docs/python.md.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig
import venv

build, source, folder, model = (pathlib.Path(word).resolve() for word in sys.argv[1:])


def run(*command, cwd=folder, **variables):
    done = subprocess.run([str(c) for c in command], cwd=cwd, env={**os.environ, **variables},
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        sys.exit(f"exit {done.returncode} of {command}\n{done.stdout}")
    return done.stdout


shutil.rmtree(folder, ignore_errors=True)
folder.mkdir(parents=True)
environment = folder / "environment"
venv.create(environment, symlinks=True)
python = environment / "bin/python"
pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
guide = (source / "docs/python.md").read_text()
commands = re.search(r"^```sh\n(.*?)^```$", guide, re.MULTILINE | re.DOTALL)[1]
commands = re.sub(r"\b(PREFIX|WHEELS)\b", lambda place: str(folder / place[1]), commands)
for line in commands.splitlines():
    words = [str(build) if word == "build" else word for word in line.split()]
    if words[:2] == ["pip", "wheel"]:  # with the backend of this Python, and no file in the sources
        cached = {"CMAKE_CXX_COMPILER_LAUNCHER": "ccache"} if shutil.which("ccache") else {}
        run(*pip, *words[1:], "--no-build-isolation", "--check-build-dependencies",
            "-C", f"build-dir={folder / 'build'}", cwd=source, **cached)
    elif words[:2] == ["pip", "install"]:
        wheel, = (folder / "WHEELS").glob(pathlib.Path(words[2]).name)
        run(*pip, "--python", python, "install", wheel)
    else:
        run(*words, cwd=source)
for place in ("PREFIX", "WHEELS", "build"):
    shutil.rmtree(folder / place)
here = pathlib.Path(__file__).parent
print(run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", here, PYTHONDONTWRITEBYTECODE="1",
          PYTHONPATH=os.pathsep.join([str(source / "test/oracle"), sysconfig.get_path("purelib")]),
          INGOT_TEST_MODEL=str(model), INGOT_SOURCE=str(source)))
shutil.rmtree(folder)
