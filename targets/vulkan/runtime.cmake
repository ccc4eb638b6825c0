# What loads Vulkan, for programs whose kernels run there; they are linked with glibc.
file(GLOB vulkan_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/runtime/*.cpp)
runtime_library(ingot_runtime_vulkan x86_64-linux-gnu /usr/include/x86_64-linux-musl
                ${vulkan_sources})
target_link_libraries(ingot_runtime_vulkan PRIVATE ingot_runtime_core ${CMAKE_DL_LIBS})
set_target_properties(ingot_runtime_vulkan PROPERTIES OUTPUT_NAME ingot_vulkan
  ARCHIVE_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/lib/ingot)
# Of programs that load libraries: glibc's, with which the drivers that they load are made.
foreach(file crt1.o crti.o crtn.o libc.so.6)
  find_file(INGOT_GLIBC_${file} ${file} PATHS /usr/lib/x86_64-linux-gnu /lib/x86_64-linux-gnu
            NO_DEFAULT_PATH REQUIRED)
  configure_file(${INGOT_GLIBC_${file}} ${PROJECT_BINARY_DIR}/lib/ingot/glibc/${file} COPYONLY)
endforeach()
