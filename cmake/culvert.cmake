# Build helpers. A library declares what it may see; nothing else is linked.

set(CMAKE_CXX_FLAGS_RELEASE "-O2 -DNDEBUG") # -O3 makes the executable a quarter larger, and no ADD faster

add_library(culvert_options INTERFACE)
target_compile_options(culvert_options INTERFACE -Wall -Wextra -Wshadow -Wconversion -Wno-missing-field-initializers -Wnon-virtual-dtor -fno-strict-aliasing)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  target_compile_options(culvert_options INTERFACE -Wno-restrict -Wno-array-bounds
                         -Wno-stringop-overflow -Wno-stringop-overread) # gcc 12 (bug 105329): false alarms on std::string operator+
endif()
if(CULVERT_WERROR)
  target_compile_options(culvert_options INTERFACE -Werror)
endif()
if(CULVERT_SANITIZE)
  target_compile_options(culvert_options INTERFACE -fsanitize=${CULVERT_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=undefined)
  target_link_options(culvert_options INTERFACE -fsanitize=${CULVERT_SANITIZE})
endif()
if(CMAKE_BUILD_TYPE STREQUAL "Release")
  target_compile_options(culvert_options INTERFACE -ffunction-sections -fdata-sections)
  target_link_options(culvert_options INTERFACE -Wl,--gc-sections)
endif()

# The layers, lowest first. Linking upwards or sideways is a configure error.
set(CULVERT_LAYERS base netlink hostfw cni ipam plugins daemons)

function(culvert_check_layering name layer)
  list(FIND CULVERT_LAYERS ${layer} own)
  foreach(dep IN LISTS ARGN)
    if(TARGET ${dep})
      get_target_property(dep_layer ${dep} CULVERT_LAYER)
      if(dep_layer)
        list(FIND CULVERT_LAYERS ${dep_layer} theirs)
        if(theirs GREATER own)
          message(FATAL_ERROR "${name} (${layer}) must not depend on ${dep} (${dep_layer}): dependencies point one way")
        endif()
      endif()
    endif()
  endforeach()
endfunction()

# culvert_library(NAME SOURCES ... DEPENDS ... PRIVATE ...): layer = the top folder it stands in.
function(culvert_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS;PRIVATE" ${ARGN})
  file(RELATIVE_PATH where ${CMAKE_SOURCE_DIR} ${CMAKE_CURRENT_SOURCE_DIR})
  string(REGEX REPLACE "/.*" "" layer ${where})
  culvert_check_layering(${name} ${layer} ${ARG_DEPENDS} ${ARG_PRIVATE})
  add_library(${name} STATIC ${ARG_SOURCES})
  set_target_properties(${name} PROPERTIES CULVERT_LAYER ${layer})
  target_link_libraries(${name} PUBLIC culvert_options ${ARG_DEPENDS} PRIVATE ${ARG_PRIVATE})
  if(CULVERT_FUZZ)
    target_compile_options(${name} PRIVATE -fsanitize=fuzzer-no-link) # what a fuzz target is guided by
  endif()
endfunction()

# culvert_test(NAME LABEL unit|netns SOURCES ... DEPENDS ...): one test program, one ctest entry per gtest case.
function(culvert_test name)
  if(NOT CULVERT_TESTS)
    return()
  endif()
  find_package(GTest REQUIRED)
  include(GoogleTest)
  if(NOT TARGET culvert_test_headers)
    file(WRITE ${CMAKE_BINARY_DIR}/test_headers.cc "")
    add_library(culvert_test_headers OBJECT ${CMAKE_BINARY_DIR}/test_headers.cc)
    target_link_libraries(culvert_test_headers PRIVATE culvert_options GTest::gmock)
    target_precompile_headers(culvert_test_headers PRIVATE <gtest/gtest.h> <gmock/gmock.h> ${CMAKE_SOURCE_DIR}/cni/json_templates.h)
  endif()
  cmake_parse_arguments(ARG "" "LABEL" "SOURCES;DEPENDS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_DEPENDS} culvert_options GTest::gmock GTest::gtest_main)
  target_precompile_headers(${name} REUSE_FROM culvert_test_headers)
  gtest_discover_tests(${name} TEST_PREFIX "${ARG_LABEL}." PROPERTIES LABELS ${ARG_LABEL} TIMEOUT 120 DISCOVERY_MODE PRE_TEST)
endfunction()
