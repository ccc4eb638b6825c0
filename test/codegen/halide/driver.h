/* What a test and driver.c say to each other: this, then the contents of the buffers; back comes
   the kernel's result, then the contents. */
#pragma once

#include <stdint.h>

#define DRIVER_ARGUMENTS 10

struct driver_call {
  int32_t begin, extent, tokens, position;
  int32_t buffers, arguments;       /* fewer than 0 arguments: no call, only an answer */
  uint64_t bytes[DRIVER_ARGUMENTS]; /* of each buffer */
  int32_t buffer[DRIVER_ARGUMENTS]; /* that an argument lies in */
  int64_t offset[DRIVER_ARGUMENTS]; /* where */
  /* Near memory that is lent to the kernel, in the last buffer; 0 bytes: there is none. */
  uint64_t near_offset, near_bytes;
};
