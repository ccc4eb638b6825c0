# What programs for AArch64 are linked with. Without calls of the compiler's library for atomic
# operations, which ask the processor each time.
ingot_runtime(aarch64 aarch64-linux-gnu aarch64-linux
              /usr/lib/aarch64-linux-musl /usr/include/aarch64-linux-musl
              OPTIONS -mno-outline-atomics)
# Shared libraries for Android are linked with it.
runtime_library(ingot_android aarch64-linux-gnu /usr/include/aarch64-linux-musl
                ${CMAKE_CURRENT_LIST_DIR}/android/names.cpp)
target_compile_options(ingot_android PRIVATE -fno-builtin)
set_target_properties(ingot_android PROPERTIES
  ARCHIVE_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/lib/ingot/aarch64-linux)
