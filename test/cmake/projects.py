"""Builds apps with models as users do, from an installed Ingot or one that a project contains.

    projects.py CASE INGOT_BUILD INGOT_SOURCE FOLDER [MODEL]

Cases: ninja, makefiles (prefix, moved prefix; what is built again when), forms (a shared library,
weights in a file, a program, pkg-config), aarch64, contained, packages, chat and chat_aarch64
(examples/chat with a tiny model), and smollm2. With MODEL, which smollm2 needs, apps also get that
one, and must know a capital.
"""

import os
import pathlib
import shutil
import subprocess
import sys

TEXT = "hello"


def run(*command, code=0, **options):
    """What a command that succeeds prints; with `code` one that fails, and also its errors."""
    done = subprocess.run([str(c) for c in command], capture_output=True, **options)
    if (done.returncode != 0) if code else (done.returncode == 0):
        return done.stdout + done.stderr if code else done.stdout
    sys.exit(f"exit {done.returncode} of {command}\n{done.stdout.decode(errors='replace')}"
             f"{done.stderr.decode(errors='replace')}")


class Project:
    """A build folder of Inputs/app or of a folder of examples/."""

    def __init__(self, case, source, *options, name="build"):
        self.folder = case.folder / name
        self.source = source
        self.configure(*options)

    def configure(self, *options):
        run("cmake", "-S", self.source, "-B", self.folder, *options)

    def build(self, *options, code=0):
        return run("cmake", "--build", self.folder, *options, code=code).decode(errors="replace")

    def app(self, *arguments, emulator=()):
        return run(*emulator, self.folder / "app", *arguments)

    def knows_a_capital(self, model, **options):
        self.configure(f"-DMODEL={model}")
        self.build()
        said = self.app("The capital of France is", **options).decode()
        check("Paris" in said, f"in {self.folder}, {model} says", said)

    def times(self):
        """When each object was written."""
        return {path.name: path.stat().st_mtime_ns for path in self.folder.rglob("*.o")}


class Case:
    def __init__(self, build, source, folder):
        self.build, self.source, self.folder = map(pathlib.Path, (build, source, folder))
        self.inputs = self.source / "test" / "cmake" / "Inputs"
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.model = self.folder / "tiny model.gguf"
        run(sys.executable, self.source / "test/oracle/tiny_models.py", self.model)
        self.prefix = self.folder / "prefix"

    def install(self):
        run("cmake", "--install", self.build, "--prefix", self.prefix)

    def options(self, generator="Ninja", *more):
        return ["-G", generator, f"-DCMAKE_PREFIX_PATH={self.prefix}", f"-DMODEL={self.model}",
                "-DCMAKE_C_COMPILER=clang-22", *more]

    def expected(self):
        """What the compiled program completes."""
        program = self.folder / "expected"
        run(self.build / "bin/ingot", "compile", self.model, "-o", program, "--context", 96)
        return run(program, "--raw", "-p", TEXT, "-n", 12, "--temp", 0)

    def app(self, *options, **names):
        return Project(self, self.inputs / "app", *options, **names)


def check(condition, *what):
    if not condition:
        sys.exit(" ".join(map(str, what)))


def rebuilds(case, generator, model):
    """The app answers as the program does, and only what depends on a change is built again."""
    case.install()
    app = case.app(*case.options(generator))
    app.build()
    expected = case.expected()
    check(app.app(TEXT) == expected, "the app says", app.app(TEXT), "not", expected)
    check(app.app(TEXT, "2"), "the second model says nothing")
    said = app.app().decode()
    check(said == "tiny of llama, context 96 and 64, vocabulary 268, end 267\n", said)

    before = app.times()
    check(len(before) == 3, before)
    (case.prefix / "share/doc/ingot/README.md").touch()
    said = app.build()
    check("Compiling" not in said and app.times() == before, "built again:", said)

    app.configure("-DQUANTIZE=int4:g32")
    app.build()
    after = app.times()
    changed = [name for name in before if before[name] != after[name]]
    check(changed == ["tiny-model.o"], "another QUANTIZE built again:", changed)
    before = app.times()
    check("Compiling" not in app.build() and app.times() == before, "the next build builds again")

    # The whole tree may be moved.
    first = case.prefix
    case.prefix = first.rename(case.folder / "elsewhere")
    moved = case.app(*case.options(generator), name="moved")
    moved.build()
    check(moved.app(TEXT) == expected, "from a moved prefix it says", moved.app(TEXT))
    moved.knows_a_capital(model)
    case.prefix.rename(first)

    # A damaged model: one error, as compilers write them, and nothing that looks like a result.
    whole = case.model.read_bytes()
    case.model.write_bytes(whole[:50000])
    said = app.build("--target", "tiny-model", code=1)
    errors = [line for line in said.splitlines() if "error:" in line]
    check(len(errors) == 1 and errors[0].startswith(f"{case.model}: error: tensor "), said)
    left = [*(app.folder / "ingot/tiny-model").glob("*.[oh]")]
    check(not left, "left after the error:", left)
    case.model.write_bytes(whole)
    app.configure("-DQUANTIZE=")
    app.build()
    check(app.app(TEXT) == expected, "after the model is whole again it says", app.app(TEXT))
    app.knows_a_capital(model)


