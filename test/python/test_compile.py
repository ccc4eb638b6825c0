"""ingot.compile: what it makes, what it reports, what it says of mistakes."""

import json
import pathlib
import re
import sys

import pytest
from conftest import run

import ingot
from ingot import _compile


def test_makes_a_library_beside_the_model(gguf, library):
    assert library == gguf.with_suffix(".so") and library.is_file()


def test_tells_its_progress(gguf, tmp_path):
    told = []
    ingot.compile(gguf, tmp_path / "a.so", progress=lambda *now: told.append(now))
    stages = list(dict.fromkeys(stage for stage, _ in told))
    for stage in ("optimizing", "compiling kernels", "packing weights", "linking"):
        assert stage in stages, stages
    assert stages.index("compiling kernels") < stages.index("linking")
    done = [part for stage, part in told if stage == "compiling kernels"]
    assert done == sorted(done) and done[0] == 0 and done[-1] == 1, done
    assert [part for stage, part in told if stage == "linking"] == [None]


def test_progress_that_raises_ends_it(gguf, tmp_path):
    class Enough(Exception):
        pass

    def progress(stage, done):
        if stage == "compiling kernels":
            raise Enough

    with pytest.raises(Enough):
        ingot.compile(gguf, tmp_path / "a.so", cache=False, progress=progress)
    assert not list(tmp_path.iterdir())


def test_makes_programs(program):
    assert "--raw" in run(program, "--help")


def test_options_reach_the_compiler(gguf, tmp_path):
    made = ingot.compile(str(gguf), str(tmp_path / "a.so"), context=64, quantize="int8",
                         batch=(1,), activations="f32", kv_cache="f16", symbol="mine",
                         header=tmp_path / "a.h", verify=False,
                         cache=tmp_path / "kernels", options=["--selftest-tokens", "0"])
    assert made == tmp_path / "a.so"
    assert "MINE_CONTEXT_LENGTH 64" in (tmp_path / "a.h").read_text()
    assert list((tmp_path / "kernels").iterdir())
    assert ingot.load(made, symbol="mine").info.context_length == 64
    with pytest.raises(ingot.LoadError, match="has no model 'ingot_main_program'"):
        ingot.load(made)


@pytest.mark.parametrize("wrong, message", [
    ({"model": "missing.gguf"}, r"missing\.gguf: cannot open: No such file"),
    ({"target": "pdp11"}, r"--target: unknown target 'pdp11'\nhelp: .*x86-64-v3"),
    ({"quantize": "int3:g7"}, r"format 'int3:g7': is not one that weights can be rounded to"),
    ({"context": -3}, r"--context"),
    ({"emit": "dll"}, r"--emit"),
    ({"symbol": "3x"}, r"--symbol.*is not a name in C"),
    ({"batch": [65]}, r"--batch"),
    ({"kv_cache": "f8"}, r"--kv-cache"),
    ({"options": ["--nonsense"]}, r"--nonsense"),
    ({"output": "nowhere/a.so"}, r"nowhere.*does not exist"),
    ({"target": "hexagon-v68"}, r"no shared libraries\nhelp: .*--emit object"),
])
def test_mistakes(gguf, tmp_path, monkeypatch, wrong, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.so").write_text("what was there")
    with pytest.raises(ingot.CompileError) as caught:
        ingot.compile(**{"model": gguf, "output": "a.so", **wrong})
    assert re.search(message, str(caught.value), re.S), str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["a.so"]
    assert (tmp_path / "a.so").read_text() == "what was there"


def test_an_error_says_where(gguf, tmp_path):
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(gguf.read_bytes()[:50000])
    with pytest.raises(ingot.CompileError) as caught:
        ingot.compile(damaged)
    error = caught.value
    assert error.file == str(damaged) and error.where.startswith("tensor '")
    assert "bytes" in error.message and "truncated" in error.help
    assert str(error).startswith(f"{error.file}: {error.where}: {error.message}\nhelp: ")
    damaged.write_text("not a model")
    with pytest.raises(ingot.CompileError, match="is not a GGUF file"):
        ingot.compile(damaged)


def test_targets(compiler):
    names = {target["name"] for target in ingot.targets()}
    assert {"x86-64-v3", "aarch64-linux"} <= names


def test_command(compiler):
    version = run(compiler, "--version")
    folder = pathlib.Path(sys.executable).parent
    assert run(folder / "ingot", "--version") == version == f"ingot {ingot.__version__}\n"
    assert run(sys.executable, "-m", "ingot", "--version") == version


def test_says_which_package_is_missing(gguf, compiler, tmp_path, monkeypatch):
    # The compiler, looking for a library of another name.
    broken = tmp_path / "ingot"
    name = b"libutf8proc.so.2"
    code = compiler.read_bytes()
    assert code.count(name) == 1
    broken.write_bytes(code.replace(name, b"libutf8proX.so.2"))
    broken.chmod(0o755)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(compiler.parents[1] / "lib/ingot/compiler"))
    monkeypatch.setattr(_compile, "PROGRAM", broken)
    with pytest.raises(OSError, match=r"the compiler needs libutf8proX\.so\.2, .*install the pack"):
        ingot.compile(gguf)
    with pytest.raises(OSError, match=r"the compiler needs libutf8proX\.so\.2"):
        ingot.targets()
    listed = tmp_path / "system_libraries.json"
    listed.write_text((_compile.FOLDER / listed.name).read_text().replace("proc.so", "proX.so"))
    monkeypatch.setattr(_compile, "FOLDER", tmp_path)
    with pytest.raises(OSError, match=r"install it \(Debian: apt-get install libutf8proc2\)"):
        ingot.compile(gguf)
    monkeypatch.setattr(_compile, "PROGRAM", tmp_path / "gone")
    with pytest.raises(OSError, match="cannot start the compiler: No such file"):
        ingot.compile(gguf)


def test_the_wheel_has_what_it_needs(compiler):
    """Libraries are the wheel's, or the system's by packages whose names it knows."""
    owners = json.loads((_compile.FOLDER / "system_libraries.json").read_text())
    for line in run("ldd", compiler).splitlines():
        name, arrow, path = line.partition("=>")
        if not arrow:
            continue
        assert name.strip() in owners or "/site-packages/ingot/" in path, line
        if name.strip().startswith(("libLLVM", "libHalide")):
            assert "/site-packages/ingot/" in path, line
