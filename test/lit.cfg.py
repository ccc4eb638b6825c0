# How lit runs the tests of this folder: files that end in .mlir or .test and have RUN lines.
#
# Substitutions: %ingot, %ingot-opt, %FileCheck, %not, %python (the one of .venv), %runtime (what
# programs are linked with; %NAME-runtime for those of targets/NAME), %source (the repository's root), %build and, for tests that REQUIRE them:
#   newer-debian %newer: packages of Debian testing, unpacked; %newer/run PROGRAM runs one with its libraries
#                and its Vulkan device (tools/dev/newer_debian.sh; ./dev test gets them)
#   smollm2      %model: SmolLM2-135M-Instruct, Q4_1 (./dev test gets it; INGOT_MODEL)
#   wikitext     %wikitext: the validation text (INGOT_WIKITEXT)
#   browser      %browser: a Chromium without a window
#   swiftshader  %swiftshader: the description of Chromium's Vulkan driver (VK_DRIVER_FILES)
#   avx2, avx512vnni    the processor has them
#   gcc          there is one, with g++
#   zsh, fish    the shells
#   help2man     the build makes manual pages with it
#   jdk          javac and java
#   qemu         qemu-x86_64 pretends to be another one
#   qemu-aarch64 there is one: programs of targets/aarch64 run, and so for other families
#   vulkan       there is a device; vulkan-validation: and the layers that judge programs
import os
import pathlib
import shutil
import subprocess
import sys

import lit.formats

if not hasattr(config, "source_root"):  # `lit test/passes`, without a build's site config
    config.source_root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    config.build_root = os.path.join(config.source_root, "build")
    config.llvm_tools = "/usr/lib/llvm-22/bin"

config.name = "ingot"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test"]
config.excludes = ["Inputs"]
config.test_source_root = os.path.join(config.source_root, "test")
config.test_exec_root = os.path.join(config.build_root, "test", "lit")

config.environment["PATH"] = os.pathsep.join(
    [os.path.join(config.build_root, "bin"), config.llvm_tools, os.environ["PATH"]])
for name in ("HOME", "XDG_CACHE_HOME", "ASAN_OPTIONS", "UBSAN_OPTIONS"):
    if name in os.environ:
        config.environment[name] = os.environ[name]


def substitute(name, value):
    # Not followed by a letter or '-': %ingot is not the start of %ingot-opt.
    config.substitutions.append((f"%{name}(?![-\\w])", str(value)))


def substitute_file(name, feature, path):
    """Substitutes `path` and declares `feature` when it exists; says so when it does not."""
    if path.is_file():
        config.available_features.add(feature)
        substitute(name, path)
    else:
        lit_config.note(f"{path} is missing: tests that need '{feature}' are unsupported")


substitute("ingot", os.path.join(config.build_root, "bin", "ingot"))
substitute("ingot-opt", os.path.join(config.build_root, "bin", "ingot-opt"))
substitute("FileCheck", os.path.join(config.llvm_tools, "FileCheck"))
substitute("not", os.path.join(config.llvm_tools, "not"))
substitute("python", sys.executable)
substitute("runtime", os.path.join(config.build_root, "lib", "ingot", "libingot_runtime.a"))
for folder in pathlib.Path(config.build_root, "lib", "ingot").glob("*-linux"):
    substitute(f"{folder.name.removesuffix('-linux')}-runtime", folder / "libingot_runtime.a")
substitute("source", config.source_root)
substitute("build", config.build_root)

cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
substitute_file("model", "smollm2", pathlib.Path(
    os.environ.get("INGOT_MODEL")
    or cache / "ingot" / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"))
substitute_file("wikitext", "wikitext", pathlib.Path(
    os.environ.get("INGOT_WIKITEXT")
    or os.path.join(config.source_root, "..", "shared", "data", "wikitext2.valid.txt")).resolve())

newer = cache / "ingot" / "debian-testing"
substitute("newer", newer)
if (newer / "packages.txt").is_file():
    config.available_features.add("newer-debian")
else:
    lit_config.note(f"{newer} is missing: tests that need 'newer-debian' are unsupported")

substitute_file("browser", "browser",
                pathlib.Path(shutil.which("chromium-headless-shell") or "chromium-headless-shell"))

substitute_file("swiftshader", "swiftshader", pathlib.Path("/usr/lib/chromium/vk_swiftshader_icd.json"))

flags = set()
cpuinfo = pathlib.Path("/proc/cpuinfo")
if cpuinfo.exists():
    flags = set(next((line.split(":")[1] for line in cpuinfo.read_text().splitlines()
                      if line.startswith("flags")), "").split())
if {"avx2", "fma", "f16c"} <= flags:
    config.available_features.add("avx2")
if {"avx512f", "avx512bw", "avx512vl", "avx512_vnni"} <= flags:
    config.available_features.add("avx512vnni")
if shutil.which("gcc") and shutil.which("g++"):
    config.available_features.add("gcc")
for name in ("zsh", "fish", "help2man"):
    if shutil.which(name):
        config.available_features.add(name)
    else:
        lit_config.note(f"{name} is missing: tests that need it are unsupported")
if shutil.which("javac") and shutil.which("java"):
    config.available_features.add("jdk")
else:
    lit_config.note("javac is missing (Debian: openjdk-17-jdk-headless): tests of Java are unsupported")
if shutil.which("qemu-x86_64"):
    config.available_features.add("qemu")
for name in sorted(path.parent.name for path in
                   pathlib.Path(config.source_root, "targets").glob("*/Machines.cpp")):
    if name == "x86":
        continue
    if shutil.which(f"qemu-{name}"):
        config.available_features.add(f"qemu-{name}")
    else:
        lit_config.note(f"qemu-{name} is missing: tests that run its programs are unsupported")

listed = subprocess.run([os.path.join(config.build_root, "bin", "ingot"), "targets"],
                        capture_output=True, text=True).stdout
if any(line.split()[:2] == ["vulkan", "*"] for line in listed.splitlines()):
    config.available_features.add("vulkan")
else:
    lit_config.note("there is no Vulkan device: tests that run programs for it are unsupported")
if any(pathlib.Path(folder, "vulkan/explicit_layer.d/VkLayer_khronos_validation.json").exists()
       for folder in ("/usr/share", "/etc", "/usr/local/share")):
    config.available_features.add("vulkan-validation")
else:
    lit_config.note("Vulkan's validation layers are missing: their test is unsupported")
