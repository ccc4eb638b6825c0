"""Compares a compiled program's token ids with llama.cpp's, text by text, and turns them back.

    tokenizer.py PROGRAM --model MODEL.gguf --text FILE [--lines N]

The texts are the first N lines of FILE (default 2,500) and made ones: Unicode, emoji, code, spaces,
line ends, long words, the empty text. Exits 1 when any differs or does not come back byte for byte,
after printing the first few.
"""

import argparse
import random
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from llama_peer import Peer

SHOWN = 10
# What splitters tell apart, to be put together in every order.
PIECES = (" ", "  ", "\n", "\r\n", "\t", "'", "'s", "'S", "'LL", "'re", "a", "the", "Z", "0", "12",
          "!", "...", "\u00a0", "\u3000", "\u0301", "é", "中", "👍", "\u200d", "\ufe0f", "٣", "½",
          "\x85", "\u2028", "\x1c", "\x0b", "\u180e", "\u200b")


def made_texts():
    """Texts that byte-level BPE splitters are known to trip over; always the same ones."""
    yield from ("", " ", "  ", "\n", "\r\n", "\r\n\r\n \r\n", "\t\tx", " leading", "trailing  ",
                "a\n\n\nb", "line\r\nline\r\n", "it's I'm we've they'll he'd CAN'T 'tis o'clock",
                "1234567890", "3.14159e-10", "0x7fFF 1,000,000", "½ ¾ ² ³ Ⅷ ٣٤٥ 一二三",
                "naïve café Ångström", "e\u0301 vs é", "Straße ŒUVRE ŉ ǆ", "Привет, мир!",
                "Γειά σου Κόσμε", "שלום עולם", "مرحبا بالعالم", "नमस्ते दुनिया", "สวัสดีชาวโลก",
                "こんにちは世界", "你好,世界。", "안녕하세요 세계", "👍🏽 👨‍👩‍👧‍👦 🇫🇷 🏴\U000e0067\U000e0062",
                "\u200b\u200d\ufeff\u00a0\u3000\u2028\u2029", "\x01\x02\x7f", "\ufffd\U0010ffff",
                "…—–“”‘’", "!!!???...;;;", "$%^&*()_+-=[]{}|\\:\"<>,./?`~")
    yield "int main(int argc, char **argv) {\n\tfor (int i = 0; i < 10; ++i)\n\t\treturn i;\n}\n"
    yield "def f(x):\n    return {k: v for k, v in x.items() if v}  # ok\n\n\n\nclass A:\n    pass"
    yield "<div class=\"a\">&nbsp;</div>\n<!-- x -->   \n"
    yield "a" * 10_000
    yield "é" * 5_000
    yield "ab1 " * 2_500
    yield " " * 1_000 + "x"
    yield "\n" * 300
    choose = random.Random(7)
    ranges = ((0x20, 0x7f), (0x20, 0x7f), (0xa0, 0x250), (0x370, 0x600), (0x900, 0x980),
              (0x2000, 0x2100), (0x3040, 0x30ff), (0x4e00, 0x4f00), (0x1f300, 0x1f650))
    for _ in range(300):
        yield "".join(chr(choose.randrange(*choose.choice(ranges))) if choose.random() > 0.2
                      else choose.choice(" \n\t'0") for _ in range(choose.randrange(1, 60)))
    for _ in range(300):
        yield "".join(choose.choice(PIECES) for _ in range(choose.randrange(1, 25)))


def run(program, mode, data):
    return subprocess.run([program, mode, "-"], input=data, check=True, capture_output=True).stdout


def through_program(program, text):
    """(ids, the bytes that the ids turn back into)."""
    ids = [int(number) for number in re.findall(rb"\d+", run(program, "--tokenize", text.encode()))]
    back = run(program, "--detokenize", ",".join(map(str, ids)).encode()) if ids else b""
    return ids, back


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program")
    parser.add_argument("--model", required=True)
    parser.add_argument("--text", required=True)
    parser.add_argument("--lines", type=int, default=2500)
    options = parser.parse_args()
    with open(options.text, encoding="utf-8", newline="") as source:
        texts = [line for _, line in zip(range(options.lines), source)] + list(made_texts())
    peer = Peer(options.model, threads=1, context=0, vocab_only=True)
    differ = lossy = 0
    with ThreadPoolExecutor(2) as pool:
        found = pool.map(lambda text: through_program(options.program, text), texts)
        for text, (ids, back) in zip(texts, found):
            expected = peer.tokenize(text)
            if ids != expected:
                differ += 1
                if differ <= SHOWN:
                    print(f"{text[:60]!r}\n  program   {ids[:20]}\n  llama.cpp {expected[:20]}")
            if back != text.encode():
                lossy += 1
                if lossy <= SHOWN:
                    print(f"{text[:60]!r}\n  comes back as {back[:60]!r}")
    print(f"{len(texts)} texts, {differ} differ from llama.cpp, {lossy} do not come back")
    return 1 if differ or lossy else 0


if __name__ == "__main__":
    sys.exit(main())
