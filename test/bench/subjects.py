"""What ./dev bench times: the compiled program, and peers that take the same options.

Each is a command that takes --threads, --prompt-tokens, --depth, --gen-tokens, --reps and --batch
and prints JSON. A new peer is a script here with those options and a row in `make_peer`.
"""

import json
import pathlib
import subprocess

from record import PROGRAM

HERE = pathlib.Path(__file__).resolve().parent
PEERS = ("llama.cpp", "llama.cpp-q4_0", "openvino")
TIME_LIMIT = 600 # seconds a run may take
F16 = 2          # bytes of an element of llama.cpp's cache


class Failure(Exception):
    """A command failed; its text says how, in one line."""


def run(*command):
    """The command's output."""
    try:
        done = subprocess.run([str(part) for part in command], check=False, text=True,
                              capture_output=True, timeout=TIME_LIMIT)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failure(str(error)) from error
    if done.returncode == 0:
        return done.stdout
    said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    # A traceback ends with the error; ./PROGRAM begins with it and may go on with a hint.
    last = next((line for line in said if line.startswith("error:")), said[-1] if said else "")
    raise Failure(f"exit status {done.returncode}" + (f": {last[:200]}" if last else ""))


class Subject:
    def __init__(self, name, command, read_bytes=None):
        self.name, self.command, self.bytes = name, command, read_bytes

    def time(self, threads, prompt, depth, batch, gen_tokens):
        """What one run in a process of its own measured."""
        command = [*self.command, "--threads", threads, "--prompt-tokens", prompt, "--depth",
                   depth, "--gen-tokens", gen_tokens, "--reps", 1]
        try:
            return json.loads(run(*command, *(["--batch", batch] if batch else [])))
        except json.JSONDecodeError as error:
            raise Failure(f"does not print JSON: {error}") from error


class Program(Subject):
    """The compiled program."""

    def __init__(self, path):
        self.path = path
        info = json.loads(run(path, "--info", "--json"))
        super().__init__(PROGRAM, [path, "--bench", "--json"], program_bytes(info))

    def time(self, threads, prompt, depth, batch, gen_tokens):
        # It times prefill and decode in each run; what was not asked for is left out.
        result = super().time(threads, prompt or 1, depth, batch, gen_tokens)
        if batch or not prompt:
            result.pop("prefill_tok_s")
        if batch:
            result.pop("decode_tok_s")
        return result

    def profile(self, threads, prompt, depth, batch, gen_tokens):
        command = [self.path, "--profile", "--json", "--threads", threads, "--prompt-tokens",
                   prompt, "--depth", depth, "--gen-tokens", gen_tokens, "--reps", 2]
        return {**json.loads(run(*command, *(["--batch", batch] if batch else []))),
                "workload": {"prompt": prompt, "depth": depth, "batch": batch}}


def program_bytes(info):
    """Bytes that decoding a token reads, of the packed weights and of a position's cache."""
    weights = info["weights"]
    # An embedding that is not also the output matrix is a table: one row is read.
    tied = not any(w["name"] in ("output", "output.weight") for w in weights)
    read = sum(w["bytes"] for w in weights if tied or not w["name"].startswith("token_embd"))
    # Whatever a cache holds (values, and scales where they are quantized), by position.
    cache = sum(cache["bytes"] for cache in info["caches"])
    return {"weights": read, "position": cache / info["model"]["context_length"]}


def gguf_bytes(path):
    """The same for llama.cpp, which reads tensors as they are in the file; its cache is f16."""
    import gguf

    reader = gguf.GGUFReader(path)
    sizes = {tensor.name: int(tensor.n_bytes) for tensor in reader.tensors}
    if "output.weight" in sizes:
        sizes.pop("token_embd.weight", None)

    def field(name, default=None):
        found = reader.fields.get(name)
        return int(found.contents()) if found else default

    architecture = reader.fields["general.architecture"].contents()
    heads = field(f"{architecture}.attention.head_count")
    head_dim = field(f"{architecture}.attention.key_length",
                     field(f"{architecture}.embedding_length") // heads)
    row = field(f"{architecture}.attention.head_count_kv", heads) * head_dim * F16
    return {"weights": sum(sizes.values()),
            "position": 2 * field(f"{architecture}.block_count") * row}


def make_peer(name, python, model):
    """The peer `name`, ready to be timed."""
    if name == "openvino":
        # How it packs weights and its cache is its own affair: no bytes.
        return Subject(name, [python, HERE / "openvino_bench.py", model])
    if name == "llama.cpp-q4_0":
        source, model = pathlib.Path(model), pathlib.Path(model).with_suffix(".Q4_0.gguf")
        if source.stem.endswith(".Q4_1"):
            model = source.with_name(source.name.replace(".Q4_1.", ".Q4_0."))
        run(python, HERE / "llama_quantize.py", source, model)
    return Subject(name, [python, HERE / "llama_cpp_bench.py", model], gguf_bytes(model))
