# Run at build time (cmake -P): writes OUT, a header with version and revision, and touches it only when it changes.
set(rev "unknown")
find_program(GIT git)
if(GIT AND EXISTS ${ROOT}/.git)
  execute_process(COMMAND ${GIT} -C ${ROOT} describe --always --dirty --abbrev=12 OUTPUT_VARIABLE out RESULT_VARIABLE rc
                  OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  if(rc EQUAL 0)
    set(rev ${out})
  endif()
endif()
set(text "// Which source and which compiler this build comes from.
#ifndef ISO_GEN_VERSION_H
#define ISO_GEN_VERSION_H
#define ISO_VERSION \"${VERSION}\"
#define ISO_REV \"${rev}\"
#define ISO_COMPILER \"${COMPILER}\"
#define ISO_BUILD_TYPE \"${BUILD_TYPE}\"
#endif
")
set(old "")
if(EXISTS ${OUT})
  file(READ ${OUT} old)
endif()
if(NOT old STREQUAL text)
  file(WRITE ${OUT} "${text}")
endif()
