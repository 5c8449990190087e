# vllmgw_whole: link-time optimisation of the shared library and the server, worth about 5 % of a small request.
# VGW_IS_WHOLE tells whether it does anything.
set(VGW_IS_WHOLE OFF)
add_library(vllmgw_whole INTERFACE)
if(VGW_LTO AND NOT VGW_SANITIZE AND CMAKE_C_COMPILER_ID STREQUAL "GNU" AND CMAKE_BUILD_TYPE MATCHES "^Rel")
  set(VGW_IS_WHOLE ON)
  target_compile_options(vllmgw_whole INTERFACE -flto=auto)
  target_link_options(vllmgw_whole INTERFACE -flto=auto)
endif()
