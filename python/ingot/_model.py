"""Models and sessions: what of them is more convenient in Python than in ingot.h."""

import codecs
import os
import pathlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from . import _runtime

PathLike = str | os.PathLike[str]
TokensOrText = str | Iterable[int]
Message = Mapping[str, str] | tuple[str, str]

ROLES = ("system", "user", "assistant")  # as ingot.h numbers them


@dataclass(frozen=True)
class ModelInfo:
    """What a model is."""

    name: str
    architecture: str
    source_hash: str  #: of the model file, 32 hex digits
    parameters: int
    weights_bytes: int  #: packed
    layers: int
    embedding_length: int
    context_length: int  #: tokens, as compiled
    vocab_size: int  #: token ids are below it
    bos_token: int  #: -1: none
    add_bos: bool  #: the model wants bos_token before a text that begins a sequence
    eos_token: int
    prefill_tokens: int  #: most that one step evaluates
    has_chat_template: bool  #: it answers messages; else it only continues texts
    has_embeddings: bool


class Session(_runtime.Session):
    """One conversation with a model (or several: `sequences`), by one thread at a time.

    Made by Model.session().
    """

    #: Why the last answer ended: "stop" (a token or text that ends it), "length" (max_tokens), or
    #: "context" (it is full); None before the end.
    finish_reason: str | None = None

    def prefill(self, prompt: TokensOrText, *, special: bool = False) -> int:
        """Evaluates a text or tokens; returns how many tokens that were.

        As everywhere here, a text at position 0 begins with bos_token where the model wants that.
        """
        tokens = self._tokens(prompt, special)
        self.eval(tokens)
        return len(tokens)

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of tokens; bytes that are no UTF-8 become U+FFFD."""
        return self.decode_bytes(list(tokens)).decode("utf-8", "replace")

    def generate(self, prompt: TokensOrText | None = None, *, max_tokens: int | None = None,
                 stop: str | Sequence[str] = (), special: bool = False,
                 **sampling: Any) -> Iterator[str]:
        """Streams what the model says behind `prompt` and what is evaluated, piece by piece.

        max_tokens: None: until the model ends the answer, or the context is full.
        stop: texts that end the answer; they are not part of it.
        sampling: temperature, top_k, top_p, min_p, repeat_penalty, repeat_window, seed, with the
            defaults of sampling(); temperature 0 takes the most likely token.

        Tokens that were passed on are evaluated, so that a next call goes on behind them.
        """
        tokens = [] if prompt is None else self._tokens(prompt, special)
        return self._answer(lambda: self.eval(tokens), max_tokens, stop, sampling)

    def chat(self, messages: Iterable[Message], *, max_tokens: int | None = None,
             stop: str | Sequence[str] = (), **sampling: Any) -> Iterator[str]:
        """Streams the answer to messages: {"role": "user", "content": TEXT}, or ("user", TEXT).

        Roles: "system" (at most one, first), then "user" and "assistant" by turns. The session
        becomes that conversation: what of it is evaluated stays, so a call costs what is new. The
        other arguments are those of generate().
        """
        given = [_message(message) for message in messages]
        return self._answer(lambda: self.chat_eval(given), max_tokens, stop, sampling)

    def embed(self, text: TokensOrText, *, pooling: str = "last",
              special: bool = False) -> np.ndarray:
        """Hidden states of a text or tokens, of a model compiled with --embeddings: float32.

        pooling: "last" token's or the "mean", [embedding_length]; "none": each token's,
            [tokens, embedding_length].
        Evaluates as eval() does, and leaves no logits.
        """
        if pooling not in ("last", "mean", "none"):
            raise ValueError(f"pooling: {pooling!r} is none of 'last', 'mean', 'none'")
        rows = self.embed_rows(self._tokens(text, special), pooling == "mean", pooling == "none")
        return rows if pooling == "none" else rows[0]

    def _answer(self, begin: Callable[[], None], max_tokens: int | None,
                stop: str | Sequence[str], sampling: dict[str, Any]) -> Iterator[str]:
        """Mistakes are found now, the work is done when the answer is asked for."""
        stops = [stop] if isinstance(stop, str) else list(stop)
        if not all(isinstance(text, str) and text for text in stops):
            raise ValueError("stop: texts that are not empty are wanted")
        if max_tokens is not None and max_tokens < 0:
            raise ValueError(f"max_tokens: {max_tokens} is below 0")
        self.sampling(**sampling)
        return self._stream(begin, max_tokens, stops)

    def _stream(self, begin: Callable[[], None], max_tokens: int | None,
                stops: list[str]) -> Iterator[str]:
        self.finish_reason = None
        begin()
        text, held = codecs.getincrementaldecoder("utf-8")("replace"), ""
        reason, count = "length", 0
        while max_tokens is None or count < max_tokens:
            token = self.sample()
            if self.is_stop_token(token):
                reason = "stop"
                break
            try:
                self.eval([token])
            except _runtime.ContextFull:
                reason = "context"
                break
            count += 1
            held += text.decode(self.decode_bytes([token]))
            ready, held, ended = _before_stop(held, stops)
            if ready:
                yield ready
            if ended:
                self.finish_reason = "stop"
                return
        held += text.decode(b"", final=True)
        self.finish_reason = reason
        if held:
            yield held

    def _tokens(self, prompt: TokensOrText, special: bool) -> list[int]:
        if isinstance(prompt, str):
            return self.encode(prompt, special, bos=self.position == 0)
        return list(prompt)


def _message(message: Message) -> tuple[int, str]:
    role, text = ((message["role"], message["content"]) if isinstance(message, Mapping)
                  else message)
    if role not in ROLES:
        raise ValueError(f"chat: {role!r} is no role: {', '.join(ROLES)}")
    return ROLES.index(role), text


def _before_stop(text: str, stops: list[str]) -> tuple[str, str, bool]:
    """What of `text` may be passed on, what a stop may begin with, and whether one is in it."""
    found = [at for at in (text.find(stop) for stop in stops) if at >= 0]
    if found:
        return text[:min(found)], "", True
    kept = max((length for stop in stops for length in range(1, len(stop))
                if text.endswith(stop[:length])), default=0)
    return text[:len(text) - kept], text[len(text) - kept:], False


class Model:
    """A loaded model. From any thread; its sessions evaluate independently of each other."""

    def __init__(self, library: _runtime.Library):
        self._library = library
        self.info = ModelInfo(**{field.name: getattr(library, field.name)
                                 for field in fields(ModelInfo)})
        self._text: Session | None = None
        self._text_bytes = 0
        self._lock = threading.Lock()

    @property
    def path(self) -> str:
        return self._library.path

    def session(self, *, threads: int = 0, sequences: int = 1, isa: str | None = None,
                max_text_bytes: int = 1 << 20) -> Session:
        """A new session. threads: 0 is as many as there are cores. isa: of a model for several
        machines, whose kernels run."""
        return Session(self._library, threads, sequences, isa, max_text_bytes)

    def generate(self, prompt: TokensOrText, *, threads: int = 0, **options: Any) -> Iterator[str]:
        """Session.generate in a session of its own."""
        return self.session(threads=threads).generate(prompt, **options)

    def chat(self, messages: Iterable[Message], *, threads: int = 0,
             **options: Any) -> Iterator[str]:
        """Session.chat in a session of its own."""
        return self.session(threads=threads).chat(messages, **options)

    def encode(self, text: str, *, special: bool = False, bos: bool = False) -> list[int]:
        """Token ids of a text; with special, texts like <|im_end|> are the tokens they name.

        bos: the text begins a sequence: bos_token comes first where the model wants it.
        """
        size = len(text.encode("utf-8", "surrogateescape"))
        with self._lock:
            return self._for_text(size).encode(text, special, bos)

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of tokens; bytes that are no UTF-8 become U+FFFD."""
        with self._lock:
            return self._for_text(0).decode(tokens)

    def _for_text(self, size: int) -> Session:
        """A session that evaluates nothing."""
        if self._text is None or size > self._text_bytes:
            self._text_bytes = max(size, 1 << 20)
            self._text = self.session(threads=1, max_text_bytes=self._text_bytes)
        return self._text

    def __repr__(self) -> str:
        return (f"<ingot.Model {self.info.name!r}, {self.info.architecture}, context "
                f"{self.info.context_length}, {self.path}>")


def load(path: PathLike, *, weights: PathLike | None = None, symbol: str = "ingot_main_program",
         verify: bool = True) -> Model:
    """Loads a model that was compiled to a shared library.

    weights: of a model compiled with split, its file of weights (default: the one beside `path`).
    symbol: what the model is called in the library, where it was compiled with one.
    verify: whether all of that file is read and compared with its hash.
    """
    found = pathlib.Path(path)
    if not found.is_file():
        raise FileNotFoundError(2, "there is no compiled model", str(found))
    # With a folder in its name, or the loader looks elsewhere.
    library = _runtime.Library(str(found.absolute()), symbol,
                               "" if weights is None else os.fspath(weights), verify)
    return Model(library)
