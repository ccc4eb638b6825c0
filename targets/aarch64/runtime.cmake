# What programs for AArch64 are linked with. Without calls of the compiler's library for atomic
# operations, which ask the processor each time.
ingot_runtime(aarch64 aarch64-linux-gnu aarch64-linux
              /usr/lib/aarch64-linux-musl /usr/include/aarch64-linux-musl
              OPTIONS -mno-outline-atomics)