def forms(case):
    case.install()
    expected = case.expected()
    app = case.app(*case.options("Ninja", "-DFORM=SHARED"), name="shared")
    app.build()
    check(app.app(TEXT) == expected, "with a shared library it says", app.app(TEXT))
    library = app.folder / "ingot/tiny-model/libtiny-model.so"
    shown = {line.split()[-1] for line in
             run("nm", "-D", "--defined-only", library).decode().splitlines()}
    listed = {line for line in (case.source / "runtime/include/ingot.symbols").read_text()
              .splitlines() if not line.startswith("#")}
    check(shown == listed | {"tiny_model_program"}, "symbols that differ:",
          shown ^ (listed | {"tiny_model_program"}))

    split = case.app(*case.options("Ninja", "-DFORM=SPLIT"), name="split")
    split.build()
    said = run(split.folder / "app", TEXT, code=1)
    check(said == b"error: no tiny-model.weights beside the app\n", said)
    shutil.copy(split.folder / "ingot/tiny-model/tiny-model.weights", split.folder)
    check(split.app(TEXT) == expected, "with its weights in a file it says", split.app(TEXT))

    program = case.app(*case.options("Ninja", "-DFORM=EXECUTABLE"), name="program")
    program.build()
    said = run(program.folder / "ingot/tiny-model/tiny-model", "--raw", "-p", TEXT, "-n", 12,
               "--temp", 0)
    check(said == expected, "the program says", said)

    flags = run("pkg-config", "--cflags", "--libs", "ingot", env={
        **os.environ, "PKG_CONFIG_PATH": str(case.prefix / "lib/pkgconfig")}).decode().split()
    static = case.app(*case.options("Ninja"), name="static")
    static.build("--target", "tiny-model", "other")
    objects = [static.folder / f"ingot/{name}/{name}.o" for name in ("tiny-model", "other")]
    run("clang-22", case.inputs / "app/main.c", *(f"-I{o.parent}" for o in objects), *objects,
        *flags, "-o", case.folder / "by-hand")
    check(run(case.folder / "by-hand", TEXT) == expected, "by pkg-config: another answer")
    linked = run("ldd", case.folder / "by-hand").decode()
    check("libc.so.6" in linked, "another C library was linked in:", linked)
    check(b"__libc_start_main" not in run("nm", "--defined-only", case.folder / "by-hand"),
          "the C library of compiled programs was linked in")


def aarch64(case, model):
    """The same project, by a toolchain file."""
    case.install()
    expected = case.expected()
    toolchain = case.source / "examples/toolchains/aarch64-linux.cmake"
    app = case.app(*case.options("Ninja", "--toolchain", toolchain))
    app.build()
    said = app.app(TEXT, emulator=["qemu-aarch64"])
    check(said == expected, "on AArch64 it says", said, "not", expected)
    app.knows_a_capital(model, emulator=["qemu-aarch64"])


