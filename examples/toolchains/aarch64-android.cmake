# A toolchain file for CMake without an NDK: libraries for Android on 64-bit ARM, by clang and lld
# alone. It finds neither headers nor libraries of Android, so it is for what needs none: models
# (which Ingot links itself) and C that calls them and the JVM. With an NDK, use the NDK's own
# toolchain file.
set(CMAKE_SYSTEM_NAME Linux) # "Android" has CMake look for an NDK
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(ANDROID TRUE)
set(CMAKE_C_COMPILER clang-22)
set(CMAKE_C_COMPILER_TARGET aarch64-linux-android24)
set(CMAKE_C_FLAGS_INIT "-ffreestanding")
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
# Pages of 16 KiB: what Android 15 asks of libraries. Everything that is used is found when the
# library is loaded, or its link fails here.
set(CMAKE_SHARED_LINKER_FLAGS_INIT
    "-nostdlib -fuse-ld=lld -Wl,-z,max-page-size=16384,-z,defs,--build-id=sha1,--hash-style=both")
# Threads are part of Android's C library.
set(CMAKE_HAVE_PTHREAD_H TRUE)
set(CMAKE_HAVE_LIBC_PTHREAD TRUE)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
