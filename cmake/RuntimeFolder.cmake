# build/lib/ingot: what compiled programs are linked with, so that `ingot compile` needs no toolchain.
# musl, because programs are static: a fifth of glibc's size, and nothing that starts before main.
set(ingot_runtime_folder ${PROJECT_BINARY_DIR}/lib/ingot)
foreach(file crt1.o crti.o crtn.o libc.a)
  configure_file(/usr/lib/${CMAKE_SYSTEM_PROCESSOR}-linux-musl/${file}
                 ${ingot_runtime_folder}/${file} COPYONLY)
endforeach()
execute_process(COMMAND ${CMAKE_C_COMPILER} -print-libgcc-file-name
                OUTPUT_VARIABLE libgcc OUTPUT_STRIP_TRAILING_WHITESPACE)
configure_file(${libgcc} ${ingot_runtime_folder}/libgcc.a COPYONLY)
