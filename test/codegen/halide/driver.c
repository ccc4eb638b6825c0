/* Runs one kernel for a test in another process, which an emulator may run: reads a call from
   standard input, answers on standard output, until there are no more (Emulated.h). */
#include "test/codegen/halide/driver.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* halide_buffer_t: `host` behind a word and a pointer. */
typedef struct {
  uint64_t device;
  void *interface, *host;
  uint64_t after[4];
} buffer;

typedef int32_t kernel(int32_t begin, int32_t extent, int32_t tokens, int32_t position, buffer *,
                       buffer *, buffer *, buffer *, buffer *, buffer *, buffer *, buffer *,
                       buffer *, buffer *);
extern kernel ingot_kernel;
/* Programs are linked around their weights. */
extern const char ingot_weights[];
const char *volatile weights = ingot_weights;

static int transfer(int in, void *data, uint64_t bytes) {
  for (char *at = data; bytes;) {
    ssize_t count = in ? read(0, at, bytes) : write(1, at, bytes);
    if (count <= 0)
      return 0;
    at += count;
    bytes -= (uint64_t)count;
  }
  return 1;
}

int main(void) {
  static struct driver_call call;
  static char *memory[DRIVER_ARGUMENTS];
  if (!weights)
    return 1;
  while (transfer(1, &call, sizeof call)) {
    buffer buffers[DRIVER_ARGUMENTS];
    memset(buffers, 0xee, sizeof buffers); /* kernels must not read what else is in them */
    for (int32_t i = 0; i < call.buffers; ++i) {
      memory[i] = aligned_alloc(64, (call.bytes[i] + 63) / 64 * 64);
      if (!memory[i] || !transfer(1, memory[i], call.bytes[i]))
        return 1;
    }
    for (int32_t i = 0; i < call.arguments; ++i)
      buffers[i].host = memory[call.buffer[i]] + call.offset[i];
    buffers[0].device = call.near_bytes;
    buffers[0].interface = call.near_bytes ? memory[call.buffers - 1] + call.near_offset : 0;
    buffer *b = buffers;
    int32_t result = call.arguments < 0 ? 0
                                        : ingot_kernel(call.begin, call.extent, call.tokens,
                                                       call.position, b, b + 1, b + 2, b + 3, b + 4,
                                                       b + 5, b + 6, b + 7, b + 8, b + 9);
    if (!transfer(0, &result, sizeof result))
      return 1;
    for (int32_t i = 0; i < call.buffers; ++i) {
      if (!transfer(0, memory[i], call.bytes[i]))
        return 1;
      free(memory[i]);
    }
  }
  return 0;
}
