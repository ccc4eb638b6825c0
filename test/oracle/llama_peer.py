"""llama.cpp as the peer that Ingot is compared with: load, tokenize, evaluate, through the
low-level API of llama-cpp-python, so that nothing but llama.cpp itself is timed or tested."""

import ctypes

import llama_cpp
import numpy as np

_QUIET = llama_cpp.llama_log_callback(lambda level, text, data: None)


class Peer:
    """A model with one context. `threads` serve prefill and decode; one batch holds `batch` tokens.

    `all_logits` keeps the logits of every token of a batch instead of the last one's. `sequences`
    texts share the `context` positions: in one cache, or with `unified=False` in one each.
    """

    def __init__(self, path, threads, context, batch=512, all_logits=False, vocab_only=False,
                 sequences=1, unified=True):
        llama_cpp.llama_log_set(_QUIET, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        params = llama_cpp.llama_model_default_params()
        params.use_mmap = True
        params.n_gpu_layers = 0
        params.vocab_only = vocab_only
        self.model = llama_cpp.llama_model_load_from_file(str(path).encode(), params)
        if not self.model:
            raise SystemExit(f"error: llama.cpp cannot load {path}")
        self.vocab = llama_cpp.llama_model_get_vocab(self.model)
        self.vocab_size = llama_cpp.llama_vocab_n_tokens(self.vocab)
        self.context = None
        if vocab_only:
            return
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = context
        params.n_batch = params.n_ubatch = batch
        params.n_threads = params.n_threads_batch = threads
        params.n_outputs_max = batch if all_logits else sequences
        params.n_seq_max = sequences
        params.kv_unified = unified
        self.context = llama_cpp.llama_init_from_model(self.model, params)
        if not self.context:
            raise SystemExit("error: llama.cpp cannot create a context")
        self.memory = llama_cpp.llama_get_memory(self.context)
        self.batch = llama_cpp.llama_batch_init(batch, 0, 1)
        self.capacity = batch
        self.all_logits = all_logits

    def tokenize(self, text, special=False):
        """Ids of `text` (str or bytes) without BOS; `special` also matches control tokens."""
        data = text.encode() if isinstance(text, str) else text
        room = len(data) + 8
        ids = (llama_cpp.llama_token * room)()
        count = llama_cpp.llama_tokenize(self.vocab, data, len(data), ids, room, False, special)
        if count < 0:
            raise SystemExit("error: llama.cpp cannot tokenize the text")
        return list(ids[:count])

    def close(self):
        """Frees the context; the object is of no use any more."""
        llama_cpp.llama_batch_free(self.batch)
        llama_cpp.llama_free(self.context)
        llama_cpp.llama_model_free(self.model)
        self.context = None

    def clear(self):
        llama_cpp.llama_memory_clear(self.memory, False)

    def rewind(self, position):
        """Forgets everything from `position` on."""
        llama_cpp.llama_memory_seq_rm(self.memory, 0, position, -1)

    def decode(self, tokens, position):
        """Evaluates `tokens` (at most one batch) at `position`; returns when it is done."""
        assert 0 < len(tokens) <= self.capacity
        batch = self.batch
        batch.n_tokens = len(tokens)
        for i, token in enumerate(tokens):
            batch.token[i] = token
            batch.pos[i] = position + i
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = 0
            batch.logits[i] = self.all_logits or i + 1 == len(tokens)
        self._run()

    def decode_each(self, tokens, position):
        """Evaluates one token of each sequence, tokens[i] of sequence i, all at `position`."""
        batch = self.batch
        batch.n_tokens = len(tokens)
        for i, token in enumerate(tokens):
            batch.token[i] = token
            batch.pos[i] = position
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = i
            batch.logits[i] = True
        self._run()

    def fork(self, sequences):
        """Gives sequences 1 to `sequences` - 1 what sequence 0 holds."""
        for i in range(1, sequences):
            llama_cpp.llama_memory_seq_cp(self.memory, 0, i, -1, -1)

    def _run(self):
        status = llama_cpp.llama_decode(self.context, self.batch)
        if status:
            raise SystemExit(f"error: llama_decode failed with {status}")
        llama_cpp.llama_synchronize(self.context)

    def logits(self, count):
        """float32 [count, vocab]: a copy of the first `count` rows of the last decode's logits."""
        pointer = llama_cpp.llama_get_logits(self.context)
        return np.ctypeslib.as_array(pointer, shape=(count, self.vocab_size)).copy()

    def window_logits(self, tokens):
        """float32 [len(tokens), vocab] for a window that starts at position 0."""
        self.clear()
        rows = []
        for begin in range(0, len(tokens), self.capacity):
            chunk = tokens[begin:begin + self.capacity]
            self.decode(chunk, begin)
            rows.append(self.logits(len(chunk)))
        return rows[0] if len(rows) == 1 else np.concatenate(rows)
