# Files made at build, in ${CMAKE_BINARY_DIR}/gen: gen_version.h (version, revision, compiler), Chart.js and the pages' templates, style and scripts.
set(GEN ${CMAKE_BINARY_DIR}/gen)
file(MAKE_DIRECTORY ${GEN})
add_custom_target(iso_version
  COMMAND ${CMAKE_COMMAND} -DROOT=${CMAKE_SOURCE_DIR} -DOUT=${GEN}/gen_version.h -DVERSION=${PROJECT_VERSION}
          "-DCOMPILER=${CMAKE_C_COMPILER_ID} ${CMAKE_C_COMPILER_VERSION}" -DBUILD_TYPE=${CMAKE_BUILD_TYPE}
          -P ${CMAKE_SOURCE_DIR}/cmake/version.cmake
  BYPRODUCTS ${GEN}/gen_version.h VERBATIM)
add_dependencies(isoflop_objs iso_version)

# iso_embed(symbol file): makes gen/gen_<symbol>.h and links the bytes into the library.
function(iso_embed symbol file)
  set(out ${GEN}/gen_${symbol})
  add_custom_command(OUTPUT ${out}.c ${out}.h
    COMMAND ${CMAKE_COMMAND} -DIN=${file} -DSYMBOL=iso_${symbol} -DOUT_C=${out}.c -DOUT_H=${out}.h -P ${CMAKE_SOURCE_DIR}/cmake/embed.cmake
    DEPENDS ${file} ${CMAKE_SOURCE_DIR}/cmake/embed.cmake VERBATIM)
  target_sources(isoflop_objs PRIVATE ${out}.c)
endfunction()

find_file(CHART_JS chart.min.js PATHS /usr/share/javascript/chart.js /usr/share/nodejs/chart.js/dist NO_DEFAULT_PATH)
if(NOT CHART_JS)
  message(FATAL_ERROR "chart.min.js not found: run 'make deps' (Debian: libjs-chart.js) or pass -DCHART_JS=FILE (Chart.js 3.9)")
endif()
iso_embed(chart_js ${CHART_JS})
iso_embed(report_template ${CMAKE_SOURCE_DIR}/web/report.html)
iso_embed(report_css ${CMAKE_SOURCE_DIR}/web/report.css)
iso_embed(report_js ${CMAKE_SOURCE_DIR}/web/report.js)
iso_embed(charts_js ${CMAKE_SOURCE_DIR}/web/charts.js)
iso_embed(fit_template ${CMAKE_SOURCE_DIR}/web/fit.html)
iso_embed(fit_js ${CMAKE_SOURCE_DIR}/web/fit.js)
