#!/bin/sh
# make install: the installed header, library and pkg-config file are enough to build and run every program in examples/.
# ctest: timeout=300
. "$(dirname "$0")/lib.sh"

LAST="cmake --install"
cmake --install "$ISO_BUILD" --prefix "$T/usr" >"$OUT" 2>"$ERR" || fail "installing failed"
so=$(find "$T/usr" -name 'libisoflop.so')
file_there "$T/usr/bin/isoflop"
file_there "$T/usr/include/isoflop.h"
file_there "$so"
file_there "$(dirname "$so")/libisoflop.a"
PKG_CONFIG_PATH=$(dirname "$so")/pkgconfig
export PKG_CONFIG_PATH LD_LIBRARY_PATH="$(dirname "$so")"

# The shared library shows exactly what the header promises.
LAST="nm -D $so"
nm -D --defined-only "$so" | awk '{print $3}' | sort >shown
grep -v '^ *//' "$T/usr/include/isoflop.h" | tr '\n' ' ' | grep -o 'ISO_API [^;]*;' | grep -o 'isoflop_[a-z0-9_]* *(' | tr -d ' (' | sort -u >promised
checks=$((checks + 1))
diff promised shown >"$OUT" || fail "symbols promised by isoflop.h (<) and shown by the library (>) differ"
file_there promised

# The header stands alone, in C17 and in C++.
echo '#include <isoflop.h>' >alone.c
LAST="compile isoflop.h alone"
checks=$((checks + 1))
cc -std=c17 -Wall -Wextra -Werror -pedantic $(pkg-config --cflags isoflop) -c alone.c -o alone.o 2>"$ERR" || fail "isoflop.h does not compile alone"
checks=$((checks + 1))
c++ -x c++ -Wall -Wextra -Werror $(pkg-config --cflags isoflop) -c alone.c -o alone_cc.o 2>"$ERR" || fail "isoflop.h does not compile as C++"

# An example's second line says how to run it: "// run: ./train $TEXT 10s".
small_text "$T/text.txt" 300000
for source in "$ROOT"/examples/*.c; do
  name=$(basename "$source" .c)
  how=$(sed -n '2s|^// run: ||p' "$source")
  LAST="cc examples/$name.c"
  checks=$((checks + 1))
  if ! cc -std=c17 -O2 -Wall -Wextra -Werror "$source" -o "$name" $(pkg-config --cflags --libs isoflop) 2>"$ERR"; then
    fail "examples/$name.c does not build against the installed library"
    continue
  fi
  [ -n "$how" ] || { fail "line 2 of examples/$name.c lacks '// run: ./$name ...'"; continue; }
  LAST=$how
  checks=$((checks + 1))
  TEXT=$T/text.txt timeout -k 5 120 sh -c "$how" >"$OUT" 2>"$ERR"
  CODE=$?
  [ $CODE = 0 ] && [ -s "$OUT" ] || fail "examples/$name failed or printed nothing"
done
finish
