# What programs for Hexagon are linked with: no C library; runtime/ has what is needed of one. Of the
# headers of another one, declarations alone count; the compiler's types decide what they mean.
file(GLOB hexagon_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/runtime/*.cpp)
set(portable_sources ${core_sources})
list(FILTER portable_sources EXCLUDE REGEX "^platform/")
set(foreign_include /usr/aarch64-linux-gnu/include)
file(GLOB foreign_cxx_include ${foreign_include}/c++/*)
runtime_library(ingot_runtime_hexagon hexagon-unknown-linux-musl ""
                ${portable_sources} ${hexagon_sources} main/main.cpp)
target_compile_options(ingot_runtime_hexagon PRIVATE -mv68 -mhvx -nostdlibinc
  "SHELL:-isystem ${foreign_cxx_include}" "SHELL:-isystem ${foreign_cxx_include}/aarch64-linux-gnu"
  "SHELL:-isystem ${foreign_include}" "SHELL:-idirafter /usr/include")
# Its functions must not become calls of themselves.
set_source_files_properties(${CMAKE_CURRENT_LIST_DIR}/runtime/library.cpp
  PROPERTIES COMPILE_OPTIONS "-O2;-fno-builtin")
set_source_files_properties(
  ${CMAKE_CURRENT_LIST_DIR}/runtime/arithmetic.cpp ${CMAKE_CURRENT_LIST_DIR}/runtime/math.cpp
  PROPERTIES COMPILE_OPTIONS -O2)
# Kernels.
foreach(name attention heads linear rows tokens)
  set_source_files_properties(${CMAKE_CURRENT_LIST_DIR}/runtime/${name}.cpp
    PROPERTIES COMPILE_OPTIONS "-O2;-mhvx-length=128b;-fwrapv")
endforeach()
set_target_properties(ingot_runtime_hexagon PROPERTIES OUTPUT_NAME ingot_runtime
  ARCHIVE_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/lib/ingot/hexagon)
