"""The inner loops of linear layers and attention, in the runtime of programs for Hexagon: products
of codes are `vrmpy` and `vdmpy` of whole vectors, and nothing else is computed one by one.

    instructions.py OBJDUMP LIBRARY
"""

import re
import subprocess
import sys

text = subprocess.run([sys.argv[1], "--disassemble", "--no-show-raw-insn", "--mcpu=hexagonv68",
                       "--mattr=+hvxv68,+hvx-length128b", sys.argv[2]],
                      capture_output=True, text=True, check=True).stdout
SCALAR = ("sfmpy", "sfadd", "mpyi", "memub(", "memb(", "memh(")


def functions(name):
    return re.findall(rf"^[0-9a-f]+ <(\S*{name}\S*)>:\n(.*?)(?=\n\n|\Z)", text,
                      re.MULTILINE | re.DOTALL)


def loops_with(instruction, body):
    """Hardware loops that have it."""
    lines = body.splitlines()
    addresses = [int(line.split(":")[0], 16) for line in lines]
    loops = []
    for line in lines:
        for start in re.findall(r"loop0\(0x([0-9a-f]+)", line):
            first = addresses.index(int(start, 16))
            last = next((i for i in range(first, len(lines)) if ":endloop0" in lines[i]), first)
            loops.append("\n".join(lines[first:last + 1]))
    return [loop for loop in loops if instruction in loop]


seen = set()
for name, body in functions("run_tile"):
    # Bits of codes (3: of 4, looked up in a table; 0, 1: unpacked, of at most 4 and of more), steps of
    # 4 codes in a group, tokens of a tile, bytes of an activation's code, whether a group of weights is
    # one of activations: else a round begins with a choice of parts of bytes, and is no hardware loop.
    bits, steps, tile, planes, plain = map(int, re.search(
        r"run_tileILi(\d)ELi(\d)ELi(\d)ELi(\d)ELb(\d)E", name).groups())
    if not plain:
        assert body.count("vrmpy(") >= 2 * steps * tile * planes, name
        continue
    products = loops_with("vrmpy", body)
    assert len(products) == 1, (name, len(products))
    loop = products[0]
    count, size = loop.count("vrmpy("), loop.count("{")
    # Two groups a round, or four. A packet has two of them at most; of a tile of tokens, more
    # than one is had (of groups of 16, whose scales are twice as many, half of that).
    assert count and count % (2 * steps * tile * planes) == 0, (name, count)
    assert re.search(r"vrmpy\(v\d+\.ub, ?r\d+\.b\)", loop), name
    assert tile == 1 or count * 8 > size * steps, (name, count, size)
    # A lookup of a vector of codes, whatever the number of tokens.
    lookups = loop.count("vlut32(")
    assert lookups == (count // (tile * planes) if bits == 3 else 0), (name, lookups)
    for scalar in SCALAR:
        assert scalar not in loop, (name, scalar)
    seen.add((bits, steps, tile, planes))
# One token reads codes as they are stored; a tile of them, what was unpacked.
wanted = {(bits, steps, 1, planes) for bits in (2, 4, 6, 8) for steps in (4, 8) for planes in (1, 2)}
wanted |= {(bits, 8, 1, planes) for bits in (3, 5) for planes in (1, 2)}
wanted |= {(bits, steps, 4, planes) for bits in (0, 1) for steps in (4, 8) for planes in (1, 2)}
assert seen == wanted, seen ^ wanted

# Attention: of 1 to 4 queries, keys and values. A packet has one of them at most. (Heads whose last
# columns fill no vector have a loop for those, which puts each vector together first.)
seen = set()
for name, body in functions("Attention3run"):
    queries = int(re.search(r"runILi(\d)E", name).group(1))
    dense = []
    for loop in loops_with("vdmpy", body):
        for scalar in SCALAR:
            assert scalar not in loop, scalar
        count, size = loop.count("vdmpy("), loop.count("{")
        if size < 1.6 * count and count % queries == 0:
            dense.append(count // queries)
    # Of keys two vectors of 32 positions a round, of values two vectors of columns, or one.
    assert len(dense) >= 5 and max(dense) >= 8, (name, dense)
    seen.add(queries)
assert seen == {1, 2, 3, 4}, seen
