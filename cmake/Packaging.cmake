# What `cmake --install` lays down: headers, libraries, programs, vllmgw.pc and the CMake package.
include(CMakePackageConfigHelpers)
