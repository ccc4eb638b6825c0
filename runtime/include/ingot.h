/* Ingot's runtime: evaluates a compiled program's model from C or anything that can call C.
 *
 *   ingot_session_options options = ingot_default_session_options();
 *   ingot_session *session;
 *   if (ingot_session_create(&ingot_main_program, &options, &session) != INGOT_OK) ...
 *   int32_t tokens[64], count;
 *   ingot_tokenize(session, "The capital of France is", 24, 0, tokens, 64, &count);
 *   ingot_eval(session, tokens, count);
 *   ingot_sample(session, &next);
 *   ingot_session_destroy(session);
 *
 * Linking: `ingot compile MODEL --emit object -o model.o`, then model.o, libingot_runtime.a, libc,
 * libm and pthread (part of libc since glibc 2.34), static or not; no C++ library is needed. The
 * archive's `main` (the command-line program) is taken only when nothing else defines main.
 *
 * Memory: a session takes everything it will need when it is created, in one mapping that is
 * committed as it is touched (plus its threads' stacks); no function here uses the heap. Pointers
 * that functions get are read during the call, unless they say more; what they return stays the
 * session's or the program's.
 *
 * Threads: sessions share nothing but the program, which is read-only. One session may be used by
 * one thread at a time, not always the same; ingot_interrupt, ingot_clear_interrupt and
 * ingot_interrupted alone may be called from any thread and from a signal handler. Functions that
 * take no session may be called from any thread. Steps run on the session's threads and on a stack
 * of its own, so the caller's stack may be small. Nothing here is shared between sessions, also no
 * text of an error.
 *
 * Sequences: a session evaluates `sequences` texts side by side, each with a KV cache, a history
 * and logits of its own. Functions that speak of "the" position, history or logits mean those of
 * the selected sequence, which is sequence 0 until ingot_select. A step for several sequences reads
 * the weights once for all of them, so ingot_eval_batch is much faster than ingot_eval for each.
 *
 * Results depend neither on the number of threads nor on what is evaluated beside a sequence. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __GNUC__
#pragma GCC visibility push(default) /* a model's shared library shows what is declared here */
#endif
#ifdef __cplusplus
extern "C" {
#endif

/* What a function returns. Nothing has changed in the session unless the function says so. */
typedef enum ingot_status {
  INGOT_OK = 0,
  INGOT_CONTEXT_FULL = 1,     /* the tokens do not fit after the current position */
  INGOT_INTERRUPTED = 2,      /* ingot_interrupt was called; complete steps stay evaluated */
  INGOT_BAD_TOKEN = 3,        /* an id below 0 or not below the vocabulary's size */
  INGOT_BAD_ARGUMENT = 4,     /* a pointer is null, a count negative, a parameter out of range */
  INGOT_BUFFER_TOO_SMALL = 5, /* the result needs more room than `capacity` */
  INGOT_NO_MEMORY = 6,        /* the system refused the session's memory */
  INGOT_NO_THREADS = 7,       /* the system refused the session's threads */
  INGOT_BAD_PROGRAM = 8,      /* made for another version of the runtime, or damaged */
  INGOT_UNSUPPORTED_CPU = 9,  /* the processor lacks an instruction set the program was made for */
  INGOT_NO_LOGITS = 10,       /* nothing has been evaluated since create, reset or truncate */
  INGOT_BAD_LOGITS = 11,      /* every logit is NaN or minus infinity: nothing can be sampled */
  INGOT_TEXT_TOO_LONG = 12,   /* longer than the session's max_text_bytes */
  INGOT_NO_TEMPLATE = 13,     /* the model has no chat template, or none for a system message */
  INGOT_NO_DEVICE = 14,       /* nothing here runs the program's kernels: options.problem */
  INGOT_DEVICE_LOST = 15,     /* the device stopped: the session can only be destroyed */
  INGOT_NO_WEIGHTS = 16,      /* the program's weights are in a file, which was not opened */
  INGOT_WEIGHTS_UNREADABLE = 17, /* there is no such file, or the system refuses it */
  INGOT_WRONG_WEIGHTS = 18,      /* a file of other weights, or of something else */
  INGOT_DAMAGED_WEIGHTS = 19,    /* its file of weights is cut off or changed */
  INGOT_DAMAGED_SAVE = 20,       /* what ingot_save wrote is cut off or changed */
  INGOT_FOREIGN_SAVE = 21,       /* of another program or version, or nothing that was saved */
  INGOT_NO_EMBEDDINGS = 22       /* the model was compiled without --embeddings */
} ingot_status;

/* One English clause without a full stop, static: "the context is full". */
const char *ingot_status_string(ingot_status status);

typedef struct ingot_program ingot_program; /* a compiled model */
typedef struct ingot_session ingot_session;
typedef struct ingot_weights ingot_weights; /* an open file of weights */

/* The model of a program that `ingot compile` made, or of an object made without --symbol. */
extern const ingot_program ingot_main_program; // NOLINT: extern is not a definition

/* Grows when something that programs use changes; additions leave it as it is. */
#define INGOT_API_VERSION 1
/* Of the runtime that is linked in. From any thread. */
int32_t ingot_api_version(void);

/* What a model is. Texts belong to the program, end with a 0 and are never null. */
typedef struct ingot_model_info {
  const char *name;         /* "SmolLM2 135M Instruct"; may be empty */
  const char *architecture; /* "llama" */
  const char *source_hash;  /* of the model file, 32 hex digits */
  uint64_t parameters;
  uint64_t weights_bytes; /* packed */
  int32_t layers, embedding_length;
  int32_t context_length;       /* tokens; as compiled */
  int32_t vocab_size;           /* token ids are below it */
  int32_t bos_token, eos_token; /* -1: none */
  int32_t has_chat_template;    /* not 0: it answers messages; else it only continues texts */
  int32_t prefill_tokens;       /* most that one step evaluates */
  int32_t has_embeddings;       /* not 0: ingot_embed works */
  int32_t add_bos; /* not 0: the model wants bos_token before a text that begins a sequence */
} ingot_model_info;

/* Needs no session and no weights. INGOT_BAD_PROGRAM. From any thread. */
ingot_status ingot_model_info_of(const ingot_program *program, ingot_model_info *info);

#define INGOT_MAX_THREADS 256
#define INGOT_MAX_SEQUENCES 256
#define INGOT_PROBLEM_BYTES 256

/* Where a session's memory comes from, instead of the system: called once by ingot_session_create
 * and once by ingot_session_destroy, on the thread that calls these, or both by the first where it
 * fails. (The stacks of a session's threads come from the system all the same: they have a guard
 * page each.) */
typedef struct ingot_allocator {
  /* `bytes` (ingot_session_bytes) of zeros, aligned to 4,096; null: there is no room, which is
   * INGOT_NO_MEMORY. Memory that is committed when it is first touched keeps a session small. */
  void *(*allocate)(void *user, uint64_t bytes);
  void (*release)(void *user, void *memory, uint64_t bytes);
  void *user;
} ingot_allocator;

/* Whose threads run a session's steps, instead of threads of its own: those of the app's pool. */
typedef struct ingot_executor {
  /* Calls share(argument, i) for each i in [0, count), all at once and each on a thread of its own
   * (the caller's may be one: they wait for each other, so what runs them one after the other never
   * ends), and returns when all have returned. `count` is ingot_threads. Shares bring their own
   * stack; they neither block on locks nor throw. Called on the thread that evaluates. */
  void (*run)(void *user, void (*share)(void *argument, int32_t i), void *argument, int32_t count);
  void *user;
} ingot_executor;

/* Memory that an app lends to a session: nearer to the processor's vectors than caches are, as a
 * DSP has it and its system gives it to who asks (HAP_compute_res_acquire). Threads
 * have equal shares of it, in whole vectors: a share that is too small for a kernel's tile is left
 * alone, and so is all of it where kernels have no use for it. Results do not depend on it; no
 * other session may use it at the same time. */
typedef struct ingot_near_memory {
  void *memory; /* any alignment */
  uint64_t bytes;
} ingot_near_memory;

typedef struct ingot_session_options {
  int32_t threads;         /* 1 .. INGOT_MAX_THREADS; 0: the physical cores this process may use */
  int32_t prefault;        /* not 0: threads map the weights ahead of the first step (default 1) */
  uint64_t max_text_bytes; /* longest text to tokenize, below 2^30; default 1 MiB */
  int32_t sequences;       /* texts evaluated side by side, 1 .. INGOT_MAX_SEQUENCES; default 1 */
  /* Of a program with kernels for several machines, those to run: the name of a machine or of
   * an instruction set, as --info lists them. Null, the default: the best that the processor runs.
   */
  const char *isa;
  /* Of a program that was compiled with --split: its weights, which must outlive the session. Of
   * others it is not read. Null is the default. */
  const ingot_weights *weights;
  /* Null, the default, or what is copied; its `user` must outlive the session. */
  const ingot_allocator *allocator;
  const ingot_executor *executor;
  /* Null, the default, or INGOT_PROBLEM_BYTES bytes, where ingot_session_create leaves what was
   * missing: one clause that ends with a 0 ("this processor has no avx2"), or "" where the status
   * says all. Also where it went on with kernels for the processor because there is no device. */
  char *problem;
  /* Null, the default, or what is lent from ingot_session_create to ingot_session_destroy; the
   * structure itself is copied. */
  const ingot_near_memory *near_memory;
} ingot_session_options;

ingot_session_options ingot_default_session_options(void);

/* What a session with these options takes: address space, of which memory is what it touches
 * (`PROGRAM --info` lists both), without its threads' stacks. INGOT_BAD_PROGRAM,
 * INGOT_BAD_ARGUMENT. */
ingot_status ingot_session_bytes(const ingot_program *program, const ingot_session_options *options,
                                 uint64_t *bytes);

/* Makes a session. `program` must outlive it; `options` need not. On failure *session is null:
 * INGOT_BAD_ARGUMENT, INGOT_BAD_PROGRAM, INGOT_NO_MEMORY, INGOT_NO_THREADS, INGOT_NO_DEVICE,
 * INGOT_NO_WEIGHTS, INGOT_WRONG_WEIGHTS, or INGOT_UNSUPPORTED_CPU, which is found before any code
 * runs that the processor might lack instructions for. */
ingot_status ingot_session_create(const ingot_program *program,
                                  const ingot_session_options *options, ingot_session **session);
/* Ends its threads and gives its memory back. Null is allowed. */
void ingot_session_destroy(ingot_session *session);

/* --- Weights in a file of their own ------------------------------------------------------------
 */

/* Opens the file of weights of a program that was compiled with --split, and maps it read-only: its
 * pages are those of the file, one copy for all processes and sessions. `path` null: the name that
 * the compiler gave the file, in the folder of the running program. With `verify` (not 0) all of it
 * is read and hashed, which finds any damage; else only its first 64 bytes, by which another
 * model's file is found. INGOT_BAD_ARGUMENT: the program has its weights itself.
 * INGOT_WEIGHTS_UNREADABLE, INGOT_WRONG_WEIGHTS, INGOT_DAMAGED_WEIGHTS and INGOT_NO_MEMORY leave
 * *weights null. May be called from any thread; what it gives may be used by any number of
 * sessions at once. */
ingot_status ingot_weights_open(const ingot_program *program, const char *path, int32_t verify,
                                ingot_weights **weights);
/* Unmaps it, after all sessions that use it. Null is allowed. */
void ingot_weights_close(ingot_weights *weights);

/* After INGOT_UNSUPPORTED_CPU: the first feature the processor lacks ("avx2") of those that the
 * least demanding kernels of the program need, or null when it runs any. */
const char *ingot_missing_feature(const ingot_program *program);

/* --- Text ------------------------------------------------------------------------------------ */

/* Token ids of `bytes` bytes of UTF-8 (other bytes are kept byte by byte) and no others: where
 * ingot_model_info.add_bos, who evaluates a text at position 0 puts bos_token before it (a
 * conversation has it: ingot_chat_tokens). With parse_special,
 * texts such as "<|im_end|>" become the tokens they name: only for text that is trusted, never for
 * a user's. *count is the number of ids, at most bytes + 1; with INGOT_BUFFER_TOO_SMALL too; else
 * -1: INGOT_TEXT_TOO_LONG, INGOT_BAD_ARGUMENT. */
ingot_status ingot_tokenize(ingot_session *session, const char *text, size_t bytes,
                            int32_t parse_special, int32_t *tokens, int32_t capacity,
                            int32_t *count);

/* The bytes of one token: *bytes points into the program (not 0-terminated) and stays valid. A
 * token may hold a part of a UTF-8 sequence. Returns their number, -1 for a bad id. */
int32_t ingot_token_bytes(const ingot_session *session, int32_t token, const char **bytes);

/* The concatenated bytes of `count` tokens into out[capacity], not 0-terminated; *bytes is their
 * number, also with INGOT_BUFFER_TOO_SMALL. `out` may be null when capacity is 0.
 * INGOT_BAD_TOKEN, INGOT_BAD_ARGUMENT. */
ingot_status ingot_detokenize(const ingot_session *session, const int32_t *tokens, int32_t count,
                              char *out, size_t capacity, size_t *bytes);

/* Not 0 when the token ends an answer. */
int32_t ingot_is_stop_token(const ingot_session *session, int32_t token);

/* --- Chat ------------------------------------------------------------------------------------ */

typedef enum ingot_role {
  INGOT_ROLE_SYSTEM = 0,   /* at most one, before all others */
  INGOT_ROLE_USER = 1,     /* then the user's and answers by turns */
  INGOT_ROLE_ASSISTANT = 2 /* an answer */
} ingot_role;

typedef struct ingot_message {
  ingot_role role;
  const char *text; /* UTF-8 of `bytes` bytes; special tokens in it are plain text */
  size_t bytes;
} ingot_message;

/* Token ids of a whole conversation in the model's template, with the beginning-of-sequence token
 * where the model wants one. After a user's message they end where an answer begins; after an
 * answer, behind it. *token_count is how many there are; with INGOT_BUFFER_TOO_SMALL too (`tokens`
 * may be null when capacity is 0), else -1: INGOT_NO_TEMPLATE, INGOT_BAD_ARGUMENT (also: roles in
 * another order), INGOT_TEXT_TOO_LONG (of texts without a special token between them together). */
ingot_status ingot_chat_tokens(ingot_session *session, const ingot_message *messages, int32_t count,
                               int32_t *tokens, int32_t capacity, int32_t *token_count);

/* Makes the selected sequence that conversation: keeps what it has in common with what has been
 * evaluated, truncates the rest and evaluates what is new, so that ingot_generate answers. Messages
 * may be edited or left out; each call costs what it changes. Errors are those of ingot_chat_tokens
 * and INGOT_CONTEXT_FULL, which leave the sequence as it was, and INGOT_INTERRUPTED and
 * INGOT_DEVICE_LOST, after which complete steps stay evaluated. */
ingot_status ingot_chat_eval(ingot_session *session, const ingot_message *messages, int32_t count);

/* --- Evaluation ------------------------------------------------------------------------------ */

/* Evaluates `count` tokens after those already evaluated; the last one's logits are then in
 * ingot_logits. Takes as many prefill steps as needed, the decode step for a single token.
 * INGOT_BAD_ARGUMENT, INGOT_CONTEXT_FULL and INGOT_BAD_TOKEN are found before anything is
 * evaluated; INGOT_INTERRUPTED and INGOT_DEVICE_LOST between steps. */
ingot_status ingot_eval(ingot_session *session, const int32_t *tokens, int32_t count);

/* Gets logits[rows][stride] (floats; the first vocab_size of a row count) of the tokens `first` ..
 * `first + rows - 1` of the call; valid until it returns. Not 0 stops with INGOT_INTERRUPTED. */
typedef int32_t (*ingot_logits_callback)(void *user, int32_t first, int32_t rows,
                                         const float *logits, int32_t stride);

/* As ingot_eval, with its errors, but gives the logits of every token to `callback`, a chunk at a
 * time, on this thread. */
ingot_status ingot_eval_all(ingot_session *session, const int32_t *tokens, int32_t count,
                            ingot_logits_callback callback, void *user);

/* What ingot_embed makes of the hidden states of several tokens. */
typedef enum ingot_pooling {
  INGOT_POOLING_LAST = 0, /* the last token's, which has seen all others: models that generate */
  INGOT_POOLING_MEAN = 1, /* the mean over the tokens of the call: models trained for it */
  INGOT_POOLING_NONE = 2  /* each token's, [count][embedding_length] */
} ingot_pooling;

/* Evaluates `count` tokens (1 or more) as ingot_eval does, and leaves hidden states behind the
 * final norm (what the output layer would get) in out[capacity], of embedding_length floats each,
 * as they are: to compare directions, divide by their length. There are no logits afterwards. A
 * text's embedding is that of its tokens in an empty sequence (ingot_reset). The errors of
 * ingot_eval, and before anything is evaluated INGOT_NO_EMBEDDINGS and INGOT_BUFFER_TOO_SMALL;
 * `out` means nothing after INGOT_INTERRUPTED. */
ingot_status ingot_embed(ingot_session *session, const int32_t *tokens, int32_t count,
                         ingot_pooling pooling, float *out, size_t capacity);

/* Logits of the last evaluated token, [vocab_size]; null when there are none (INGOT_NO_LOGITS).
 * Valid until the sequence is evaluated again; those left by ingot_eval_batch and ingot_eval_all
 * until the next call of either, or of ingot_embed, for any sequence. */
const float *ingot_logits(const ingot_session *session);

/* Tokens evaluated so far, 0 .. context_length; and the tokens themselves, [position]. */
int32_t ingot_position(const ingot_session *session);
const int32_t *ingot_history(const ingot_session *session);
int32_t ingot_context_length(const ingot_session *session);
int32_t ingot_vocab_size(const ingot_session *session);
int32_t ingot_threads(const ingot_session *session);
/* The machine that the kernels in use were compiled for, as --info lists it. */
const char *ingot_isa(const ingot_session *session);

/* Forgets everything from `position` on (0 .. ingot_position); logits are gone until the next
 * evaluation. INGOT_BAD_ARGUMENT when the position is not in that range. */
ingot_status ingot_truncate(ingot_session *session, int32_t position);
/* The same as truncating to 0. Sampling goes on with its random sequence. */
void ingot_reset(ingot_session *session);

/* Makes the evaluation under way, and every later one, end with INGOT_INTERRUPTED before its next
 * step, until ingot_clear_interrupt: within one token of an answer, and in a prompt within one
 * prefill step (some 200 tokens, ingot_model_info.prefill_tokens). Async-signal-safe. */
void ingot_interrupt(ingot_session *session);
void ingot_clear_interrupt(ingot_session *session);
int32_t ingot_interrupted(const ingot_session *session);

/* --- Several sequences ----------------------------------------------------------------------- */

/* Makes `sequence` (0 .. sequences - 1, else INGOT_BAD_ARGUMENT) the one that all functions but
 * those with numbers of sequences work on. */
ingot_status ingot_select(ingot_session *session, int32_t sequence);
int32_t ingot_selected(const ingot_session *session);
/* How many there are. */
int32_t ingot_sequences(const ingot_session *session);

/* Evaluates tokens[i] after what sequence sequences[i] has evaluated, for i in [0, count): one
 * token for each of `count` different sequences, at any positions. Takes the fewest of the batch
 * steps that the program was compiled with (`ingot compile --batch`), a decode step each without
 * any. Each sequence gets its logits, as after ingot_eval. Does not change the selected sequence.
 * INGOT_BAD_ARGUMENT (an unknown sequence, or one named twice), INGOT_BAD_TOKEN and
 * INGOT_CONTEXT_FULL are found before anything is evaluated. */
ingot_status ingot_eval_batch(ingot_session *session, const int32_t *sequences,
                              const int32_t *tokens, int32_t count);

/* Logits of the i-th token of the last ingot_eval_batch, [vocab_size], valid until the next one or
 * ingot_eval_all; null when there are none. */
const float *ingot_batch_logits(const ingot_session *session, int32_t i);

/* Makes sequence `to` a copy of `from`, which it replaces: KV cache, history, logits. Texts with a
 * common beginning evaluate it once. Sampling in `to` goes on with its own random sequence.
 * INGOT_BAD_ARGUMENT: there is no such sequence. */
ingot_status ingot_fork(ingot_session *session, int32_t from, int32_t to);

/* --- Saving ---------------------------------------------------------------------------------- */

/* Writes the selected sequence (caches, history, logits, its random numbers; not the sampling
 * parameters) to out[capacity]: about what its part of the KV cache takes. *bytes is how many there
 * are, also with INGOT_BUFFER_TOO_SMALL; `out` may be null when capacity is 0. From a device:
 * INGOT_DEVICE_LOST, INGOT_NO_MEMORY. INGOT_BAD_ARGUMENT. */
ingot_status ingot_save(const ingot_session *session, void *out, size_t capacity, size_t *bytes);

/* Replaces the selected sequence by what ingot_save wrote for the same program, in any session and
 * process: what is evaluated and sampled next has the same bits as if nothing had happened. A
 * program for a device and the processor restores on one what it saved on the other, too; bits are
 * then those of who goes on. INGOT_DAMAGED_SAVE, INGOT_FOREIGN_SAVE and INGOT_NO_MEMORY leave the
 * sequence as it was. `saved` needs no alignment. A checksum finds accidents, not forgeries: do not
 * restore what strangers sent. */
ingot_status ingot_restore(ingot_session *session, const void *saved, size_t bytes);

/* --- Sampling -------------------------------------------------------------------------------- */

/* How ingot_sample picks a token. In this order: the repetition penalty (Keskar et al. 2019,
 * "CTRL") on every token among the last repeat_window; temperature; then only the top_k most likely
 * tokens; of those the fewest that hold top_p of the probability (Holtzman et al. 2020, "The
 * Curious Case of Neural Text Degeneration"); of those the ones at least min_p as likely as the
 * most likely one (Nguyen et al. 2024, "Turning Up the Heat"). Ties go to the lower id. NaN counts
 * as minus infinity. */
typedef struct ingot_sampling {
  float temperature;     /* >= 0; 0 takes the most likely token. Default 0.8 */
  int32_t top_k;         /* >= 0; 0: all. Default 40 */
  float top_p;           /* 0 .. 1; 1: all. At least one token stays. Default 0.95 */
  float min_p;           /* 0 .. 1; 0: all. Default 0 */
  float repeat_penalty;  /* > 0; 1: none. Default 1 */
  int32_t repeat_window; /* >= 0 tokens; -1: the whole context. Default 64 */
  uint64_t seed;         /* equal seeds, parameters and logits give equal tokens on any machine */
} ingot_sampling;

ingot_sampling ingot_default_sampling(void);

/* For all sequences. Each draws random numbers of its own, so what it samples does not depend on
 * the others; they start anew from the seed. INGOT_BAD_ARGUMENT when a value is out of the range
 * above or not finite. */
ingot_status ingot_set_sampling(ingot_session *session, const ingot_sampling *sampling);

/* Samples from ingot_logits; does not evaluate the token. INGOT_NO_LOGITS, INGOT_BAD_LOGITS. */
ingot_status ingot_sample(ingot_session *session, int32_t *token);

/* Gets a token that was sampled and evaluated, and its bytes[count], valid while the program is. A
 * token may hold a part of a UTF-8 sequence. Not 0 stops with INGOT_INTERRUPTED. */
typedef int32_t (*ingot_token_callback)(void *user, int32_t token, const char *bytes, size_t count);

/* Samples and evaluates tokens behind what is evaluated, at most `most`, until a token that ends an
 * answer, which is neither evaluated nor passed on. *count is how many were passed on, whatever is
 * returned: INGOT_OK, INGOT_INTERRUPTED (by ingot_interrupt, within one token, or by the callback),
 * INGOT_NO_LOGITS where nothing is evaluated, INGOT_CONTEXT_FULL, INGOT_BAD_LOGITS. */
ingot_status ingot_generate(ingot_session *session, int32_t most, ingot_token_callback callback,
                            void *user, int32_t *count);

#ifdef __cplusplus
}
#endif
#ifdef __GNUC__
#pragma GCC visibility pop
#endif
