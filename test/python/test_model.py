"""Models and sessions, compared with programs of the same model and the reference interpreter."""

import ast
import pathlib
import threading
from itertools import islice

import numpy as np
import pytest
import tiny_models
from conftest import CONTEXT, run

import ingot

TEXT = "the hand in the other, and then"


def test_info(model, gguf):
    info = model.info
    assert (info.name, info.architecture) == ("tiny", "llama")
    assert (info.layers, info.embedding_length) == (2, 64)
    assert (info.context_length, info.vocab_size) == (CONTEXT, 268)
    assert (info.bos_token, info.eos_token, info.has_chat_template) == (265, 267, True)
    assert info.parameters > 0 and info.weights_bytes > 0 and len(info.source_hash) == 32
    assert "tiny" in repr(model)


def test_text(model, program):
    tokens = model.encode(TEXT)
    assert tokens == [int(t) for t in run(program, "--tokenize", TEXT).split(",")]
    assert model.decode(tokens) == TEXT
    assert model.encode("<|im_end|>", special=True) == [267] != model.encode("<|im_end|>")
    assert model.encode("") == []
    text = "ä€😀\0 " * 400_000  # longer than a session's default
    assert model.decode(model.encode(text)) == text
    assert model.decode(model.encode("€")[:1]) == "\N{REPLACEMENT CHARACTER}"
    with pytest.raises(ValueError, match="decode"):
        model.decode([268])


def test_a_text_begins_as_the_model_wants(model, tmp_path):
    tiny_models.write_tiny_llama(tmp_path / "bos.gguf", add_bos=True)
    wants = ingot.load(ingot.compile(tmp_path / "bos.gguf"))
    assert wants.info.add_bos and not model.info.add_bos
    tokens = wants.encode(TEXT)
    assert wants.encode(TEXT, bos=True) == [265, *tokens] and model.encode(TEXT, bos=True) == tokens
    session = wants.session()
    session.prefill(TEXT)
    assert session.history == [265, *tokens]
    session.prefill(TEXT)  # goes on
    assert session.history == [265, *tokens, *tokens]
    session.truncate(0)
    list(session.generate(TEXT, max_tokens=1))
    assert session.history[:-1] == [265, *tokens]


def test_logits_are_those_of_the_program(model, program, tmp_path):
    tokens = model.encode(TEXT)
    run(program, "--tokens", ",".join(map(str, tokens)), "--logits", tmp_path / "logits.npy")
    expected = np.load(tmp_path / "logits.npy")
    one, two = model.session(threads=1), model.session(threads=2)
    rows = one.score(tokens)
    assert rows.dtype == np.float32 and np.array_equal(rows, expected)
    assert np.array_equal(one.logits, expected[-1])
    two.eval(tokens[:5])
    two.eval(tokens[5:-1])
    two.eval(tokens[-1:])
    assert np.array_equal(two.logits, expected[-1])
    assert one.history == two.history == tokens and one.position == len(tokens)


def test_logits_are_near_the_reference(gguf, compiler, tmp_path):
    exact = ingot.load(ingot.compile(gguf, tmp_path / "exact.so", activations="f32"))
    tokens = exact.encode(TEXT)
    run(compiler, "reference", gguf, "--tokens", ",".join(map(str, tokens)), "--logits",
        tmp_path / "logits.npy")
    expected = np.load(tmp_path / "logits.npy")
    # What `ingot compile --verify` asks for.
    assert abs(exact.session().score(tokens) - expected).max() <= 1e-3 * abs(expected).max()


def test_logits_are_no_copy(session):
    assert session.logits is None
    session.prefill(TEXT)
    before = session.logits
    kept = before.copy()
    assert np.shares_memory(before, session.logits) and not before.flags.writeable
    session.prefill(" and more")
    assert not np.array_equal(session.logits, kept)
    now = session.logits
    kept = now.copy()
    del session, before
    assert np.array_equal(now, kept)  # the memory is as long there as something looks at it


