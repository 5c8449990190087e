# One interface target with the warnings and hardening flags of every target of ours.
include(CheckCCompilerFlag)
add_library(vllmgw_warnings INTERFACE)
target_compile_options(vllmgw_warnings INTERFACE
  -Wall -Wextra -Wshadow -Wvla -Wpointer-arith -Wwrite-strings -Wstrict-prototypes -Wmissing-prototypes
  -Wold-style-definition -Wformat=2 -Wundef -Wconversion -Wno-sign-conversion -Wno-missing-field-initializers
  -fno-common -fstack-protector-strong -fstack-clash-protection)
check_c_compiler_flag(-fcf-protection VGW_HAS_CF_PROTECTION) # x86 only
if(VGW_HAS_CF_PROTECTION)
  target_compile_options(vllmgw_warnings INTERFACE -fcf-protection)
endif()
target_compile_definitions(vllmgw_warnings INTERFACE _GNU_SOURCE _FILE_OFFSET_BITS=64)
if(VGW_WERROR)
  target_compile_options(vllmgw_warnings INTERFACE -Werror)
endif()
if(NOT VGW_SANITIZE AND NOT CMAKE_BUILD_TYPE STREQUAL "Debug")
  target_compile_options(vllmgw_warnings INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
endif()
target_link_options(vllmgw_warnings INTERFACE -Wl,-z,relro,-z,now)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