def contained(case, model):
    """add_subdirectory with an installed compiler, FetchContent with one that it builds itself."""
    case.install()
    options = ["-G", "Unix Makefiles", f"-DMODEL={case.model}", f"-DINGOT_SOURCE={case.source}",
               "-DCMAKE_C_COMPILER=clang-22"]
    app = case.app(*options, f"-DINGOT_NATIVE_PREFIX={case.prefix}")
    app.build()
    check(app.app(TEXT) == case.expected(), "it says", app.app(TEXT))
    app.knows_a_capital(model)
    cache = (case.build / "CMakeCache.txt").read_text()
    halide = [f"-D{line}" for line in cache.splitlines() if line.startswith("Halide")
              and "_DIR:" in line]
    options[1] = "Ninja"
    # The commands are those of the build that is there, whose objects are taken.
    own = case.folder / "own"
    launcher = [sys.executable, "-S", case.source / "test/cmake/take_object.py", case.build,
                case.source, own / "_deps/ingot-build", case.source]
    own = case.app(*options, "-DFETCH=ON", "-DCMAKE_BUILD_TYPE=Release", "-DCMAKE_LINKER_TYPE=LLD",
                   "-DCMAKE_CXX_COMPILER=clang++-22", *halide,
                   f"-DCMAKE_CXX_COMPILER_LAUNCHER={';'.join(map(str, launcher))}", name="own")
    own.build()
    check(own.app(TEXT) == case.expected(), "with a compiler of its own it says", own.app(TEXT))
    compiler = own.folder / "_deps/ingot-build/bin/ingot"
    check(str(compiler) in run("ninja", "-C", own.folder, "-t", "commands", "app").decode(),
          "the model is not compiled by", compiler)
    own.knows_a_capital(model)


def packages(case):
    """What is in a package works where it is unpacked."""
    run("cpack", "--config", case.build / "CPackConfig.cmake", "-B", case.folder, "-D",
        "CPACK_DEBIAN_COMPRESSION_TYPE=gzip")
    deb, = case.folder.glob("*.deb")
    archive, = case.folder.glob("*.tar.gz")
    needed = run("dpkg-deb", "--field", deb, "Depends").decode()
    check("libc6" in needed, "the package depends on", needed)
    run("dpkg-deb", "--extract", deb, case.folder / "deb")
    run("tar", "-xf", archive, "-C", case.folder)
    expected = case.expected()
    for prefix in (case.folder / "deb/usr", *case.folder.glob("ingot-*/")):
        case.prefix = prefix
        app = case.app(*case.options(), name="app" + prefix.name)
        app.build()
        check(app.app(TEXT) == expected, "from", prefix, "it says", app.app(TEXT))


def chat(case, *options, emulator=()):
    """examples/chat answers as the compiled program does, and goes on."""
    case.install()
    run(sys.executable, case.source / "test/oracle/tiny_models.py", case.model, "--context", 2048)
    built = Project(case, case.source / "examples/chat", *case.options("Ninja", *options),
                    name="chat")
    built.build()
    said = run(*emulator, built.folder / "chat", input=b"hello\nand then?\n").split(b"> ")
    check(len(said) == 4 and said[0] == said[3] == b"", "it says", said)
    program = case.folder / "expected"
    run(case.build / "bin/ingot", "compile", case.model, "-o", program)
    expected = run(program, "-p", "hello", "-n", 512, "--temp", 0)
    check(said[1].rstrip(b"\n") == expected.rstrip(b"\n"), "it says", said[1], "not", expected)
    check(said[2].strip(), "no second answer")


def chat_aarch64(case):
    chat(case, "--toolchain", case.source / "examples/toolchains/aarch64-linux.cmake",
         emulator=["qemu-aarch64"])


def smollm2(case, model):
    case.install()
    built = Project(case, case.source / "examples/chat", *case.options(), f"-DMODEL={model}",
                    name="chat")
    built.build()
    said = run(built.folder / "chat", "You answer in one sentence.",
               input=b"What is the capital of France?\nAnd of Italy?\n").decode().split("> ")
    check("Paris" in said[1] and "Rome" in said[2], "the chat with SmolLM2:", said)
    app = Project(case, case.source / "examples/cmake", *case.options(), f"-DMODEL={model}",
                  name="smollm2")
    app.build()
    said = run(app.folder / "complete", "The capital of France is").decode()
    check("Paris" in said, "SmolLM2 says", said)


def main():
    name, *where = sys.argv[1:5]
    case = Case(*where)
    if name in ("ninja", "makefiles"):
        rebuilds(case, {"ninja": "Ninja", "makefiles": "Unix Makefiles"}[name], *sys.argv[5:])
    else:
        globals()[name](case, *sys.argv[5:])
    shutil.rmtree(case.folder)


main()
