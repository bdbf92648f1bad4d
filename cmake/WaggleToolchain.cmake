# Compiler settings that the arithmetic depends on (canonical arithmetic, rule E5), and libraries.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()
# Check() stays on in every build; assert() is not used.
set(CMAKE_CXX_FLAGS_RELEASE "-O3")
set(CMAKE_CXX_FLAGS_DEBUG "-O1 -g")

# No contraction, no reassociation: a product may feed a sum only through an explicit fma.
# (designated initialisers leave members at their defaults on purpose: no -Wmissing-field-initializers)
add_compile_options(-Wall -Wextra -Wno-missing-field-initializers -ffp-contract=off -fno-fast-math -fno-associative-math -fsigned-zeros)

# GCC 12 sees what is not there, inside its own library: std::string (its bug 105651) and std::optional.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  add_compile_options(-Wno-restrict -Wno-stringop-overflow -Wno-maybe-uninitialized -Wno-free-nonheap-object)
endif()

# Highway's NEON target includes AES, and structs of its vectors have constructors that carry no target attribute: the
# baseline must include AES too.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
  add_compile_options(-march=armv8-a+crypto)
endif()

set(WAGGLE_SANITIZE "" CACHE STRING "Sanitizers, as -fsanitize= takes them")
if(WAGGLE_SANITIZE)
  add_compile_options(-fsanitize=${WAGGLE_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${WAGGLE_SANITIZE})
endif()

find_program(WAGGLE_CCACHE ccache)
if(WAGGLE_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${WAGGLE_CCACHE})
endif()
find_program(WAGGLE_MOLD mold)
if(WAGGLE_MOLD)
  add_link_options(-fuse-ld=mold)
endif()

find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(GTest REQUIRED)
find_package(rapidcheck REQUIRED)
find_library(WAGGLE_SODIUM sodium REQUIRED)
add_library(wg_sodium INTERFACE)
target_link_libraries(wg_sodium INTERFACE ${WAGGLE_SODIUM})
find_library(WAGGLE_CRYPTOPP cryptopp REQUIRED)
add_library(wg_cryptopp INTERFACE)
target_link_libraries(wg_cryptopp INTERFACE ${WAGGLE_CRYPTOPP})
find_library(WAGGLE_HIGHWAY hwy REQUIRED)
add_library(wg_highway INTERFACE)
target_link_libraries(wg_highway INTERFACE ${WAGGLE_HIGHWAY})
find_library(WAGGLE_QRENCODE qrencode REQUIRED)
add_library(wg_qrencode INTERFACE)
target_link_libraries(wg_qrencode INTERFACE ${WAGGLE_QRENCODE})
find_package(Boost 1.74 REQUIRED)  # headers only: Asio and Beast
find_package(LibtorrentRasterbar 2.0 REQUIRED)
find_package(prometheus-cpp REQUIRED)
find_library(WAGGLE_SOCI soci_core REQUIRED)
find_library(WAGGLE_SOCI_SQLITE soci_sqlite3 REQUIRED)
find_library(WAGGLE_SOCI_POSTGRES soci_postgresql REQUIRED)
find_library(WAGGLE_SQLITE sqlite3 REQUIRED)
find_path(WAGGLE_LIBPQ libpq-fe.h PATH_SUFFIXES postgresql REQUIRED)
add_library(wg_soci INTERFACE)
target_include_directories(wg_soci SYSTEM INTERFACE ${WAGGLE_LIBPQ})
target_link_libraries(wg_soci INTERFACE ${WAGGLE_SOCI_SQLITE} ${WAGGLE_SOCI_POSTGRES} ${WAGGLE_SOCI} ${WAGGLE_SQLITE})
