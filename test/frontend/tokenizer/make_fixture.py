"""Writes ids.jsonl: tricky texts, and what llama.cpp makes of them with SmolLM2's vocabulary.

    make_fixture.py MODEL.gguf > ids.jsonl        (needs llama-cpp-python)

Each line is {"text", "special": texts such as <|im_end|> are the tokens that they name, "ids"}.
"""

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "oracle"))

from llama_peer import Peer  # noqa: E402
from tokenizer import made_texts  # noqa: E402

LONGEST = 400  # characters; longer words are compared by test/oracle/tokenizer.py
SPECIAL = ("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n", "<|endoftext|>",
           " <|im_end|> ", "a<|im_start|>b<|im_end|>", "<|im_end", "<|im_end|><|im_end|>",
           "<|<|im_end|>|>", "x<repo_name>y<file_sep>", "<jupyter_code>1 + 1<empty_output>",
           "it's<|im_end|>'s", "12<|im_end|>34", "<|IM_END|>", "<|im_end |>")


def main():
    peer = Peer(sys.argv[1], threads=1, context=0, vocab_only=True)
    made = list(made_texts())
    # All of the hand-made ones, every other one of those that are put together.
    texts = [(text, False) for text in made[:50] + made[50::2] if len(text) <= LONGEST]
    texts += [(text, special) for text in SPECIAL for special in (False, True)]
    for text, special in texts:
        print(json.dumps({"text": text, "special": special, "ids": peer.tokenize(text, special)},
                         ensure_ascii=False, separators=(",", ":")))


if __name__ == "__main__":
    main()
