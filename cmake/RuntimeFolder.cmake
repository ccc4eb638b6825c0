# build/lib/ingot: what compiled programs are linked with, so that `ingot compile` needs no toolchain.
set(ingot_runtime_folder ${PROJECT_BINARY_DIR}/lib/ingot)
set(ingot_runtime_files)
foreach(file crt1.o crti.o crtn.o libc.a libm.a libgcc.a libgcc_eh.a)
  execute_process(COMMAND ${CMAKE_C_COMPILER} -print-file-name=${file}
                  OUTPUT_VARIABLE path OUTPUT_STRIP_TRAILING_WHITESPACE)
  if(file STREQUAL "libm.a") # a linker script that names the real archive beside it
    file(STRINGS ${path} script REGEX "libm-[0-9.]+\\.a")
    if(script)
      string(REGEX MATCH "[^ ]*libm-[0-9.]+\\.a" path "${script}")
    endif()
  endif()
  configure_file(${path} ${ingot_runtime_folder}/${file} COPYONLY)
endforeach()
