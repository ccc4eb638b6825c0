# build/lib/ingot: what compiled programs are linked with, so that `ingot compile` needs no toolchain.
# musl, because programs are static: a fifth of glibc's size, and nothing that starts before main.
function(ingot_runtime_files architecture folder)
  foreach(file crt1.o crti.o crtn.o libc.a)
    configure_file(/usr/lib/${architecture}-linux-musl/${file}
                   ${PROJECT_BINARY_DIR}/lib/ingot/${folder}/${file} COPYONLY)
  endforeach()
  execute_process(COMMAND ${CMAKE_C_COMPILER} --target=${architecture}-linux-gnu
                          -print-libgcc-file-name
                  OUTPUT_VARIABLE libgcc OUTPUT_STRIP_TRAILING_WHITESPACE)
  configure_file(${libgcc} ${PROJECT_BINARY_DIR}/lib/ingot/${folder}/libgcc.a COPYONLY)
endfunction()
ingot_runtime_files(x86_64 .)
ingot_runtime_files(aarch64 aarch64-linux)
# Of programs that load libraries: glibc's, with which the drivers that they load are made.
foreach(file crt1.o crti.o crtn.o libc.so.6)
  find_file(INGOT_GLIBC_${file} ${file} PATHS /usr/lib/x86_64-linux-gnu /lib/x86_64-linux-gnu
            NO_DEFAULT_PATH REQUIRED)
  configure_file(${INGOT_GLIBC_${file}} ${PROJECT_BINARY_DIR}/lib/ingot/glibc/${file} COPYONLY)
endforeach()
