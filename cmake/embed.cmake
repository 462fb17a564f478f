# Run at build time (cmake -P): writes OUT_C and OUT_H, which hold the bytes of IN as the constant array SYMBOL and its length SYMBOL_n.
file(READ ${IN} hex HEX)
string(LENGTH "${hex}" digits)
math(EXPR bytes "${digits} / 2")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," body "${hex}")
string(REPEAT "0x..," 32 row)
string(REGEX REPLACE "(${row})" "\\1\n" body "${body}")
get_filename_component(header ${OUT_H} NAME)
string(TOUPPER ${SYMBOL} guard)
file(WRITE ${OUT_H} "// The bytes of ${IN}, embedded at build.
#ifndef ISO_GEN_${guard}_H
#define ISO_GEN_${guard}_H
#include <stddef.h>
extern const unsigned char ${SYMBOL}[];  // NUL-terminated
extern const size_t ${SYMBOL}_n;         // without the NUL
#endif
")
file(WRITE ${OUT_C} "// The bytes of ${IN}, embedded at build.
#include \"${header}\"
const size_t ${SYMBOL}_n = ${bytes};
const unsigned char ${SYMBOL}[] = {${body}0};
")
