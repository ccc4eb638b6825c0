"""Writes ids.jsonl: texts and what llama.cpp makes of them with SmolLM2's vocabulary.

    make_fixture.py MODEL.gguf > ids.jsonl        (needs llama-cpp-python)
"""

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "oracle"))

from llama_peer import Peer  # noqa: E402
from tokenizer import made_texts  # noqa: E402

SPECIAL = ["<|im_start|>user\nHi<|im_end|>\n", "a<|endoftext|>b", "<|im_end|><|im_end|>", "<|im_sta"]

peer = Peer(sys.argv[1], threads=1, context=0, vocab_only=True)
for special, texts in ((False, made_texts()), (True, SPECIAL)):
    for text in texts:
        if len(text) < 400:
            print(json.dumps({"text": text, "special": special, "ids": peer.tokenize(text, special)}))
