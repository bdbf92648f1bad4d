# waggle_library(folder DEPS a b LIBS x y): one static library from src/folder, and by file name
#   *_test.cc          one gtest binary, label fast
#   *_network_test.cc  one gtest binary, label network: it waits for sockets
#   *_slow_test.cc     one gtest binary, label nightly
#   *_assets_test.cc   one gtest binary, label assets; reports "not run" where the third-party assets are missing
#   *_fuzz.cc          one fuzzer each: libFuzzer in a WAGGLE_FUZZ build, else a short deterministic mutation run
#   *_bench.cc         left to bench/
# Files are found by name, so adding one needs no edit here.
set(WAGGLE_ASSETS "${CMAKE_SOURCE_DIR}/../shared/assets" CACHE PATH "Third-party test assets, optional")
option(WAGGLE_FUZZ "Build *_fuzz.cc with libFuzzer (clang only)" OFF)
if(WAGGLE_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)  # the libraries too, or the fuzzer searches blind
endif()

function(waggle_gtest target label main)
  add_executable(${target} ${ARGN})
  target_link_libraries(${target} PRIVATE GTest::gmock GTest::gtest rapidcheck ${main})
  add_test(NAME ${target} COMMAND ${target} --gtest_brief=1)
  set_tests_properties(${target} PROPERTIES LABELS ${label} TIMEOUT 1800 SKIP_RETURN_CODE 77
    ENVIRONMENT "WAGGLE_ASSETS=${WAGGLE_ASSETS};WAGGLE_SOURCE=${CMAKE_SOURCE_DIR};RC_PARAMS=seed=1")
endfunction()

function(waggle_library name)
  cmake_parse_arguments(ARG "" "" "DEPS;LIBS" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${name}/*.cc)
  foreach(kind network_test slow_test assets_test test fuzz bench)
    set(${kind}_files ${sources})
    list(FILTER ${kind}_files INCLUDE REGEX "_${kind}\\.cc$")
    list(FILTER sources EXCLUDE REGEX "_${kind}\\.cc$")
  endforeach()
  list(FILTER test_files EXCLUDE REGEX "_(network|slow|assets)_test\\.cc$")
  list(FILTER sources EXCLUDE REGEX "/main\\.cc$")

  if(sources)
    add_library(waggle_${name} STATIC ${sources})
    set(scope PUBLIC)
  else()
    add_library(waggle_${name} INTERFACE)
    set(scope INTERFACE)
  endif()
  target_include_directories(waggle_${name} ${scope} ${CMAKE_SOURCE_DIR}/src)
  list(TRANSFORM ARG_DEPS PREPEND waggle_)
  target_link_libraries(waggle_${name} ${scope} ${ARG_DEPS} ${ARG_LIBS})

  if(test_files)
    waggle_gtest(${name}_test fast GTest::gtest_main ${test_files})
    target_link_libraries(${name}_test PRIVATE waggle_${name})
  endif()
  if(network_test_files)
    waggle_gtest(${name}_network_test network GTest::gtest_main ${network_test_files})
    target_link_libraries(${name}_network_test PRIVATE waggle_${name})
  endif()
  if(slow_test_files)
    waggle_gtest(${name}_slow_test nightly GTest::gtest_main ${slow_test_files})
    target_link_libraries(${name}_slow_test PRIVATE waggle_${name})
  endif()
  if(assets_test_files)
    waggle_gtest(${name}_assets_test assets waggle_${name} ${assets_test_files}
      ${CMAKE_SOURCE_DIR}/tests/assets_main.cc)
  endif()
  foreach(fuzz ${fuzz_files})
    get_filename_component(target ${fuzz} NAME_WE)
    if(WAGGLE_FUZZ)
      add_executable(${target} ${fuzz})
      target_compile_options(${target} PRIVATE -fsanitize=fuzzer)
      target_link_options(${target} PRIVATE -fsanitize=fuzzer)
    else()
      add_executable(${target} ${fuzz} ${CMAKE_SOURCE_DIR}/tests/fuzz/driver.cc)
      string(REGEX REPLACE "_fuzz$" "" corpus ${target})
      add_test(NAME ${target} COMMAND ${target} ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/${corpus})
      set_tests_properties(${target} PROPERTIES LABELS fast TIMEOUT 600)
    endif()
    target_link_libraries(${target} PRIVATE waggle_${name})
  endforeach()
endfunction()