def test_generates_what_the_program_says(session, program):
    expected = run(program, "--raw", "-p", TEXT, "-n", 20, "--temp", 0)
    pieces = list(session.generate(TEXT, max_tokens=20, temperature=0))
    assert len(pieces) > 3 and "".join(pieces) + "\n" == expected
    assert session.finish_reason == "length"
    # A next call goes on.
    assert session.position == len(session.encode(TEXT)) + 20
    again = run(program, "--raw", "-p", TEXT, "-n", 30, "--temp", 0)
    more = "".join(session.generate(max_tokens=10, temperature=0))
    assert "".join(pieces) + more + "\n" == again


def test_chat(smollm2, tmp_path):
    library = ingot.compile(smollm2, tmp_path / "chat.so", context=256)
    program = ingot.compile(smollm2, tmp_path / "chat", emit="exe", context=256)
    session = ingot.load(library).session()
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    said = "".join(session.chat(messages, max_tokens=24, temperature=0))
    assert "Paris" in said and session.finish_reason == "stop"
    assert said.strip() == run(program, "-p", messages[0]["content"], "-n", 24, "--temp",
                               0).strip()
    before = session.position
    messages += [("assistant", said), ("user", "And of Italy?")]
    more = "".join(session.chat(messages, max_tokens=24, temperature=0))
    assert "Rome" in more and session.position > before
    # The same as in a new session, and as the same tokens by hand.
    again = ingot.load(library)
    assert "".join(again.chat(messages, max_tokens=24, temperature=0)) == more
    by_hand = again.session()
    pairs = [(1, messages[0]["content"]), (2, said), (1, "And of Italy?")]
    tokens = by_hand.chat_tokens(pairs)
    assert "".join(by_hand.generate(tokens, max_tokens=24, temperature=0)) == more
    assert session.history[:len(tokens)] == tokens


@pytest.mark.parametrize("messages", [
    [("assistant", "hi")], [("user", "a"), ("user", "b")], [], [("user", "a"), ("system", "b")],
    [("narrator", "once")],
])
def test_conversations_that_cannot_be(session, messages):
    with pytest.raises((ValueError, ingot.Error), match="chat: "):
        list(session.chat(messages, max_tokens=2))


def test_embeddings(gguf, model, tmp_path):
    embedding = ingot.load(ingot.compile(gguf, tmp_path / "e.so", embeddings=True))
    assert embedding.info.has_embeddings and not model.info.has_embeddings
    tokens = embedding.encode(TEXT)
    rows = embedding.session().embed(tokens, pooling="none")
    assert rows.shape == (len(tokens), 64) and rows.dtype == np.float32
    assert np.array_equal(embedding.session().embed(TEXT), rows[-1])
    mean = embedding.session().embed(TEXT, pooling="mean")
    assert np.allclose(mean, rows.mean(axis=0), atol=1e-5)
    with pytest.raises(ValueError, match="pooling: 'max' is none of"):
        embedding.session().embed(TEXT, pooling="max")
    with pytest.raises(ingot.Error, match="embed: .*--embeddings"):
        model.session().embed(TEXT)


def test_sampling_depends_on_the_seed(model):
    def said(seed, **options):
        return "".join(model.generate(TEXT, max_tokens=30, temperature=2.0, seed=seed, **options))

    assert said(1) == said(1) != said(2)
    assert said(1, top_k=1) == said(2, top_k=1)


def test_a_stop_text_ends_the_answer(model):
    options = {"max_tokens": 40, "temperature": 2.0, "seed": 5}
    whole = "".join(model.generate(TEXT, **options))
    stop = whole[10:13]
    at = whole.index(stop)
    assert at > 0
    session = model.session()
    pieces = list(session.generate(TEXT, stop=[stop, "never said"], **options))
    assert "".join(pieces) == whole[:at] and session.finish_reason == "stop"


