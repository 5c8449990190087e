# What `cmake --install` lays down: headers, both libraries, programs, vllmgw.pc and the CMake package.
# A program says either of
#     find_package(vllmgw 0.1 REQUIRED)   target_link_libraries(app PRIVATE vllmgw::vllmgw)     # or vllmgw::static
#     cc app.c $(pkg-config --cflags --libs vllmgw)
# The two libraries have an export file each: who links the shared one needs no development files of libcurl.
include(CMakePackageConfigHelpers)

set(VGW_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/vllmgw)

install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/vllmgw DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
  COMPONENT dev FILES_MATCHING PATTERN "*.h")
install(FILES ${PROJECT_BINARY_DIR}/include/vllmgw/version.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/vllmgw
  COMPONENT dev)

set_target_properties(vllmgw_shared PROPERTIES EXPORT_NAME vllmgw)
install(TARGETS vllmgw_shared EXPORT vllmgwTargets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT lib NAMELINK_COMPONENT dev)
install(TARGETS vllmgw_static EXPORT vllmgwStaticTargets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT dev)
install(EXPORT vllmgwTargets NAMESPACE vllmgw:: DESTINATION ${VGW_CMAKE_DIR} COMPONENT dev)
install(EXPORT vllmgwStaticTargets NAMESPACE vllmgw:: DESTINATION ${VGW_CMAKE_DIR} COMPONENT dev)

configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/vllmgwConfig.cmake.in
  ${PROJECT_BINARY_DIR}/vllmgwConfig.cmake INSTALL_DESTINATION ${VGW_CMAKE_DIR})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/vllmgwConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/vllmgwConfig.cmake ${PROJECT_BINARY_DIR}/vllmgwConfigVersion.cmake
  DESTINATION ${VGW_CMAKE_DIR} COMPONENT dev)

# pkg-config finds the prefix from where the .pc file lies, so that an installed tree can be moved.
file(RELATIVE_PATH VGW_PC_PREFIX ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
configure_file(${PROJECT_SOURCE_DIR}/cmake/vllmgw.pc.in ${PROJECT_BINARY_DIR}/vllmgw.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/vllmgw.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT dev)

foreach(program vllmgw-server vllmgw-cli vllmgw-engine)
  if(TARGET ${program})
    list(APPEND VGW_PROGRAMS ${program})
  endif()
endforeach()
if(VGW_PROGRAMS)
  file(RELATIVE_PATH VGW_LIB_FROM_BIN ${CMAKE_INSTALL_FULL_BINDIR} ${CMAKE_INSTALL_FULL_LIBDIR})
  set_target_properties(${VGW_PROGRAMS} PROPERTIES INSTALL_RPATH "$ORIGIN/${VGW_LIB_FROM_BIN}")
  install(TARGETS ${VGW_PROGRAMS} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT server)
endif()
install(FILES ${PROJECT_SOURCE_DIR}/README.md ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR}
  COMPONENT server)
