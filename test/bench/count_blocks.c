/* A plugin of QEMU that counts how often each block of a program runs, kernel by kernel (one
   thread). What a kernel calls is counted as its own. The interface is QEMU's
   (docs/devel/tcg-plugins), declared here because Debian has no header of it:

     clang-22 -O2 -shared -fPIC test/bench/count_blocks.c -o build/count_blocks.so
     qemu-hexagon -plugin build/count_blocks.so,kernels=FROM-TO,steps=FROM-TO -d plugin PROGRAM ...

   FROM-TO: addresses of the kernels' section and of the steps', hexadecimal. Lines of the answer:
   kernel (or "-" outside of all), address of a block, its instructions (of Hexagon: packets), how
   often it ran. */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id,
                                                  void (*)(plugin_id, struct qemu_plugin_tb *));
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
extern const char *qemu_plugin_insn_symbol(const struct qemu_plugin_insn *);
extern void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *,
                                                 void (*)(unsigned cpu, void *), int flags, void *);
extern void qemu_plugin_register_atexit_cb(plugin_id, void (*)(plugin_id, void *), void *);
extern void qemu_plugin_outs(const char *);

EXPORT int qemu_plugin_version = 1;

enum { most_kernels = 512, most_blocks = 1 << 18 };

struct block {
  uint64_t address, instructions;
  int32_t kernel; /* that it belongs to; -1: any, it is called; 0: none */
  uint64_t *runs; /* of each kernel */
};

static struct block *blocks[most_blocks];
static int32_t block_count, kernel_count = 1, current;
static const char *kernels[most_kernels] = {"-"};
static uint64_t kernels_from, kernels_to, steps_from, steps_to;

static int32_t kernel_of(const char *symbol) {
  for (int32_t i = 1; i < kernel_count; ++i)
    if (!strcmp(kernels[i], symbol))
      return i;
  if (kernel_count == most_kernels)
    abort();
  kernels[kernel_count] = strdup(symbol);
  return kernel_count++;
}

static void ran(unsigned cpu, void *data) {
  (void)cpu;
  struct block *block = data;
  if (block->kernel >= 0)
    current = block->kernel;
  ++block->runs[current];
}

static void translated(plugin_id id, struct qemu_plugin_tb *code) {
  (void)id;
  const uint64_t address = qemu_plugin_tb_vaddr(code), count = qemu_plugin_tb_n_insns(code);
  struct block *block = NULL;
  for (int32_t i = 0; i < block_count && !block; ++i) /* what was translated before */
    if (blocks[i]->address == address && blocks[i]->instructions == count)
      block = blocks[i];
  if (!block) {
    if (block_count == most_blocks)
      abort();
    block = blocks[block_count++] = calloc(1, sizeof *block);
    block->address = address;
    block->instructions = count;
    block->runs = calloc(most_kernels, sizeof *block->runs);
    const char *symbol = qemu_plugin_insn_symbol(qemu_plugin_tb_get_insn(code, 0));
    block->kernel = address >= kernels_from && address < kernels_to && symbol ? kernel_of(symbol)
                    : address >= steps_from && address < steps_to             ? 0
                                                                              : -1;
  }
  qemu_plugin_register_vcpu_tb_exec_cb(code, ran, 0, block);
}

static void ended(plugin_id id, void *data) {
  (void)id, (void)data;
  char text[512];
  for (int32_t i = 0; i < block_count; ++i)
    for (int32_t k = 0; k < kernel_count; ++k)
      if (blocks[i]->runs[k]) {
        snprintf(text, sizeof text, "%s %" PRIx64 " %" PRIu64 " %" PRIu64 "\n", kernels[k],
                 blocks[i]->address, blocks[i]->instructions, blocks[i]->runs[k]);
        qemu_plugin_outs(text);
      }
}

EXPORT int qemu_plugin_install(plugin_id id, const void *info, int count, char **arguments) {
  (void)info;
  for (int i = 0; i < count; ++i)
    if (sscanf(arguments[i], "kernels=%" SCNx64 "-%" SCNx64, &kernels_from, &kernels_to) != 2 &&
        sscanf(arguments[i], "steps=%" SCNx64 "-%" SCNx64, &steps_from, &steps_to) != 2)
      return 1;
  qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
  qemu_plugin_register_atexit_cb(id, ended, NULL);
  return 0;
}
