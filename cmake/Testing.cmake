# vgw_add_test(LABEL name SOURCES... [LIBS...]): one cmocka program, run by ctest with a deadline.
# Unit and integration tests link the object library, so that internal functions can be reached.
function(vgw_add_test label name)
  cmake_parse_arguments(T "" "TIMEOUT" "SOURCES;LIBS" ${ARGN})
  if(NOT T_TIMEOUT)
    set(T_TIMEOUT 120)
  endif()
  add_executable(${name} ${T_SOURCES})
  target_link_libraries(${name} PRIVATE vllmgw_internal PkgConfig::CMOCKA ${T_LIBS})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  add_test(NAME ${label}/${name} COMMAND ${name})
  set_tests_properties(${label}/${name} PROPERTIES LABELS ${label} TIMEOUT ${T_TIMEOUT})
endfunction()
