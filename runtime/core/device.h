/* What runs steps where the processor's threads do not: a device with memory of its own. A platform
 * that has one defines an ingot_device; the compiler puts its address into the variants whose
 * kernels it runs (program.h), so that other programs are not linked with it. */
#pragma once

#include "runtime/core/program.h"
#include "runtime/include/ingot.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Features that kernels may need: bits of device.Form.needs. */
#define INGOT_DEVICE_BYTE_DOT 1u /* i32 = 4 products of signed by unsigned bytes */
/* Workgroups are full subgroups of 8 invocations or more, which read each other's numbers. */
#define INGOT_DEVICE_SHUFFLE 2u
/* Workgroups are full subgroups, which multiply matrices together: a bit for each of
 * ingot::product_shapes. */
#define INGOT_DEVICE_PRODUCT(index) (0x100u << (index))
#define INGOT_DEVICE_ANY_PRODUCT 0xffff00u

/* The parameters of a step, words of a buffer that all kernels have behind their arguments. */
#define INGOT_PARAMETER_TOKENS 0     /* how many tokens the step has */
#define INGOT_PARAMETER_POSITION 1   /* how many lie before them in the cache */
#define INGOT_PARAMETER_SLOTS 4      /* [INGOT_PARAMETER_TOKENS_MAX] which sequence a token is of */
#define INGOT_PARAMETER_POSITIONS 68 /* [INGOT_PARAMETER_TOKENS_MAX] the position of each */
#define INGOT_PARAMETER_TOKENS_MAX 64 /* of a step for several sequences */
#define INGOT_PARAMETER_WORDS 132

struct ingot_device_session;

struct ingot_device_request {
  const struct ingot_program *program;
  const uint8_t *weights; /* the program's, or in its file */
  const struct ingot_variant *variant;
  int32_t sequences;
  const uint8_t *caches;   /* addresses that stand for those of sequences (step contexts): */
  uint64_t sequence_bytes; /* from one to the next; nothing is read there */
};

struct ingot_device {
  const char *name; /* as in `--isa`: "vulkan" */
  /* INGOT_OK and a session; or INGOT_NO_DEVICE or INGOT_NO_MEMORY and in `problem` (256 bytes) a
   * clause that says what is missing. */
  ingot_status (*open)(const struct ingot_device_request *request,
                       struct ingot_device_session **session, char *problem);
  void (*close)(struct ingot_device_session *session);
  /* Step `index` of the manifest's steps. Logits are in context->logits when it returns. With a
   * profile in the context, leaves its time stamps (profile.h); where that watches, what each
   * launch left is in context->arena when it is told of the launch. */
  ingot_status (*run)(struct ingot_device_session *session, int32_t index,
                      const struct ingot_step_context *context);
  /* Copies the cache of a sequence up to `position`. */
  ingot_status (*copy)(struct ingot_device_session *session, int32_t from, int32_t to,
                       int32_t position);
  /* The filled parts of a sequence's caches up to `position`, one behind the other as
   * runtime::for_filled (plan.h) has them. A device lays out a sequence's caches as the processor
   * does. */
  ingot_status (*read)(struct ingot_device_session *session, int32_t sequence, int32_t position,
                       uint8_t *filled);
  ingot_status (*write)(struct ingot_device_session *session, int32_t sequence, int32_t position,
                        const uint8_t *filled);
  /* The device's own name. */
  const char *(*description)(const struct ingot_device_session *session);
};

#ifdef __cplusplus
}

namespace ingot {

/// A product of matrices [rows][depth] by [depth][columns] that a subgroup makes together.
struct ProductShape {
  int32_t bytes; ///< of an element: 1, signed, with i32 as sums; or 2, halves, with f32
  int32_t rows, columns, depth;
  constexpr bool halves() const { return bytes == 2; }
};
/// Those that devices are known to list, of bytes and of halves the largest first.
constexpr ProductShape product_shapes[] = {
    {1, 16, 16, 32}, {1, 16, 16, 16}, {1, 8, 16, 32}, {1, 8, 8, 32}, {1, 8, 8, 8},
    {2, 16, 16, 16}, {2, 8, 16, 16},  {2, 8, 8, 16},  {2, 8, 8, 8},
};

} // namespace ingot
#endif
