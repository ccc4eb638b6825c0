/* The contract between a compiled program and the runtime. codegen/ emits one `ingot_program`; the
 * runtime finds everything through it. Plain C, so that LLVM-dialect code can mirror it. */
#pragma once

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define INGOT_PROGRAM_ABI 7
#define INGOT_MAX_BATCH_STEPS 4
#define INGOT_NEAR_ALIGNMENT 128 /* bytes of the widest vectors */

struct ingot_barrier;
struct ingot_profile;
struct ingot_device;

/* What every thread of a step gets. Field order is mirrored in codegen/llvm. */
struct ingot_step_context {
  uint8_t *arena;         /* planned buffers; page aligned, zeroed once */
  const uint8_t *weights; /* packed weights, page aligned */
  const int32_t *tokens;  /* [token_count] ids, each < vocab_size */
  float *logits;          /* [1 or token_count][logits_stride] */
  struct ingot_barrier *barrier;
  int32_t token_count; /* 1 .. max_tokens of the step */
  int32_t position;    /* tokens already in the KV cache; batch steps read `positions` */
  /* A sequence's KV caches, page aligned, zeroed once: of the only sequence, or in a batch step of
   * the sequence of each token. */
  uint8_t *const *caches;
  const int32_t *positions;      /* batch steps: [token_count] tokens already in those caches */
  struct ingot_profile *profile; /* null: nobody wants to know the times */
  /* What an app lent of memory that is nearer than others: of thread i, `near_bytes` bytes from
   * i * near_bytes on, aligned to INGOT_NEAR_ALIGNMENT. 0: there is none. */
  uint8_t *near_memory;
  uint64_t near_bytes;
};

/* One step of the model, run by all threads of the pool at once (SPMD): thread in [0, threads).
 * Slices of work are divided by thread; steps meet at ingot_barrier_wait. */
typedef void (*ingot_step_fn)(const struct ingot_step_context *context, int32_t thread,
                              int32_t threads);

/* Defined by the runtime, called by steps: returns when all threads have arrived. A thread that
 * waits fetches [next, next + next_bytes), what the step reads of memory next, into its cache. */
void ingot_barrier_wait(struct ingot_barrier *barrier, int32_t thread, int32_t threads,
                        const void *next, uint64_t next_bytes);

/* Defined by the runtime. Where the context has a profile, steps call it on every thread behind
 * each launch and each barrier, in the order of manifest Step.launches. */
void ingot_profile_mark(struct ingot_profile *profile, int32_t thread);

/* The steps with the kernels for one machine. All variants compute the same from the same weights,
 * arena and caches. */
struct ingot_variant {
  ingot_step_fn decode;  /* one token; logits of it */
  ingot_step_fn prefill; /* up to prefill_tokens; logits of the last one */
  ingot_step_fn score;   /* up to score_tokens; logits of each */
  /* One token for each of up to batch_tokens[i] sequences; logits of each. */
  ingot_step_fn batch[INGOT_MAX_BATCH_STEPS];
  /* Null without --embeddings: up to prefill_tokens; instead of logits the hidden states of each,
   * rows of the manifest's embedding_stride floats. The last one of the manifest's steps. */
  ingot_step_fn embed;
  /* Null, or what runs the steps (device.h): the functions above are null then. */
  const struct ingot_device *device;
  const uint8_t *device_code; /* flatbuffer, runtime/device.fbs */
  uint64_t device_code_bytes;
};

typedef struct ingot_program ingot_program;

struct ingot_program {
  uint32_t abi;            /* INGOT_PROGRAM_ABI */
  int32_t variant_count;   /* 1 or more */
  const uint8_t *manifest; /* flatbuffer, runtime/manifest.fbs */
  uint64_t manifest_bytes;
  const uint8_t *weights; /* mapped with the program */
  uint64_t weights_bytes;
  uint64_t arena_bytes;
  uint64_t cache_bytes;                 /* of one sequence */
  const struct ingot_variant *variants; /* [variant_count], best first, as in the manifest */
  int32_t prefill_tokens, score_tokens;
  int32_t vocab_size;
  int32_t logits_stride; /* floats between rows of logits, >= vocab_size */
  int32_t context_length;
  int32_t batch_steps;                         /* 0 .. INGOT_MAX_BATCH_STEPS */
  int32_t batch_tokens[INGOT_MAX_BATCH_STEPS]; /* ascending */
};

#ifdef __cplusplus
}
#endif
