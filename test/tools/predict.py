"""What a machine model says of a program: the sums are sums, the work is what the program reports, and
more of it takes longer.

    predict.py INGOT FOLDER
"""

import json
import pathlib
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "oracle"))

import tiny_models  # noqa: E402

ingot, folder = sys.argv[1], pathlib.Path(sys.argv[2])
shutil.rmtree(folder, ignore_errors=True)
folder.mkdir(parents=True)
model = folder / "tiny.gguf"
tiny_models.write_tiny_llama(model, embedding=256, feed_forward=512, context=1024)


def predict(target, *options):
    done = subprocess.run([ingot, "compile", model, "--target", target, "--predict", "--json",
                           "--batch", "1", *options], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


fast, slow = predict("neoverse-v1")[0], predict("cortex-a53")[0]
for one in (fast, slow):
    for step in ("prefill", "decode"):
        for key in ("ms", "launches", "macs", "weight_bytes", "cache_bytes", "activation_bytes"):
            whole, parts = one[step][key], sum(k[key] for k in one[step]["kernels"])
            assert whole > 0 and abs(whole - parts) <= 1e-6 * whole, (step, key, whole, parts)
        assert all(k["ms"] >= 0.99 * k["memory_ms"] for k in one[step]["kernels"])
    assert abs(one["prefill"]["tok_s"] * one["prefill"]["ms"] - 512e3) < 1
assert slow["decode"]["ms"] > fast["decode"]["ms"]
assert slow["prefill"]["ms"] > fast["prefill"]["ms"]
# What is computed does not depend on the machine.
assert {k["name"]: k["macs"] for k in fast["decode"]["kernels"]} == \
    {k["name"]: k["macs"] for k in slow["decode"]["kernels"]}
# More tokens, positions and threads.
assert predict("cortex-a53", "--prompt-tokens", "1024")[0]["prefill"]["ms"] > slow["prefill"]["ms"]
deep = predict("cortex-a53", "--depth", "700")[0]["decode"]
assert deep["ms"] > slow["decode"]["ms"] and deep["cache_bytes"] > slow["decode"]["cache_bytes"]
four = predict("cortex-a53", "--threads", "4")[0]
assert four["prefill"]["ms"] < slow["prefill"]["ms"] and four["decode"]["ms"] <= slow["decode"]["ms"]
assert len(predict("aarch64-linux")) == 3

# A program for any device is predicted for each that the table has.
devices = {one["machine"]: one for one in predict("vulkan", "--threads", "4")}
assert len(devices) > 5 and all(one["threads"] == 0 for one in devices.values())
for one in devices.values():
    for step in ("prefill", "decode"):
        for kernel in one[step]["kernels"]:
            rest = kernel["ms"] - kernel["launch_ms"]
            assert kernel["launch_ms"] > 0 and rest >= 0.99 * kernel["memory_ms"] - 1e-9, kernel
desktop, phone = devices["geforce-rtx-4090"], devices["adreno-740"]
assert phone["decode"]["memory_ms"] > 10 * desktop["decode"]["memory_ms"]
assert phone["decode"]["weight_bytes"] == slow["decode"]["weight_bytes"]
assert predict("vulkan", "--device", "adreno-740") == [phone]
# What multiplies matrices of halves or bytes is faster, where it is there.
by = {form: predict("vulkan", "--activations", form, "--device", "arc-a770")[0]["prefill"]
      for form in ("f32", "f16", "int8")}
layer = {form: sum(k["ms"] - k["launch_ms"] for k in step["kernels"] if k["macs"] and
                   k["name"].startswith("linear")) for form, step in by.items()}
assert layer["f32"] > layer["f16"] >= layer["int8"], layer

# The program says the same of its work and memory.
program = folder / "program"
subprocess.run([ingot, "compile", model, "-o", program, "--batch", "1"], check=True)
here = predict("host", "--prompt-tokens", "192", "--gen-tokens", "2", "--depth", "20")[0]
measured = json.loads(subprocess.check_output(
    [program, "--profile", "--json", "--threads", "1", "--prompt-tokens", "192", "--gen-tokens", "1",
     "--depth", "21", "--reps", "1"]))
for step in ("prefill", "decode"):
    kernels = {k["name"]: k for k in measured[step]["kernels"]}
    for kernel in here[step]["kernels"]:
        other = kernels[kernel["name"]]
        for key, its in (("launches", "calls"), ("macs", "macs"), ("weight_bytes", "weight_bytes"),
                         ("cache_bytes", "cache_bytes")):
            assert kernel[key] == other[its], (kernel, other)
bench = json.loads(subprocess.check_output(
    [program, "--bench", "--json", "--threads", "1", "--prompt-tokens", "192", "--gen-tokens", "2",
     "--depth", "20", "--reps", "1"]))
assert abs(here["weight_bytes"] / 2**20 - bench["weights_mib"]) < 0.01
assert abs(here["session_bytes"] / 2**20 - bench["planned_mib"]) < 1, (here, bench)

text = subprocess.check_output([ingot, "compile", model, "--predict", "--target", "cortex-a76"],
                               text=True)
assert text.startswith("cortex-a76 (dotprod), 1 thread, by its machine model"), text
assert "at most, by its data sheet" in subprocess.check_output(
    [ingot, "compile", model, "--predict", "--target", "vulkan"], text=True)
for words in ("prefill of 512 tokens: ", "decode of 128 tokens after 0: ", "bound by",
              "a decoded token ", " MiB of weights"):
    assert words in text, text
for options, expected in (
        (["--predict", "--prompt-tokens", "5000"], "tokens do not fit a context of 1,024"),
        (["--predict", "--target", "vulkan", "--device", "tpu"], "it has h200, geforce-rtx-4090"),
        (["--device", "h200"], "--device requires --predict"),
        ([], "--output is required")):
    done = subprocess.run([ingot, "compile", model, *options], text=True, capture_output=True)
    assert done.returncode and expected in done.stderr, (options, done)
shutil.rmtree(folder)
