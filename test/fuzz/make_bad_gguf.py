"""Makes bad GGUF files out of a good one: always the same ones.

    make_bad_gguf.py FOLDER        writes FOLDER/NNNN-what.gguf

Truncations at every boundary, every count, length, type, dimension and offset at its extremes,
flipped bits, deep nesting, duplicates, odd alignments, and hyperparameters that fit nothing. Then
files that are well formed and wrong: fields and tensors that are missing or of another type, vocabularies and
merges that contradict themselves, chat templates that are endless, huge or nonsense.
"""

import copy
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
            inner = self.number(f"{key} element type", "<I")
            count = self.number(f"{key} count", "<Q")
            for i in range(count):
                self.value(key, inner, i == 0)
        else:
            self.at += SIZES[kind]


def string(text):
    return struct.pack("<Q", len(text)) + text


def extremes(form):
    top = 2 ** (8 * struct.calcsize(form)) - 1
    return (0, 1, top, top // 2, top // 2 + 1, top // 8 + 1, 2 ** 31, 2 ** 20 + 1)


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
        flipped = good[at] ^ 1 << choose.randrange(8)
        yield f"bit flip at {at}", good[:at] + bytes([flipped]) + good[at + 1:]
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
        body = struct.pack("<I", ARRAY) + struct.pack("<IQ", ARRAY, 1) * depth
        body += struct.pack("<IQ", 4, 0)
        yield f"arrays {depth} deep", with_field(b"deep", body)
    for value in (0, 1, 3, 12, 2 ** 31, 2 ** 32 - 1):
        yield f"alignment {value}", with_field(b"general.alignment", struct.pack("<II", 4, value))
    yield "a field twice", with_field(b"general.name", struct.pack("<I", STRING) + string(b"again"))
    yield "an empty key", with_field(b"", struct.pack("<II", 4, 0))
    yield "a long key", with_field(b"k" * 70_000, struct.pack("<II", 4, 0))
    yield "rope scaling", with_field(b"llama.rope.scaling.type", text(b"yarn"))
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


class Model:
    """A file in parts, to write again with one of them wrong."""

    def __init__(self, data):
        walk = Walk(data)
        self.fields = {}  # key -> type and value, as stored
        starts = [at for at in walk.boundaries[1:] if at <= walk.header_end]
        for (key, (_, at)), end in zip(walk.values.items(), starts):
            self.fields[key] = data[at - 4:end]
        self.tensors = []  # [name, dimensions, type, bytes]
        at = walk.header_end
        infos = []
        while len(infos) < struct.unpack_from("<Q", data, 8)[0]:
            length, = struct.unpack_from("<Q", data, at)
            name = data[at + 8:at + 8 + length]
            at += 8 + length
            rank, = struct.unpack_from("<I", data, at)
            extents = struct.unpack_from(f"<{rank}Q", data, at + 4)
            kind, offset = struct.unpack_from("<IQ", data, at + 4 + 8 * rank)
            at += 16 + 8 * rank
            infos.append((name, list(extents), kind, offset))
        start = (at + 31) // 32 * 32
        ends = [info[3] for info in infos[1:]] + [len(data) - start]
        for (name, extents, kind, offset), end in zip(infos, ends):
            self.tensors.append([name, extents, kind, data[start + offset:start + end]])

    def write(self):
        head = b"GGUF" + struct.pack("<IQQ", 3, len(self.tensors), len(self.fields))
        for key, value in self.fields.items():
            head += string(key.encode()) + value
        data = b""
        for name, extents, kind, payload in self.tensors:
            head += string(name) + struct.pack(f"<I{len(extents)}Q", len(extents), *extents)
            head += struct.pack("<IQ", kind, len(data))
            data += payload + bytes(-len(payload) % 32)
        return head + bytes(-len(head) % 32) + data

    def tensor(self, name):
        return next(tensor for tensor in self.tensors if tensor[0] == name)


def text(value):
    return struct.pack("<I", STRING) + string(value)


def texts(values):
    return struct.pack("<IIQ", ARRAY, STRING, len(values)) + b"".join(map(string, values))


def integers(values):
    return struct.pack(f"<IIQ{len(values)}i", ARRAY, 5, len(values), *values)


OTHER_TYPES = {
    "a string": text(b"7"), "u64 max": struct.pack("<IQ", 10, 2 ** 64 - 1),
    "i32 -1": struct.pack("<Ii", 5, -1), "i64 2^40": struct.pack("<Iq", 11, 1 << 40),
    "f64": struct.pack("<Id", 12, 7.0), "bool": struct.pack("<IB", 7, 1),
    "bool 255": struct.pack("<IB", 7, 255), "no strings": texts([]), "a number list": integers([2]),
    "no numbers": integers([]), "lists": struct.pack("<IIQIQ", ARRAY, ARRAY, 1, 4, 0),
}

CHATS = {
    "empty": "", "text": "hello", "open tag": "{% for message in messages %}", "open braces": "{{",
    "open string": "{{ 'a", "open comment": "{# x", "end only": "{% endfor %}",
    "else": "{% else %}",
    "unknown tag": "{% jump %}", "unknown filter": "{{ messages|explode }}",
    "unknown test": "{{ 1 is odder }}", "call a number": "{{ 1() }}",
    "divide": "{{ 1 // 0 }}{{ 1 % 0 }}",
    "divide most negative": "{{ (0 - 9223372036854775807 - 1) // -1 }}",
    "remainder": "{{ (0 - 9223372036854775807 - 1) % -1 }}",
    "number overflow": "{{ 9223372036854775807 + 1 }}{{ 9223372036854775807 * 3 }}",
    "negate": "{{ -(0 - 9223372036854775807 - 1) }}", "long number": "{{ " + "9" * 400 + " }}",
    "index": "{{ messages[99999999999] }}{{ messages[-9223372036854775808] }}",
    "slice": "{{ messages[9223372036854775807:-9223372036854775807:0] }}",
    "slice step": "{{ 'abc'[::-9223372036854775807] }}{{ 'abc'[::9223372036854775807] }}",
    "repeat": "{{ 'x' * 4000000000 }}", "repeat negative": "{{ 'x' * -3 }}",
    "double": "{% set ns = namespace(s='x') %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}"
              "{% endfor %}{{ ns.s }}",
    "range": "{% for i in range(4000000000) %}x{% endfor %}",
    "nested ranges": "{% for i in range(100000) %}" * 4 + "x" + "{% endfor %}" * 4,
    "range step 0": "{% for i in range(0, 9, 0) %}x{% endfor %}",
    "deep parentheses": "{{ " + "(" * 50000 + "1" + ")" * 50000 + " }}",
    "deep lists": "{{ " + "[" * 50000 + "]" * 50000 + " }}",
    "deep not": "{{ " + "not " * 50000 + "1 }}", "deep minus": "{{ " + "-" * 50000 + "1 }}",
    "deep sums": "{{ 1" + " + 1" * 50000 + " }}",
    "deep index": "{{ messages" + "[0]" * 50000 + " }}",
    "deep filters": "{{ 'x'" + "|trim" * 50000 + " }}",
    "deep ifs": "{% if true %}" * 20000 + "{% endif %}" * 20000,
    "deep ternaries": "{{ " + "1 if true else " * 50000 + "1 }}",
    "elifs": "{% if false %}" + "{% elif false %}" * 20000 + "{% endif %}",
    "deep concatenation": "{{ 'a'" + " ~ 'a'" * 50000 + " }}",
    "recursive macro": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "raise": "{{ raise_exception('\x1b[31mno') }}", "self set": "{% set x = x %}{{ x.y.z }}",
    "loop outside": "{{ loop.index }}", "odd keys": "{{ {1: 2, 'a': [1, {'b': 3}]}['a'][1].b.c }}",
    "compare kinds": "{{ 'a' < 1 }}{{ [] < {} }}{{ none > 2 }}",
    "add kinds": "{{ 'a' + 1 }}{{ [] + 1 }}",
    "join": "{{ messages|join }}{{ range(9)|join(messages) }}",
    "replace": "{{ 'aaaa' | replace('', 'b') }}{{ 'a'.replace('', 'b') }}",
    "split": "{{ 'a b'.split('') }}{{ 'a'.split('b')[5] }}",
    "strip": "{{ ''.strip('') }}{{ 1.strip() }}",
    "megabyte": "x" * 1_000_000, "megabyte of tags": "{{ 1 }}" * 150_000,
    "zero byte": "a\0b{{ 1 }}",
    "megabyte of braces": "{" * 1_000_000, "line ends": "\r\n\r\n{%- if 1 -%}\r\n{%- endif -%}",
}


def wrong_models(good):
    """Files whose structure is right and whose contents are not."""
    base = Model(good)
    assert base.write() == good

    def with_field(key, value):
        model = copy.copy(base)
        model.fields = {**base.fields, key: value}
        return model.write()

    for key in base.fields:
        model = copy.copy(base)
        model.fields = {k: v for k, v in base.fields.items() if k != key}
        yield f"without {key}", model.write()
        for what, value in OTHER_TYPES.items():
            yield f"{key} as {what}", with_field(key, value)
    for key in ("llama.attention.key_length", "llama.rope.dimension_count", "llama.vocab_size",
                "llama.attention.value_length", "tokenizer.ggml.eot_token_id", "llama.expert_count",
                "tokenizer.ggml.unknown_token_id", "llama.rope.scaling.type",
                "tokenizer.ggml.add_space_prefix"):
        for what, value in OTHER_TYPES.items():
            yield f"{key} as {what}", with_field(key, value)
        for number in (0, 1, 2, 15, 17, 64, 2 ** 31, 2 ** 32 - 1):
            yield f"{key} is {number}", with_field(key, struct.pack("<II", 4, number))

    for at, (name, extents, kind, payload) in enumerate(base.tensors):
        def with_tensor(*tensor):
            model = copy.copy(base)
            model.tensors = base.tensors[:at] + [list(t) for t in tensor] + base.tensors[at + 1:]
            return model.write()

        label = name.decode()
        yield f"without {label}", with_tensor()
        yield f"{label} turned", with_tensor((name, extents[::-1], kind, payload))
        yield f"{label} folded", with_tensor((name, [32, sum(extents)], kind, payload * 8))
        yield f"{label} flat", with_tensor((name, [extents[0] * extents[-1]], kind, payload * 64))
        yield f"{label} one row more", with_tensor(
            (name, [extents[0], (extents + [1])[1] + 1], kind, payload * 2))
        for other in (0, 1, 2, 3, 6, 7, 8, 30):
            yield f"{label} in type {other}", with_tensor((name, extents, other, payload * 8))
        yield f"{label} and a stranger", with_tensor(
            (name, extents, kind, payload), (b"stranger", extents, kind, payload))
        ones = b"\xff" * len(payload)
        yield f"{label} of nothing but ones", with_tensor((name, extents, kind, ones))

    tokens = [t.encode() for t in tiny_models.vocabulary()[0]]
    merges = [m.encode() for m in tiny_models.vocabulary()[2]]
    key = "tokenizer.ggml.tokens"
    yield "a token less", with_field(key, texts(tokens[:-1]))
    yield "a token more", with_field(key, texts(tokens + [b"x"]))
    for what, token in (("empty", b""), ("a copy", tokens[1]), ("not UTF-8", b"\xff\xfe"),
                        ("cut UTF-8", b"\xc4"), ("overlong UTF-8", b"\xc0\x80"),
                        ("a surrogate", b"\xed\xa0\x80"),
                        ("not in the alphabet", "\u4e2d".encode()),
                        ("long", b"x" * 1_000_000), ("a zero byte", b"\0"), ("a space", b" ")):
        for at in (0, 97, 260, len(tokens) - 1):
            changed = tokens[:at] + [token] + tokens[at + 1:]
            yield f"token {at} {what}", with_field(key, texts(changed))
    yield "all tokens empty", with_field(key, texts([b""] * len(tokens)))
    yield "all tokens equal", with_field(key, texts([b"a"] * len(tokens)))
    key = "tokenizer.ggml.token_type"
    for kind in (-2 ** 31, -1, 0, 1, 2, 3, 4, 5, 6, 7, 99, 2 ** 31 - 1):
        yield f"all token types {kind}", with_field(key, integers([kind] * len(tokens)))
        one = [1] * 10 + [kind] + [1] * (len(tokens) - 11)
        yield f"a token type {kind}", with_field(key, integers(one))
    for count in (1, len(tokens) - 1, len(tokens) + 1):
        yield f"{count} token types", with_field(key, integers([1] * count))
    key = "tokenizer.ggml.merges"
    for what, merge in (("empty", b""), ("a space", b" "), ("two spaces", b"  "),
                        ("no space", b"he"),
                        ("no left", b" e"), ("no right", b"h "), ("three", b"t h e"),
                        ("unknown left", b"zzz e"), ("unknown right", b"h zzz"),
                        ("unknown result", b"z q"),
                        ("not UTF-8", b"\xff \xfe"), ("a zero byte", b"\0 \0"),
                        ("a control token", b"<|im_ start|>"), ("long", b"x" * 70_000 + b" y"),
                        ("known", merges[0])):
        yield f"merge {what}", with_field(key, texts([merge] + merges))
        yield f"last merge {what}", with_field(key, texts(merges + [merge]))
    yield "100,000 merges", with_field(key, texts(merges[:1] * 100_000))
    yield "merges backwards", with_field(key, texts(merges[::-1]))
    for what in (b"ungpt2", b"llama", b"", b"x" * 100_000, b"gpt2\0"):
        yield f"tokenizer {what[:9]}", with_field("tokenizer.ggml.model", text(what))
        yield f"splitter {what[:9]}", with_field("tokenizer.ggml.pre", text(what))
        yield f"architecture {what[:9]}", with_field("general.architecture", text(what))
        yield f"name {what[:9]}", with_field("general.name", text(what))
    yield "a name that is not UTF-8", with_field("general.name", text(b"\xff\0\x1b[31m"))
    escape = b"\x1b[31m\n"
    yield "rope scaling of control characters", with_field("llama.rope.scaling.type", text(escape))
    yield "architecture of control characters", with_field("general.architecture", text(escape))
    model = copy.copy(base)
    model.tensors = [*base.tensors, [escape, [1], 0, bytes(4)]]
    yield "a tensor of control characters", model.write()
    for what, chat in CHATS.items():
        yield f"chat {what}", with_field("tokenizer.chat_template", text(chat.encode()))
    yield "chat not UTF-8", with_field("tokenizer.chat_template", text(b"{{ '\xff' }}\xfe"))


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    tiny_models.write_tiny_llama(folder / "good.gguf", quant="q4_1", layers=1)
    good = (folder / "good.gguf").read_bytes()
    for number, (what, data) in enumerate([*variants(good), *wrong_models(good)]):
        safe = "".join(c if c.isalnum() else "-" for c in what.encode("ascii", "replace").decode())
        (folder / f"{number:04d}-{safe[:80]}.gguf").write_bytes(data)


if __name__ == "__main__":
    main()