def test_stop_texts_are_found_across_pieces():
    from ingot._model import _before_stop
    assert _before_stop("one <st", ["<stop>"]) == ("one ", "<st", False)
    assert _before_stop("<stop> two", ["<stop>"]) == ("", "", True)
    assert _before_stop("one <stx", ["<stop>"]) == ("one <stx", "", False)
    assert _before_stop("aab", ["abc", "bx"]) == ("a", "ab", False)


def test_the_context_ends(session):
    list(session.generate(TEXT, temperature=0))
    assert session.finish_reason in ("context", "stop")
    room = CONTEXT - session.position
    with pytest.raises(ingot.ContextFull, match=f"{room + 1} tokens do not fit, {room} of"):
        session.eval([1] * (room + 1))
    session.eval([1] * room)
    assert session.position == CONTEXT
    session.truncate(4)
    assert session.position == 4 and session.logits is None
    with pytest.raises(ingot.Error, match="sample: "):
        session.sample()


def test_save_and_restore(model, gguf, tmp_path):
    session, other = model.session(), model.session()
    session.prefill(TEXT)
    saved = session.save()
    expected = list(session.generate(max_tokens=12, temperature=1.5, seed=3))
    other.restore(saved)
    assert other.history == session.history[:other.position]
    assert list(other.generate(max_tokens=12, temperature=1.5, seed=3)) == expected
    before = other.history
    stranger = ingot.load(ingot.compile(gguf, tmp_path / "b.so", context=64)).session()
    stranger.prefill("hi")
    flipped = bytearray(saved)
    flipped[len(saved) // 2] ^= 1
    for wrong in (saved[:-1], bytes(flipped), b"", b"something else" * 100, stranger.save()):
        with pytest.raises(ValueError, match="restore: "):
            other.restore(wrong)
    assert other.history == before


def test_cancel_from_another_thread(model):
    session = model.session(threads=1)
    caught = []

    def work():
        try:
            while True:
                session.truncate(0)
                session.eval([1] * (CONTEXT - 1))
        except ingot.Cancelled as error:
            caught.append(error)

    worker = threading.Thread(target=work)
    worker.start()
    # While the session evaluates, this thread runs, and cannot use it: who waits for the GIL would
    # never be told.
    told = None
    while not told:
        try:
            session.encode("x")
        except ingot.Error as error:
            told = str(error)
    assert "in use by another thread" in told
    session.cancel()
    worker.join()
    assert len(caught) == 1
    session.truncate(0)
    session.prefill("hi")  # works again
    assert session.logits is not None


def test_cancel_ends_an_answer(session):
    session.prefill(TEXT)
    stream = session.generate(temperature=0, max_tokens=50)
    assert len(list(islice(stream, 3))) == 3
    position = session.position
    session.cancel()
    with pytest.raises(ingot.Cancelled):
        next(stream)
    assert session.position == position


def test_several_sequences(model):
    tokens = model.encode(TEXT)
    alone = model.session()
    alone.eval(tokens)
    session = model.session(sequences=3)
    assert session.sequences == 3
    session.eval(tokens[:-1])
    session.fork(0, 2)
    session.select(1)
    session.eval(tokens[:4])
    session.eval_batch([2, 1], [tokens[-1], tokens[4]])
    assert np.array_equal(session.batch_logits(0), alone.logits)
    session.select(2)
    assert session.selected == 2 and session.history == tokens
    assert session.batch_logits(2) is None
    with pytest.raises(ValueError, match="a token for each sequence"):
        session.eval_batch([0, 1], [1])
    for wrong in ([0, 0], [0, 3]):
        with pytest.raises(ValueError, match="eval_batch: "):
            session.eval_batch(wrong, [1, 1])
    with pytest.raises(ValueError, match="select: "):
        session.select(3)
    with pytest.raises(ValueError, match="fork: "):
        session.fork(0, -1)


def test_weights_in_a_file(gguf, model, tmp_path):
    split = ingot.compile(gguf, tmp_path / "a.so", split=True, context=CONTEXT)
    weights = tmp_path / "a.weights"
    tokens = model.encode(TEXT)
    assert np.array_equal(ingot.load(split).session().score(tokens), model.session().score(tokens))
    moved = weights.rename(tmp_path / "elsewhere")
    with pytest.raises(ingot.LoadError, match=r"a\.weights: "):
        ingot.load(split)
    ingot.load(split, weights=moved, verify=False)
    damaged = bytearray(moved.read_bytes())
    damaged[-1] ^= 1
    moved.write_bytes(damaged)
    with pytest.raises(ingot.LoadError, match="elsewhere: "):
        ingot.load(split, weights=moved)
    with pytest.raises(ingot.LoadError, match="tiny.gguf: "):
        ingot.load(split, weights=gguf)
    with pytest.raises(ValueError, match="has its weights itself"):
        ingot.load(model.path, weights=moved)


def test_files_that_are_no_models(gguf, program, tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no compiled model"):
        ingot.load(tmp_path / "missing.so")
    for wrong in (gguf, program):
        with pytest.raises(ingot.LoadError, match="cannot load .*ingot.compile"):
            ingot.load(wrong)
    numpy_core, = pathlib.Path(np.__file__).parent.glob("_core/_multiarray_umath*.so")
    with pytest.raises(ingot.LoadError, match="is no model of this version .*ingot_api_version"):
        ingot.load(numpy_core)
    assert issubclass(ingot.LoadError, OSError)


@pytest.mark.parametrize("call, error, message", [
    (lambda s: s.eval([268]), ValueError, "eval: 268 is no token, those are 0 to 267"),
    (lambda s: s.eval([-1]), ValueError, "eval: -1 is no token"),
    (lambda s: s.eval(["a"]), TypeError, "incompatible"),
    (lambda s: s.score([1 << 40]), TypeError, "incompatible"),
    (lambda s: s.truncate(1), ValueError, "truncate: "),
    (lambda s: s.sampling(temperature=-1), ValueError, "sampling: "),
    (lambda s: s.sampling(top_p=float("nan")), ValueError, "sampling: "),
    (lambda s: s.generate("x", max_tokens=-1), ValueError, "max_tokens: -1 is below 0"),
    (lambda s: s.generate("x", stop=""), ValueError, "stop: "),
    (lambda s: s.generate("x", warmth=3), TypeError, "incompatible"),
    (lambda s: list(s.generate("")), ingot.Error, "sample: "),
    (lambda s: s.encode("x" * ((1 << 20) + 1)), ValueError, "encode: "),
    (lambda s: s.decode([300]), ValueError, "decode: "),
])
def test_mistakes(session, call, error, message):
    with pytest.raises(error, match=message):
        call(session)
    assert session.position == 0


@pytest.mark.parametrize("options", [{"threads": -1}, {"threads": 257}, {"sequences": 0},
                                     {"isa": "6502"}])
def test_sessions_that_cannot_be(model, options):
    with pytest.raises(ValueError, match="a session: |no kernels for 6502"):
        model.session(**options)


def test_types_are_told():
    folder = pathlib.Path(ingot.__file__).parent
    assert (folder / "py.typed").exists()
    stub = ast.parse((folder / "_runtime.pyi").read_text())
    classes = {node.name: {item.name for item in node.body if isinstance(item, ast.FunctionDef)}
               for node in stub.body if isinstance(node, ast.ClassDef)}
    assert {"eval", "score", "logits", "save", "cancel"} <= classes["Session"], classes


def test_smollm2(smollm2, tmp_path):
    model = ingot.load(ingot.compile(smollm2, tmp_path / "smollm2.so", context=256))
    assert "Paris" in "".join(model.generate("The capital of France is", max_tokens=8,
                                             temperature=0))
