# ingot_add_model: a model file as a target of a CMake build. Read by IngotConfig.cmake, and by
# Ingot's own build for projects that contain it (add_subdirectory, FetchContent). docs/cmake.md
# tells how to use it.
include_guard(GLOBAL)
if(POLICY CMP0174) # an empty value is a value, which means the default
  cmake_policy(SET CMP0174 NEW)
endif()

# The processor that the project is built for, as compilers and Ingot's folders spell it.
function(ingot_processor out)
  string(TOLOWER "${CMAKE_SYSTEM_PROCESSOR}" processor)
  if(processor STREQUAL "amd64")
    set(processor x86_64)
  elseif(processor STREQUAL "arm64")
    set(processor aarch64)
  endif()
  set(${out} "${processor}" PARENT_SCOPE)
endfunction()

# What a model is compiled for where nobody says: the machine that builds, or every machine of the
# processor that the toolchain file names.
function(ingot_default_target out)
  ingot_processor(processor)
  if(NOT CMAKE_CROSSCOMPILING)
    set(${out} host PARENT_SCOPE)
  elseif(ANDROID) # as an NDK's toolchain file says
    set(${out} ${processor}-android PARENT_SCOPE)
  elseif(processor STREQUAL "x86_64")
    set(${out} x86-64-v3+v4 PARENT_SCOPE)
  else()
    set(${out} ${processor}-linux PARENT_SCOPE)
  endif()
endfunction()

#   ingot_add_model(NAME MODEL FILE
#                   [EXECUTABLE | SHARED] [SPLIT]
#                   [TARGET machine] [QUANTIZE format] [QUANTIZE_OUTPUT format] [CONTEXT tokens]
#                   [ACTIVATIONS int8|f32] [KV_CACHE i16|f16|f32] [BATCH n...] [TUNE_FILE file]
#                   [OPTIONS option...])
#
# Makes the library NAME, static unless SHARED. What links it can include "NAME.h", which declares
# `const ingot_program NAME_program` and has the model's sizes and tokens as constants, and calls
# the functions of <ingot.h>. With EXECUTABLE, NAME is built as a program that needs nothing else;
# $<TARGET_PROPERTY:NAME,INGOT_PROGRAM> is its path. With SPLIT, the weights are in NAME.weights,
# which the app or the program needs; $<TARGET_PROPERTY:NAME,INGOT_WEIGHTS> is its path.
function(ingot_add_model name)
  set(values MODEL TARGET QUANTIZE QUANTIZE_OUTPUT CONTEXT ACTIVATIONS KV_CACHE TUNE_FILE)
  cmake_parse_arguments(PARSE_ARGV 1 ARG "EXECUTABLE;SHARED;SPLIT" "${values}" "BATCH;OPTIONS")
  if(ARG_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "ingot_add_model(${name}): unknown arguments: ${ARG_UNPARSED_ARGUMENTS}")
  elseif(ARG_KEYWORDS_MISSING_VALUES)
    message(FATAL_ERROR "ingot_add_model(${name}): no value for ${ARG_KEYWORDS_MISSING_VALUES}")
  elseif(NOT ARG_MODEL)
    message(FATAL_ERROR "ingot_add_model(${name}): MODEL, a GGUF file, is needed")
  elseif(ARG_EXECUTABLE AND ARG_SHARED)
    message(FATAL_ERROR "ingot_add_model(${name}): EXECUTABLE and SHARED exclude each other")
  endif()
  string(MAKE_C_IDENTIFIER "${name}" symbol)
  cmake_path(ABSOLUTE_PATH ARG_MODEL BASE_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}" NORMALIZE)
  if(NOT ARG_TARGET)
    ingot_default_target(ARG_TARGET)
  endif()

  set(folder "${CMAKE_CURRENT_BINARY_DIR}/ingot/${name}")
  set(options --target ${ARG_TARGET})
  foreach(option QUANTIZE QUANTIZE_OUTPUT CONTEXT ACTIVATIONS KV_CACHE TUNE_FILE)
    if(ARG_${option})
      string(TOLOWER "--${option}" spelled)
      string(REPLACE "_" "-" spelled "${spelled}")
      list(APPEND options ${spelled} "${ARG_${option}}")
    endif()
  endforeach()
  if(ARG_BATCH)
    list(JOIN ARG_BATCH "," batch)
    list(APPEND options --batch ${batch})
  endif()
  list(APPEND options ${ARG_OPTIONS})
  set(weights "")
  if(ARG_SPLIT)
    list(APPEND options --split)
    set(weights "${folder}/${name}.weights")
  endif()
  set(header "")
  if(ARG_EXECUTABLE)
    set(output "${folder}/${name}")
    list(APPEND options --emit exe)
  elseif(ARG_SHARED)
    set(output "${folder}/lib${name}.so")
    set(header "${folder}/${name}.h")
    list(APPEND options --emit shared --symbol ${symbol}_program --header ${header})
  else()
    set(output "${folder}/${name}.o")
    set(header "${folder}/${name}.h")
    list(APPEND options --emit object --symbol ${symbol}_program --header ${header})
  endif()
  # Makefiles do not see that a command has changed: this file does.
  file(CONFIGURE OUTPUT "${folder}/options" CONTENT "${options}\n" @ONLY)
  # The header is written where it changes, so that what includes it is not compiled again for
  # other weights: as a byproduct, it may be older than the model.
  add_custom_command(
    OUTPUT "${output}"
    BYPRODUCTS ${header} ${weights}
    COMMAND Ingot::ingot compile "${ARG_MODEL}" -o "${output}" --depfile "${folder}/depfile"
            --diagnostics compiler ${options}
    DEPENDS "${ARG_MODEL}" "${folder}/options" Ingot::ingot
    DEPFILE "${folder}/depfile"
    COMMENT "Compiling ${ARG_MODEL} for ${ARG_TARGET}"
    VERBATIM)

  if(ARG_EXECUTABLE)
    add_custom_target(${name} ALL DEPENDS "${output}")
    set_target_properties(${name} PROPERTIES INGOT_PROGRAM "${output}" INGOT_WEIGHTS "${weights}")
    return()
  endif()
  set(headers "${folder}" $<TARGET_PROPERTY:Ingot::runtime,INTERFACE_INCLUDE_DIRECTORIES>)
  if(ARG_SHARED)
    # The compiler links it: the build needs no linker for the target, and no C library.
    add_custom_target(${name}-library ALL DEPENDS "${output}")
    add_library(${name} SHARED IMPORTED GLOBAL)
    add_dependencies(${name} ${name}-library)
    set_target_properties(${name} PROPERTIES
      IMPORTED_LOCATION "${output}" IMPORTED_SONAME "lib${name}.so")
  else()
    set_source_files_properties("${output}" PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
    get_property(languages GLOBAL PROPERTY ENABLED_LANGUAGES)
    set(language CXX)
    if("C" IN_LIST languages)
      set(language C)
    endif()
    add_library(${name} STATIC "${output}")
    target_link_libraries(${name} INTERFACE Ingot::runtime)
    set_target_properties(${name} PROPERTIES LINKER_LANGUAGE ${language})
  endif()
  target_include_directories(${name} INTERFACE "${headers}")
  set_target_properties(${name} PROPERTIES INGOT_HEADER "${header}" INGOT_WEIGHTS "${weights}")
endfunction()
