# What apps use in this build, and what `cmake --install` and CPack make of it: a tree that works
# wherever it is moved, with the libraries that Debian does not have.
include(CMakePackageConfigHelpers)
include(${PROJECT_SOURCE_DIR}/cmake/IngotAddModel.cmake)

# As IngotConfig.cmake gives them to others.
add_executable(Ingot::ingot ALIAS ingot)
add_library(ingot_for_apps INTERFACE)
target_include_directories(ingot_for_apps INTERFACE ${PROJECT_SOURCE_DIR}/runtime/include)
target_link_libraries(ingot_for_apps INTERFACE $<TARGET_FILE:ingot_runtime> Threads::Threads m)
add_dependencies(ingot_for_apps ingot_runtime)
add_library(Ingot::runtime ALIAS ingot_for_apps)

# Folders do not follow the distribution's lib/ARCHITECTURE: the compiler finds ../lib/ingot.
set(private_libraries lib/ingot/compiler)
set_target_properties(ingot PROPERTIES INSTALL_RPATH "$ORIGIN/../${private_libraries}")
install(TARGETS ingot RUNTIME DESTINATION bin COMPONENT ingot)
# Without the links to them: a wheel has no links, but as many copies.
foreach(library $<TARGET_FILE:Halide::Halide> $<TARGET_FILE:LLVM>)
  install(CODE "file(REAL_PATH \"${library}\" library)
file(INSTALL \"\${library}\" DESTINATION \"\${CMAKE_INSTALL_PREFIX}/${private_libraries}\")"
          COMPONENT ingot)
endforeach()
install(DIRECTORY ${PROJECT_BINARY_DIR}/lib/ingot DESTINATION lib COMPONENT ingot)
install(FILES runtime/include/ingot.h runtime/include/ingot.hpp DESTINATION include COMPONENT ingot)
install(FILES LICENSE README.md DESTINATION share/doc/ingot COMPONENT ingot)

set(package_folder lib/cmake/Ingot)
configure_package_config_file(cmake/IngotConfig.cmake.in IngotConfig.cmake
  INSTALL_DESTINATION ${package_folder}
  NO_SET_AND_CHECK_MACRO NO_CHECK_REQUIRED_COMPONENTS_MACRO)
# Of any processor: an app's may be another than the compiler's.
write_basic_package_version_file(IngotConfigVersion.cmake COMPATIBILITY SameMinorVersion
  ARCH_INDEPENDENT)
install(FILES ${PROJECT_BINARY_DIR}/IngotConfig.cmake ${PROJECT_BINARY_DIR}/IngotConfigVersion.cmake
              cmake/IngotAddModel.cmake
        DESTINATION ${package_folder} COMPONENT ingot)
configure_file(cmake/ingot.pc.in ingot.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/ingot.pc DESTINATION lib/pkgconfig COMPONENT ingot)

set(CPACK_GENERATOR DEB TGZ)
set(CPACK_PACKAGE_NAME ingot)
set(CPACK_PACKAGE_VENDOR "The Ingot authors")
set(CPACK_PACKAGE_CONTACT ${CPACK_PACKAGE_VENDOR})
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "Compiles a language model into one program that answers")
set(CPACK_RESOURCE_FILE_LICENSE ${PROJECT_SOURCE_DIR}/LICENSE)
set(CPACK_PACKAGE_DIRECTORY ${PROJECT_BINARY_DIR}/packages)
set(CPACK_STRIP_FILES ON)
set(CPACK_COMPONENTS_ALL ingot) # Halide's package has components of its own
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_ARCHIVE_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_GROUPING ALL_COMPONENTS_IN_ONE)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION devel)
set(CPACK_DEBIAN_PACKAGE_MAINTAINER ${CPACK_PACKAGE_VENDOR})
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${LLVM_LIBRARY_DIR})
if(PROJECT_IS_TOP_LEVEL)
  include(CPack)
endif()
