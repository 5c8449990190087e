# VGW_SANITIZE=address builds everything with ASan and UBSan, =thread with TSan.
add_library(vllmgw_sanitizers INTERFACE)
if(VGW_SANITIZE STREQUAL "address")
  target_compile_options(vllmgw_sanitizers INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=all
    -fno-omit-frame-pointer)
  target_link_options(vllmgw_sanitizers INTERFACE -fsanitize=address,undefined)
elseif(VGW_SANITIZE STREQUAL "thread")
  target_compile_options(vllmgw_sanitizers INTERFACE -fsanitize=thread -fno-omit-frame-pointer)
  target_link_options(vllmgw_sanitizers INTERFACE -fsanitize=thread)
elseif(VGW_SANITIZE)
  message(FATAL_ERROR "VGW_SANITIZE is '${VGW_SANITIZE}': use 'address', 'thread' or leave it empty")
endif()
# A fuzzer is guided by what it reaches in the library, not only in its own file.
if(VGW_FUZZ)
  target_compile_options(vllmgw_sanitizers INTERFACE -fsanitize=fuzzer-no-link)
endif()
