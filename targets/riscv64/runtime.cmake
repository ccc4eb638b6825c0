# What programs for RISC-V are linked with. Debian 12 has no musl for it, but glibc, whose mathematics
# is a library of its own, and whose threads can be cancelled by unwinding.
ingot_runtime(riscv64 riscv64-linux-gnu riscv64-linux
              /usr/riscv64-linux-gnu/lib /usr/riscv64-linux-gnu/include
              WITH libm.a libgcc_eh.a)
