"""Makes bad GGUF files out of a good one: always the same ones.

    make_bad_gguf.py FOLDER        writes FOLDER/NNNN-what.gguf

Truncations at every boundary, every count, length, type, dimension and offset at its extremes, flipped
bits, deep nesting, duplicates, odd alignments, and hyperparameters that fit nothing.
"""

import pathlib
import random
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "oracle"))

import tiny_models  # noqa: E402

SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
STRING, ARRAY = 8, 9


class Walk:
    """Finds every number that a reader must not believe: (label, offset, struct format)."""

    def __init__(self, data):
        self.data, self.at, self.numbers, self.boundaries = data, 0, [], [0]
        self.values = {}  # key -> (type, offset of the value)
        self.number("magic", "<I")
        self.number("version", "<I")
        tensors = self.number("tensor count", "<Q")
        for _ in range(self.number("field count", "<Q")):
            self.field()
        self.header_end = self.at
        for _ in range(tensors):
            name = self.string("tensor name")
            for d in range(self.number(f"{name} dimensions", "<I")):
                self.number(f"{name} dimension {d}", "<Q")
            self.number(f"{name} type", "<I")
            self.number(f"{name} offset", "<Q")
            self.boundaries.append(self.at)

    def number(self, label, form):
        self.numbers.append((label, self.at, form))
        value, = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return value

    def string(self, label):
        length = self.number(label + " length", "<Q")
        self.at += length
        return self.data[self.at - length:self.at].decode("utf-8", "replace")

    def field(self):
        key = self.string("key")
        kind = self.number(f"{key} type", "<I")
        self.values[key] = (kind, self.at)
        self.value(key, kind, True)
        self.boundaries.append(self.at)

    def value(self, key, kind, note):
        if kind == STRING:
            numbers = len(self.numbers)
            self.string(key)
            if not note:
                del self.numbers[numbers:]
        elif kind == ARRAY:
            inner, count = self.number(f"{key} element type", "<I"), self.number(f"{key} count", "<Q")
            for i in range(count):
                self.value(key, inner, i == 0)
        else:
            self.at += SIZES[kind]


def string(text):
    return struct.pack("<Q", len(text)) + text


def extremes(form):
    top = 2 ** (8 * struct.calcsize(form)) - 1
    return (0, 1, 2, 7, top, top // 2, top // 2 + 1, top // 8 + 1, 2 ** 31, 2 ** 20 + 1)


def variants(good):
    walk = Walk(good)
    for at in walk.boundaries:
        for cut in (at, at + 1, at + 9):
            yield f"cut at {cut}", good[:cut]
    for at in range(len(good) - 1, walk.at, -len(good) // 25):
        yield f"cut at {at}", good[:at]
    for label, at, form in walk.numbers:
        size = struct.calcsize(form)
        old, = struct.unpack_from(form, good, at)
        for value in {*extremes(form), old + 1, max(old - 1, 0)} - {old}:
            if value < 2 ** (8 * size):
                yield f"{label} is {value}", good[:at] + struct.pack(form, value) + good[at + size:]
    choose = random.Random(11)
    for _ in range(200):
        at = choose.randrange(walk.at)
        yield f"bit flip at {at}", good[:at] + bytes([good[at] ^ 1 << choose.randrange(8)]) + good[at + 1:]
    for key, (kind, at) in walk.values.items():
        if kind in (4, 5):
            for value in (0, 1, 3, 2 ** 31 - 1, 2 ** 32 - 1, 1 << 24):
                yield f"{key} is {value}", good[:at] + struct.pack("<I", value) + good[at + 4:]
        if kind == 6:
            for value in (0.0, -1.0, float("nan"), float("inf"), 1e38):
                yield f"{key} is {value}", good[:at] + struct.pack("<f", value) + good[at + 4:]
    count = struct.unpack_from("<Q", good, 16)[0]

    def with_field(key, body):
        return good[:16] + struct.pack("<Q", count + 1) + string(key) + body + good[24:]

    for depth in (2, 5, 50, 100_000):
        body = struct.pack("<I", ARRAY) + struct.pack("<IQ", ARRAY, 1) * depth + struct.pack("<IQ", 4, 0)
        yield f"arrays {depth} deep", with_field(b"deep", body)
    for value in (0, 1, 3, 12, 2 ** 31, 2 ** 32 - 1):
        yield f"alignment {value}", with_field(b"general.alignment", struct.pack("<II", 4, value))
    yield "a field twice", with_field(b"general.name", struct.pack("<I", STRING) + string(b"again"))
    yield "an empty key", with_field(b"", struct.pack("<II", 4, 0))
    yield "a long key", with_field(b"k" * 70_000, struct.pack("<II", 4, 0))
    yield "rope scaling", with_field(b"llama.rope.scaling.type", struct.pack("<I", STRING) + string(b"yarn"))
    yield "experts", with_field(b"llama.expert_count", struct.pack("<II", 4, 8))
    yield "a key of control characters", with_field(b"\x1b[31m\n", struct.pack("<II", 99, 0))
    yield "nothing", b""
    yield "four letters", b"GGUF"
    yield "a pointer", b"version https://git-lfs.example/spec/v1\noid sha256:0\nsize 1\n"
    yield "big-endian", b"GGUF\0\0\0\3" + good[8:]
    name = good.index(b"blk.0.attn_q.weight")
    yield "a tensor by another name", good[:name] + b"blk.0.attn_x.weight" + good[name + 19:]
    yield "a tensor twice", good[:name] + b"blk.0.attn_k.weight" + good[name + 19:]
    model = good.index(b"gpt2")
    yield "another tokenizer", good[:model] + b"bert" + good[model + 4:]


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    tiny_models.write_tiny_llama(folder / "good.gguf", quant="q4_1", layers=1)
    good = (folder / "good.gguf").read_bytes()
    for number, (what, data) in enumerate(variants(good)):
        safe = "".join(c if c.isalnum() else "-" for c in what.encode("ascii", "replace").decode())
        (folder / f"{number:04d}-{safe[:80]}.gguf").write_bytes(data)


if __name__ == "__main__":
    main()
